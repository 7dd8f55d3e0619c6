package rmem

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"rmemrun/atm"
)

// An enemy is node 0 of two without a Node: it can send any cell to node 1 on
// any circuit that the network has set up between them.
type enemy struct {
	f       *fabric
	victim  *Node
	answers []*atm.Cell // what the victim sends
	rw, ro  atm.VC      // circuits at the victim, to segments with all rights, and with Read
	seq     map[atm.VC]uint64
	memory  []byte // with the segments in it, and bytes that nobody may touch
	seg     Seg
	space   *Space
	d       Desc // the victim's own, to a segment of the enemy
	vc      atm.VC
}

const (
	wall     = 64 // bytes that nobody may touch, around each segment
	rwLength = 100 + MaxBlock
	roLength = 64
)

func newEnemy(t testing.TB, options ...func(*fabric, *Config)) *enemy {
	t.Helper()
	f := newFabric(t, 2, options...)
	e := &enemy{f: f, victim: f.nodes[1], seq: map[atm.VC]uint64{}}
	e.memory = pattern(wall + rwLength + wall + roLength + wall)
	e.space = e.victim.NewSpace()
	e.seg = mustExport(t, e.space, "rw", e.memory[wall:wall+rwLength:wall+rwLength], access)
	mustExport(t, e.space, "ro", e.memory[2*wall+rwLength:][:roLength:roLength], Read)

	a := f.nodes[0].NewSpace()
	mustExport(t, a, "bait", make([]byte, 4096), access)
	e.d = mustImport(t, e.space, "bait", 0, access)
	e.vc = e.space.descriptors.get(int32(e.d)).vc
	e.rw = a.descriptors.get(int32(mustImport(t, a, "rw", 1, access))).remote
	e.ro = a.descriptors.get(int32(mustImport(t, a, "ro", 1, Read))).remote
	f.ports[1].tamper = func(c *atm.Cell) bool {
		if len(e.answers) < 4096 {
			answer := *c
			e.answers = append(e.answers, &answer)
		}
		return false // the enemy has no node that takes it
	}
	return e
}

// cell sends a message in one AAL3/4 cell, in sequence.
func (e *enemy) cell(vc atm.VC, word uint32, data ...byte) {
	e.cellAt(vc, e.seq[vc], word, data...)
	e.seq[vc]++
}

// cellAt sends a message with the mark of the circuit.
func (e *enemy) cellAt(vc atm.VC, seq uint64, word uint32, data ...byte) {
	m := e.mark(vc)
	if Op(word>>opShift).lead() > wordSize {
		data = append(u32(m.key), data...)
	}
	e.raw(vc, m.number(seq), append(u32(word), data...))
}

// raw sends a message as it is.
func (e *enemy) raw(vc atm.VC, number uint32, message []byte) {
	var c atm.Cell
	c.SetHeader(atm.Header{VC: vc})
	sealCell(&c, number, message)
	e.victim.Receive(&c)
}

// reply answers the victim's request seq.
func (e *enemy) reply(seq uint64, op Op, status Error, data ...byte) {
	m := e.mark(e.vc)
	word := replyWord(op, status, m.number(seq))
	if op == OpData {
		word = uint32(op)<<opShift | m.dataKey()
	}
	e.cellAt(e.vc, seq, word, data...)
}

// mark is what the victim expects on a circuit.
func (e *enemy) mark(vc atm.VC) mark {
	if a := e.victim.circuits.lookup(vc); a != nil {
		switch end := a.end.(type) {
		case *target:
			return end.theirs
		case *initiator:
			return end.theirs
		}
	}
	return mark{}
}

// foreign is cellAt with a key in which one bit is another.
func (e *enemy) foreign(vc atm.VC, seq uint64, word uint32, data ...byte) {
	m := e.mark(vc)
	e.raw(vc, m.number(seq), append(append(u32(word), u32(m.key^1<<16)...), data...))
}

// pdu sends an AAL5 PDU on vc.
func (e *enemy) pdu(vc atm.VC, payload []byte) {
	var s atm.Segmenter
	if s.Begin(atm.Header{VC: vc}, 0, payload, nil) != nil {
		return
	}
	var c atm.Cell
	for s.Next(&c) {
		e.victim.Receive(&c)
	}
}

// block sends a block, in sequence; all of its header can be wrong but the sequence.
func (e *enemy) block(vc atm.VC, h header, data []byte) {
	h.low, h.key = h.low&^seqMask|e.mark(vc).number(e.seq[vc]), e.mark(vc).key
	e.seq[vc]++
	var b [blockHeader]byte
	h.put(&b)
	e.pdu(upperVC(vc), append(b[:], data...))
}

// status is that of the last answer, which must be an acknowledgement.
func (e *enemy) status(t *testing.T) Error {
	t.Helper()
	if len(e.answers) == 0 {
		t.Fatal("no answer")
	}
	m, err := atm.DecodeSSM(e.answers[len(e.answers)-1])
	if err != nil {
		t.Fatal(err)
	}
	word := binary.BigEndian.Uint32(m.Payload)
	if Op(word>>opShift) != OpAck {
		return OK
	}
	return statusError(uint8(word >> statusShift))
}

// intact fails if anything was written that no right permits.
func (e *enemy) intact(t testing.TB) {
	t.Helper()
	want := pattern(len(e.memory))
	copy(want[wall:], e.memory[wall:][:rwLength])
	if !bytes.Equal(e.memory, want) {
		t.Fatal("bytes outside of the segment, or without the right, were written")
	}
}

func word(op Op, low uint32) uint32 { return opWord(op, false, low) }

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// none is no status: no answer.
const none = Error(1)

// part sends a part of a block of 88 bytes to be written to off, which begins at the given multiple of 8.
func (e *enemy) part(off uint64, position uint32, last bool, data []byte) {
	var b [blockHeader]byte
	header{op: OpWrite, low: position<<seqBits | e.mark(e.rw).number(e.seq[e.rw]), key: e.mark(e.rw).key, length: 88, offset: off}.put(&b)
	uu := uint8(morePart)
	if last {
		uu = 0
	}
	var s atm.Segmenter
	if s.Begin(atm.Header{VC: upperVC(e.rw)}, uu, b[:], data) != nil {
		return
	}
	for c := (atm.Cell{}); s.Next(&c); {
		e.victim.Receive(&c)
	}
}

func TestHostileRequests(t *testing.T) {
	data := make([]byte, 40)
	for _, c := range []struct {
		name   string
		send   func(e *enemy)
		reason Reason // 0: it is refused, not dropped
		status Error
	}{
		{"write over the end", func(e *enemy) { e.cell(e.rw, word(OpWrite, rwLength-39), data...) }, 0, ERANGE},
		{"write far outside", func(e *enemy) { e.cell(e.rw, word(OpWrite, offsetMask), data...) }, 0, ERANGE},
		{"write without right", func(e *enemy) { e.cell(e.ro, word(OpWrite, 0), data...) }, 0, EPERM},
		{"short write without right", func(e *enemy) { e.cell(e.ro, word(OpWriteShort, 0), 2) }, 0, EPERM},
		{"atomic without right", func(e *enemy) { e.cell(e.ro, word(OpSwap, 0), data[:8]...) }, 0, EPERM},
		{"atomic, unaligned", func(e *enemy) { e.cell(e.rw, word(OpSwap, 2), data[:4]...) }, 0, EALIGN},
		{"atomic, outside", func(e *enemy) { e.cell(e.rw, word(OpFAdd, rwLength/8*8+8), data[:8]...) }, 0, ERANGE},
		{"read over the end", func(e *enemy) { e.cell(e.ro, word(OpRead, roLength-3), u32(4)...) }, 0, ERANGE},
		{"notify outside", func(e *enemy) { e.cell(e.ro, word(OpNotify, roLength+1)|notifyBit) }, 0, ERANGE},
		{"block over the end", func(e *enemy) {
			e.block(e.rw, header{op: OpWrite, offset: rwLength - 99, length: 100}, make([]byte, 100))
		}, 0, ERANGE},
		{"block that would be over the end", func(e *enemy) {
			e.block(e.rw, header{op: OpWrite, offset: 0, length: rwLength + 1}, make([]byte, 100))
		}, 0, ERANGE},
		{"block whose end wraps", func(e *enemy) {
			e.block(e.rw, header{op: OpWrite, offset: 1<<64 - 8, length: 1<<64 - 1}, make([]byte, 100))
		}, 0, ERANGE},
		{"block read, outside", func(e *enemy) { e.block(e.rw, header{op: OpRead, offset: 1<<64 - 1, length: 8}, nil) }, 0, ERANGE},
		{"block without right", func(e *enemy) {
			e.block(e.ro, header{op: OpWrite, length: 48}, make([]byte, 48))
		}, 0, EPERM},
		{"block atomic, outside", func(e *enemy) {
			e.block(e.rw, header{op: OpCAS, offset: 1 << 40, length: 8}, make([]byte, 16))
		}, 0, ERANGE},

		{"operation 0", func(e *enemy) { e.cell(e.rw, 0, data[:36]...) }, Malformed, EINVAL},
		{"operation 15", func(e *enemy) { e.cell(e.rw, word(15, 0), data[:36]...) }, Malformed, EINVAL},
		{"a reply as a request", func(e *enemy) { e.cell(e.rw, word(OpAck, 0), data[:4]...) }, Malformed, EINVAL},
		{"a control message as a request", func(e *enemy) { e.cell(e.rw, word(OpConnect, 0), data[:8]...) }, Malformed, EINVAL},
		{"short write of nothing", func(e *enemy) { e.cell(e.rw, word(OpWriteShort, 0)) }, Malformed, EINVAL},
		{"write without a key that has room for it", func(e *enemy) { e.cell(e.rw, word(OpWrite, 0), data[:maxShort]...) }, Malformed, EINVAL},
		{"read of 0", func(e *enemy) { e.cell(e.rw, word(OpRead, 0), u32(0)...) }, Malformed, EINVAL},
		{"read of 4 GiB", func(e *enemy) { e.cell(e.rw, word(OpRead, 0), u32(1<<32-1)...) }, Malformed, EINVAL},
		{"read of more than a PDU", func(e *enemy) { e.cell(e.rw, word(OpRead, 0), u32(MaxBlock+1)...) }, Malformed, EINVAL},
		{"read that notifies", func(e *enemy) { e.cell(e.rw, word(OpRead, 0)|notifyBit, u32(4)...) }, Malformed, EINVAL},
		{"read, long", func(e *enemy) { e.cell(e.rw, word(OpRead, 0), data[:8]...) }, Malformed, EINVAL},
		{"notify that does not", func(e *enemy) { e.cell(e.rw, word(OpNotify, 0)) }, Malformed, EINVAL},
		{"notify with data", func(e *enemy) { e.cell(e.rw, word(OpNotify, 0)|notifyBit, 0) }, Malformed, EINVAL},
		{"cas of 5 bytes", func(e *enemy) { e.cell(e.rw, word(OpCAS, 0), data[:5]...) }, Malformed, EINVAL},
		{"cas of 9 bytes", func(e *enemy) { e.cell(e.rw, word(OpCAS, 0), data[:9]...) }, Malformed, EINVAL},
		{"fadd of 16 bytes", func(e *enemy) { e.cell(e.rw, word(OpFAdd, 0), data[:16]...) }, Malformed, EINVAL},
		{"block longer than it says", func(e *enemy) {
			e.block(e.rw, header{op: OpWrite, length: 47}, make([]byte, 48))
		}, Malformed, EINVAL},
		{"block without data", func(e *enemy) { e.block(e.rw, header{op: OpWrite, length: 48}, nil) }, Malformed, EINVAL},
		{"block that notifies too early", func(e *enemy) {
			e.block(e.rw, header{op: OpWrite, notify: true, length: 49}, make([]byte, 48))
		}, Malformed, EINVAL},
		{"block read of 16 EiB", func(e *enemy) { e.block(e.rw, header{op: OpRead, length: 1<<64 - 1}, nil) }, Malformed, EINVAL},
		{"block short write", func(e *enemy) { e.block(e.rw, header{op: OpWriteShort, length: 1}, []byte{1, 1, 0, 0}) }, Malformed, EINVAL},

		{"sequence number far ahead", func(e *enemy) { e.cellAt(e.rw, window, word(OpWrite, 0), data...) }, Gap, none},
		{"sequence number behind the first", func(e *enemy) { e.cellAt(e.rw, seqMask, word(OpWrite, 0), data...) }, Duplicate, none},
		{"block's sequence number far ahead", func(e *enemy) {
			e.seq[e.rw] = 99
			e.block(e.rw, header{op: OpWrite, length: 48}, make([]byte, 48))
			e.seq[e.rw] = 0
		}, Gap, none},
		{"block without a header", func(e *enemy) { e.pdu(upperVC(e.rw), make([]byte, blockHeader-1)) }, Malformed, none},
		{"block longer than any", func(e *enemy) { e.pdu(upperVC(e.rw), make([]byte, maxPDU+1)) }, BadPDU, none},
		{"block that never ends", func(e *enemy) {
			var c atm.Cell
			c.SetHeader(atm.Header{VC: upperVC(e.rw)})
			for range 10000 {
				e.victim.Receive(&c)
			}
			c.SetHeader(atm.Header{VC: upperVC(e.rw), PT: atm.PTUserEnd})
			e.victim.Receive(&c)
		}, BadPDU, none},
		{"block, damaged", func(e *enemy) {
			var c atm.Cell
			c.SetHeader(atm.Header{VC: upperVC(e.rw), PT: atm.PTUserEnd})
			e.victim.Receive(&c)
		}, BadPDU, none},
		{"part behind the end of any block", func(e *enemy) { e.part(0, seqMask+1-3, false, make([]byte, 48)) }, Malformed, none},
		{"part that is no multiple of 8", func(e *enemy) { e.part(0, 0, false, make([]byte, 49)) }, Malformed, none},
		{"part without data", func(e *enemy) { e.part(0, 1, true, nil) }, Malformed, none},
		{"part behind the last one", func(e *enemy) {
			e.part(0, 5, true, make([]byte, 48))
			e.part(0, 11, false, make([]byte, 48))
		}, Malformed, none},
		{"two last parts", func(e *enemy) {
			e.part(0, 5, true, make([]byte, 48))
			e.part(0, 4, true, make([]byte, 8))
		}, Malformed, none},
		{"parts of different blocks", func(e *enemy) {
			e.part(0, 5, true, make([]byte, 48))
			e.part(8, 0, false, make([]byte, 40))
		}, Malformed, none},
		{"arrivals that were never asked for", func(e *enemy) { e.cellAt(e.rw, 1, word(OpHave, 0)) }, Malformed, none},
		{"arrivals with data", func(e *enemy) { e.cellAt(e.rw, 0, word(OpHave, 0), 0) }, Malformed, none},
		{"write with another key", func(e *enemy) { e.foreign(e.rw, 0, word(OpWriteShort, 0), data[:36]...) }, Misinserted, none},
		{"read with another key", func(e *enemy) { e.foreign(e.rw, 0, word(OpRead, 0), u32(4)...) }, Misinserted, none},
		{"cas with another key", func(e *enemy) { e.foreign(e.rw, 0, word(OpCAS, 0), data[:16]...) }, Misinserted, none},
		{"early fadd with another key", func(e *enemy) { e.foreign(e.rw, 5, word(OpFAdd, 0), data[:8]...) }, Misinserted, none},
		{"swap of long ago with another key", func(e *enemy) { e.foreign(e.rw, seqMask, word(OpSwap, 0), data[:4]...) }, Misinserted, none},
		{"notify with another key", func(e *enemy) { e.foreign(e.rw, 0, word(OpNotify, 0)|notifyBit) }, Misinserted, none},
		{"arrivals with another key", func(e *enemy) { e.foreign(e.rw, 0, word(OpHave, 0)) }, Misinserted, none},
		{"an acknowledgement of another circuit", func(e *enemy) { e.foreign(e.rw, 0, word(OpAck, 0), data[:4]...) }, Misinserted, none},
		{"data read on another circuit", func(e *enemy) { e.raw(e.rw, e.mark(e.rw).number(0), append(u32(word(OpData, 1)), data...)) }, Misinserted, none},
		{"block with another key", func(e *enemy) {
			var b [blockHeader]byte
			m := e.mark(e.rw)
			header{op: OpWrite, low: m.number(0), key: m.key ^ 1<<31, length: 48}.put(&b)
			e.pdu(upperVC(e.rw), append(b[:], make([]byte, 48)...))
		}, Misinserted, none},
		{"cell, damaged", func(e *enemy) {
			var c atm.Cell
			c.SetHeader(atm.Header{VC: e.rw})
			sealCell(&c, 0, append(u32(word(OpWrite, 0)), data...))
			c[20] ^= 4
			e.victim.Receive(&c)
		}, BadCRC10, none},
		{"cell with a first segment", func(e *enemy) {
			var c atm.Cell
			c.SetHeader(atm.Header{VC: e.rw})
			e.victim.Receive(&c) // ST 00 and CRC 0 match
		}, BadSegment, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnemy(t)
			before := bytes.Clone(e.memory)
			c.send(e)
			switch {
			case c.status == none:
				for _, a := range e.answers {
					if m, err := atm.DecodeSSM(a); err != nil || Op(m.Payload[0]>>4) != OpHave {
						t.Errorf("answer % x, want none", a)
					}
				}
			case len(e.answers) != 1 || e.status(t) != c.status:
				t.Errorf("%d answers, status %v, want %v", len(e.answers), e.status(t).Name(), c.status.Name())
			}
			for r, n := range e.victim.Drops() {
				if want := c.reason != 0 && r == int(c.reason); (n != 0) != want {
					t.Errorf("%d cells dropped: %v", n, Reason(r))
				}
			}
			if !bytes.Equal(before, e.memory) {
				t.Error("memory was changed")
			}
			if e.space.segments.get(int32(e.seg)).first != nil {
				t.Error("the owner was notified")
			}
			// What is in order is served on.
			e.cell(e.rw, word(OpWrite, 8), pattern(40)...)
			want := before
			copy(want[wall+8:], pattern(40))
			if !bytes.Equal(want, e.memory) {
				t.Error("the request after it was not dealt with as it should")
			}
		})
	}
}

func TestDuplicates(t *testing.T) {
	e := newEnemy(t)
	for range 3 {
		e.cell(e.rw, word(OpFAdd, 4), u32(1)...)
	}
	old := bytes.Clone(e.memory)
	answers := len(e.answers)
	for seq := range uint64(3) {
		e.cellAt(e.rw, seq, word(OpFAdd, 4), u32(1)...)
	}
	if n := e.victim.Drops()[Duplicate]; n != 3 || !bytes.Equal(old, e.memory) || len(e.answers) != 2*answers {
		t.Errorf("%d duplicates were dropped, %d answers", n, len(e.answers))
	}
	for i := range answers {
		if *e.answers[i] != *e.answers[answers+i] {
			t.Errorf("answer %d is not the same again: % x, % x", i, e.answers[i], e.answers[answers+i])
		}
	}
	e.cell(e.rw, word(OpFAdd, 4), u32(1)...)
	if bytes.Equal(old, e.memory) {
		t.Error("the circuit has failed by a duplicate")
	}
}

func TestHostileReplies(t *testing.T) {
	// The victim waits for the answer to an asynchronous read of 8 bytes, sequence number 0, and to a fadd, number 1.
	for _, c := range []struct {
		name   string
		send   func(e *enemy)
		reason Reason
		failed bool
	}{
		{"an answer to nothing", func(e *enemy) { e.reply(2, OpAck, OK, 0, 0, 0, 0) }, Unasked, false},
		{"an answer from long ago", func(e *enemy) { e.reply(seqMask, OpAck, OK, 0, 0, 0, 0) }, Unasked, false},
		{"two numbers", func(e *enemy) { e.cellAt(e.vc, 0, replyWord(OpAck, OK, e.mark(e.vc).number(1)), 0, 0, 0, 0) }, Malformed, false},
		{"of another operation", func(e *enemy) { e.reply(0, OpOld, OK, make([]byte, 8)...) }, Malformed, false},
		{"too short", func(e *enemy) { e.reply(0, OpData, OK, make([]byte, 7)...) }, Malformed, false},
		{"too long", func(e *enemy) { e.reply(0, OpData, OK, make([]byte, 9)...) }, Malformed, false},
		{"much too long", func(e *enemy) {
			e.block(e.vc, header{op: OpData, length: MaxBlock}, make([]byte, MaxBlock))
		}, Malformed, false},
		{"block with a length that it has not", func(e *enemy) { e.block(e.vc, header{op: OpData, length: 9}, make([]byte, 8)) }, Malformed, false},
		{"old value with a refusal", func(e *enemy) { e.reply(0, OpOld, ESTALE, make([]byte, 8)...) }, Malformed, false},
		{"an acknowledgement with another key", func(e *enemy) {
			e.foreign(e.vc, 0, replyWord(OpAck, ESTALE, e.mark(e.vc).number(0)), 0, 0, 0, 0)
		}, Misinserted, false},
		{"an old value with another key", func(e *enemy) {
			e.foreign(e.vc, 1, replyWord(OpOld, OK, e.mark(e.vc).number(1)), make([]byte, 8)...)
		}, Misinserted, false},
		{"data with another key", func(e *enemy) {
			m := e.mark(e.vc)
			e.raw(e.vc, m.number(0), append(u32(word(OpData, m.dataKey()^1)), make([]byte, 8)...))
		}, Misinserted, false},
		{"block with another key", func(e *enemy) {
			var b [blockHeader]byte
			m := e.mark(e.vc)
			header{op: OpData, low: m.number(0), key: m.key ^ 1, length: 8}.put(&b)
			e.pdu(upperVC(e.vc), append(b[:], make([]byte, 8)...))
		}, Misinserted, false},
		{"a request", func(e *enemy) { e.cellAt(e.vc, 0, word(OpWrite, 0), make([]byte, 8)...) }, Malformed, false},
		{"spare bits", func(e *enemy) { e.cellAt(e.vc, 0, replyWord(OpAck, OK, e.mark(e.vc).number(0))|1<<14, 0, 0, 0, 0) }, Malformed, false},
		{"a status there is none of", func(e *enemy) {
			e.cellAt(e.vc, 0, replyWord(OpAck, OK, e.mark(e.vc).number(0))|200<<statusShift, 0, 0, 0, 0)
		}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnemy(t)
			dst := make(mem, 64)
			reading, adding := newOp(), newOp()
			e.space.Read(&reading.Operation, e.d, 0, dst[:8], 8, 1, true)
			e.space.FAdd(&adding.Operation, e.d, 0, 8, 1, false)
			c.send(e)
			if n := e.victim.Drops(); c.reason != 0 && n[c.reason] != 1 {
				t.Errorf("dropped: %v", n)
			}
			if !bytes.Equal(dst, make([]byte, 64)) {
				t.Error("the buffer was written")
			}
			if adding.Done() != c.failed {
				t.Errorf("done: %v, want %v", adding.Done(), c.failed)
			}
			if c.failed {
				if e1, e2 := fenced(e.space, e.d), adding.Result(); e1 != EDOWN || e2 != EDOWN {
					t.Errorf("fence %v, fadd %v, want EDOWN", e1, e2)
				}
				return
			}
			// The true answers still find who waits for them.
			e.reply(0, OpData, OK, 1, 2, 3, 4, 5, 6, 7, 8)
			e.reply(1, OpOld, OK, 0, 0, 0, 0, 0, 0, 0, 9)
			if r := adding.result(); r != OK || adding.Old() != 9 || dst[7] != 8 || fenced(e.space, e.d) != OK {
				t.Errorf("fadd %v, old %d, read % x", r, adding.Old(), dst[:8])
			}
		})
	}
}

func TestHostileControl(t *testing.T) {
	control := atm.VC{VCI: ControlVCI(0)}
	send := func(e *enemy, m message) {
		if m.to == 0 {
			m.to = 1
		}
		if m.version == 0 {
			m.version = Version
		}
		var b [controlSize]byte
		m.put(&b)
		e.pdu(control, b[:])
	}
	good := func(e *enemy) message {
		r, _ := e.f.names.Lookup(1, "rw")
		_, vc, _ := e.f.ports[0].Open(1)
		return message{op: OpConnect, id: 9, segment: r.Segment, generation: r.Generation, rights: Read, remote: vc, version: Version}
	}
	with := func(change func(e *enemy, m *message)) func(*enemy) {
		return func(e *enemy) {
			m := good(e)
			change(e, &m)
			send(e, m)
		}
	}
	for _, c := range []struct {
		name   string
		send   func(*enemy)
		reason Reason // 0: answered
		status Error
	}{
		{"right", with(func(*enemy, *message) {}), 0, OK},
		{"no such segment", with(func(_ *enemy, m *message) { m.segment = 1<<32 - 1 }), 0, ESTALE},
		{"old generation", with(func(_ *enemy, m *message) { m.generation-- }), 0, ESTALE},
		{"no rights", with(func(_ *enemy, m *message) { m.rights = 0 }), 0, EINVAL},
		{"all bits of rights", with(func(_ *enemy, m *message) { m.rights = 1<<32 - 1 }), 0, EINVAL},
		{"rights of quiet", with(func(_ *enemy, m *message) { m.rights = Read | Quiet }), 0, EINVAL},
		{"a circuit there is none of", with(func(_ *enemy, m *message) { m.remote.VCI = 4000 }), Stranger, EINVAL},
		{"the upper VC", with(func(_ *enemy, m *message) { m.remote.VCI++ }), Stranger, EINVAL},
		{"VCI 65535", with(func(_ *enemy, m *message) { m.remote.VCI = 65535 }), Stranger, EINVAL},
		{"VPI 255", with(func(_ *enemy, m *message) { m.remote.VPI = 255 }), Stranger, EINVAL},
		{"the control circuit", with(func(_ *enemy, m *message) { m.remote = control }), Stranger, EINVAL},
		{"a circuit that is in use", with(func(e *enemy, m *message) { m.remote, m.id = e.rw, 0 }), 0, EINVAL},
		{"another version", with(func(_ *enemy, m *message) { m.version++ }), Stranger, EINVAL},
		{"from another node", with(func(_ *enemy, m *message) { m.from = 1 }), Misinserted, OK},
		{"to another node", with(func(_ *enemy, m *message) { m.to = 2 }), Misinserted, OK},
		{"a disconnect to another node", func(e *enemy) { send(e, message{op: OpDisconnect, to: 3, remote: e.rw}) }, Misinserted, OK},
		{"the victim's own end", with(func(e *enemy, m *message) { m.remote = e.vc }), 0, EINVAL},
		{"disconnect of the victim's own", func(e *enemy) { send(e, message{op: OpDisconnect, remote: e.vc}) }, Stranger, OK},
		{"disconnect of an upper VC", func(e *enemy) { send(e, message{op: OpDisconnect, remote: upperVC(e.rw)}) }, Stranger, OK},
		{"disconnect of nothing", func(e *enemy) { send(e, message{op: OpDisconnect, remote: atm.VC{VPI: 200, VCI: 99}}) }, Stranger, OK},
		{"a reply to nothing", func(e *enemy) { send(e, message{op: OpReply, id: 77, length: 1 << 40}) }, Unasked, OK},
		{"bits without a meaning", func(e *enemy) {
			e.pdu(control, unhex(t, "c0004002 00000001 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000"))
		}, Malformed, OK},
		{"a request", func(e *enemy) { send(e, message{op: OpWrite}) }, Malformed, OK},
		{"too short", func(e *enemy) { e.pdu(control, make([]byte, controlSize-1)) }, Malformed, OK},
		{"too long", func(e *enemy) { e.pdu(control, make([]byte, controlSize+1)) }, BadPDU, OK},
		{"endless", func(e *enemy) { e.pdu(control, make([]byte, 60000)) }, BadPDU, OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnemy(t)
			c.send(e)
			if c.reason != 0 && c.reason != Overflow && e.victim.Drops()[c.reason] != 1 {
				t.Errorf("dropped: %v", e.victim.Drops())
			}
			var status Error
			for _, a := range e.answers {
				m, ok := parseMessage(a.Payload()[:controlSize])
				if !ok || m.op != OpReply || m.id != 9 && m.id != 0 {
					t.Fatalf("answer %+v", m)
				}
				status = statusError(m.status)
			}
			if status != c.status {
				t.Errorf("status %v, want %v", status.Name(), c.status.Name())
			}
			e.answers = nil
			e.cell(e.rw, word(OpWrite, 8), pattern(40)...)
			if e.status(t) != OK || e.space.descriptors.get(int32(e.d)).down() {
				t.Error("circuits of others were harmed")
			}
			e.intact(t)
		})
	}
}

func TestHostileHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		header atm.Header
		damage bool
		reason Reason
	}{
		{"damaged", atm.Header{VC: atm.VC{VCI: 36}}, true, BadHEC},
		{"OAM", atm.Header{VC: atm.VC{VCI: 36}, PT: atm.PTEndOAM}, false, NotUser},
		{"no circuit", atm.Header{VC: atm.VC{VCI: 4000}}, false, NoCircuit},
		{"reserved VCI", atm.Header{VC: atm.VC{VCI: 5}}, false, NoCircuit},
		{"another path", atm.Header{VC: atm.VC{VPI: 7, VCI: 36}}, false, NoCircuit},
		{"the last", atm.Header{VC: atm.VC{VPI: 255, VCI: 65535}}, false, NoCircuit},
	} {
		e := newEnemy(t)
		var cell atm.Cell
		cell.SetHeader(c.header)
		sealCell(&cell, 0, append(u32(word(OpWrite, 0)), make([]byte, 40)...))
		if c.damage {
			cell[4] ^= 1
		}
		e.victim.Receive(&cell)
		if n := e.victim.Drops(); n[c.reason] != 1 || len(e.answers) != 0 {
			t.Errorf("%s: dropped %v, %d answers", c.name, n, len(e.answers))
		}
		e.intact(t)
	}
}

// Blocks that are begun on many circuits and not ended take a bounded amount of memory.
func TestPartialBlocksAreBounded(t *testing.T) {
	f := newFabric(t, 2)
	a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
	mustExport(t, b, "seg", make([]byte, 64), access)
	var c atm.Cell
	for range maxPartial + 10 {
		d := a.descriptors.get(int32(mustImport(t, a, "seg", 1, access)))
		c.SetHeader(atm.Header{VC: upperVC(d.remote)})
		f.nodes[1].Receive(&c)
	}
	if n := f.nodes[1].peer(0).partial.Load(); n != maxPartial {
		t.Errorf("%d buffers, want %d", n, maxPartial)
	}
	if n := f.nodes[1].Drops()[Overflow]; n != 10 {
		t.Errorf("%d cells were dropped, want 10", n)
	}
	f.nodes[1].PeerDown(0)
	if n := f.nodes[1].peer(0).partial.Load(); n != 0 {
		t.Errorf("%d buffers are left", n)
	}
}

// FuzzReceive sends cells to a node that has segments, and a read under way. The
// input is a program: a byte that says on which circuit and how well made
// the message is, one for its length, and the message.
func FuzzReceive(f *testing.F) {
	const (
		raw    = iota // 48 bytes as they are
		sealed        // a cell with the right CRC-10, sequence number and key, which is not in the program
		pdu           // an AAL5 PDU with the right CRC-32
		block         // the same with the right sequence number and key
		methods
	)
	step := func(vc, method byte, message ...byte) []byte {
		return append([]byte{vc*methods + method, byte(len(message))}, message...)
	}
	join := func(steps ...[]byte) []byte { return bytes.Join(steps, nil) }
	f.Add(step(0, sealed, append(u32(word(OpWrite, 8)), pattern(40)...)...))
	f.Add(join(step(0, sealed, append(u32(word(OpRead, 8)), u32(400)...)...), step(0, sealed, append(u32(word(OpCAS, 8)), make([]byte, 16)...)...)))
	f.Add(step(0, block, append(unhex(f, "18000000 00000000 0000000000000030 0000000000000010"), pattern(48)...)...))
	f.Add(step(0, block, append(unhex(f, "10000000 00000000 000000000000ffff ffffffffffffffff"), pattern(48)...)...))
	f.Add(step(1, sealed, append(u32(word(OpWrite, 0)), pattern(40)...)...))
	f.Add(step(2, sealed, append(u32(replyWord(OpData, OK, 0)), pattern(8)...)...))
	f.Add(step(2, sealed, append(u32(replyWord(OpAck, ESTALE, 0)), pattern(4)...)...))
	f.Add(step(2, block, append(unhex(f, "90000000 00000000 0000000000000008 0000000000000000"), pattern(8)...)...))
	f.Add(step(3, pdu, unhex(f, "b0000002 00000001 00000000 00000001 00000007 00000026 00000022 00000001 01020304 00000005")...))
	f.Add(step(3, pdu, unhex(f, "d0000002 00000001 00000000 00000000 00000000 00000024 00000000 00000001 00000000 00000000")...))
	f.Add(join(step(0, raw, pattern(48)...), step(1, raw, make([]byte, 48)...)))
	f.Fuzz(func(t *testing.T, program []byte) {
		e := newEnemy(t)
		buffer := bytes.Repeat([]byte{0x5a}, 24)
		reading := newOp()
		e.space.Read(&reading.Operation, e.d, 0, mem(buffer[8:16]), 8, 1, false)
		vcs := []atm.VC{e.rw, e.ro, e.vc, {VCI: ControlVCI(0)}, {VCI: ControlVCI(1)}, {VCI: 3999}}
		for len(program) >= 2 {
			vc, method := vcs[int(program[0])/methods%len(vcs)], program[0]%methods
			n := min(int(program[1]), len(program)-2)
			m := program[2 : 2+n]
			program = program[2+n:]
			switch method {
			case raw:
				var c atm.Cell
				copy(c.Payload()[:], m)
				for _, h := range []atm.Header{{VC: vc}, {VC: upperVC(vc)}, {VC: upperVC(vc), PT: atm.PTUserEnd}} {
					c.SetHeader(h)
					e.victim.Receive(&c)
				}
			case sealed:
				if len(m) < wordSize || len(m) > atm.MaxSSM {
					continue
				}
				word := binary.BigEndian.Uint32(m)
				if op := Op(word >> opShift); vc == e.vc && op == OpData {
					word = uint32(op)<<opShift | e.mark(vc).dataKey()
				} else if vc == e.vc {
					word = word&^seqMask | e.mark(vc).number(e.seq[vc])
				}
				e.cell(vc, word, m[wordSize:]...)
			case pdu:
				e.pdu(vc, m)
			case block:
				if h, ok := parseHeader(m); ok {
					e.block(vc, h, m[blockHeader:])
				}
			}
		}
		e.intact(t)
		if !bytes.Equal(buffer[:8], bytes.Repeat([]byte{0x5a}, 8)) || !bytes.Equal(buffer[16:], buffer[:8]) {
			t.Fatal("a reply was written beside the buffer")
		}
		if n := e.victim.peer(0).partial.Load(); n < 0 || n > maxPartial {
			t.Fatalf("%d buffers are in use, at most %d may be", n, maxPartial)
		}
		if !reading.Done() {
			e.victim.PeerDown(0)
			if r := reading.result(); r != EDOWN {
				t.Fatalf("read: %v", r)
			}
		}
	})
}

// FuzzControl: a control message that is accepted is, put together again, the same bytes.
func FuzzControl(f *testing.F) {
	f.Add(unhex(f, "b0000002 00000001 00000000 00000001 00000007 00000022 00000022 00000001 1a2b3c4d 00003ffe"))
	f.Add(unhex(f, "c0280002 00000001 00000000 00001234 00000007 00000000 00000000 00010000 5e6f7081 00000200"))
	f.Add(unhex(f, "d0000002 00000001 00000000 00000001 00000007 ff000022 00000022 00000001 00000000 00004000"))
	f.Add(unhex(f, "b0000001 00000001 00000000 00000001 00000007 00000022 00000022")) // version 1
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMessage(b)
		if !ok || m.version != Version {
			return
		}
		var again [controlSize]byte
		m.put(&again)
		if !bytes.Equal(b, again[:]) {
			t.Fatalf("% x was read as %+v", b, m)
		}
	})
}

func TestObserverSeesDrops(t *testing.T) {
	r := &recorder{}
	p := newPair(t, 64, access, observed(r))
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VCI: 999}})
	p.f.nodes[1].Receive(&c)
	if n := r.count(func(e *Event) bool { return e.Kind == Dropped && e.Reason == NoCircuit && e.Node == 1 && *e.Cell == c }); n != 1 {
		t.Errorf("%d events", n)
	}
	for k := Sent; k <= Completed; k++ {
		if k.String() == "invalid" {
			t.Error(fmt.Sprint(uint8(k)))
		}
	}
	for k := BadHEC; k < ReasonCount; k++ {
		if k.String() == "invalid" {
			t.Error(fmt.Sprint(uint8(k)))
		}
	}
}

// A node cannot touch the circuits of a third one.
func TestHostileThirdNode(t *testing.T) {
	f := newFabric(t, 3)
	a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
	m := make([]byte, 64)
	mustExport(t, b, "seg", m, access)
	d := mustImport(t, a, "seg", 1, access)
	r, _ := f.names.Lookup(1, "seg")
	_, fresh, err := f.ports[0].Open(1) // set up for node 0
	if err != nil {
		t.Fatal(err)
	}
	f.nodes[2].peer(1).post(message{op: OpDisconnect, remote: a.descriptors.get(int32(d)).remote})
	f.nodes[2].peer(1).post(message{op: OpConnect, segment: r.Segment, generation: r.Generation, rights: access, remote: fresh})
	if n := f.nodes[1].Drops()[Stranger]; n != 2 {
		t.Errorf("%d messages were dropped, want 2", n)
	}
	if n := f.nodes[2].Drops()[Unasked]; n != 1 {
		t.Errorf("%d answers, want one, which refuses CONNECT", n)
	}
	if e := written(a, d, 0, pattern(40)); e != OK || fenced(a, d) != OK || !bytes.Equal(m[:40], pattern(40)) {
		t.Error("a third node has ended the circuit")
	}
	if len(f.nodes[1].targets) != 1 {
		t.Errorf("%d circuits, want 1", len(f.nodes[1].targets))
	}
}

// Control messages that come again, or late, change nothing that was done since.
func TestControlAgain(t *testing.T) {
	e := newEnemy(t)
	r, _ := e.f.names.Lookup(1, "rw")
	_, vc, err := e.f.ports[0].Open(1)
	if err != nil {
		t.Fatal(err)
	}
	connect := message{op: OpConnect, version: Version, segment: r.Segment, generation: r.Generation, rights: Read, remote: vc}
	disconnect := message{op: OpDisconnect, version: Version, id: 77, remote: vc}
	for i, c := range []struct {
		m       message
		id, of  uint32 // of the message; of the CONNECT that a DISCONNECT names
		status  Error
		circuit uint32 // the id of the CONNECT of the circuit that there is then; 0: none
	}{
		{connect, 109, 0, OK, 109},
		{connect, 109, 0, OK, 109}, // the REPLY was lost
		{disconnect, 110, 108, OK, 109},
		{connect, 111, 0, OK, 111}, // DISCONNECT was lost, and the VC is used again
		{connect, 109, 0, EINVAL, 111},
		{disconnect, 110, 109, OK, 111},
		{disconnect, 112, 111, OK, 0},
		{disconnect, 112, 111, OK, 0}, // the REPLY was lost
	} {
		e.answers = nil
		m := c.m
		m.id, m.to = c.id, 1
		if m.op == OpDisconnect {
			m.segment = c.of
		}
		var b [controlSize]byte
		m.put(&b)
		e.pdu(atm.VC{VCI: ControlVCI(0)}, b[:])
		if len(e.answers) != 1 {
			t.Fatalf("message %d: %d answers", i, len(e.answers))
		}
		if reply, ok := parseMessage(e.answers[0].Payload()[:controlSize]); !ok || reply.id != c.id || statusError(reply.status) != c.status {
			t.Errorf("message %d: answer %+v, want id %d, %v", i, reply, c.id, c.status.Name())
		}
		circuit := uint32(0)
		if a := e.victim.circuits.lookup(vc); a != nil {
			circuit = a.end.(*target).connect
		}
		if circuit != c.circuit {
			t.Errorf("message %d: circuit %d is there, want %d", i, circuit, c.circuit)
		}
	}
}
