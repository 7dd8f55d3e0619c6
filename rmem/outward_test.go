package rmem

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"rmemrun/atm"
)

// A courier asks an Outward for operations, as a ring does, and checks what comes back against what it expects.
type courier struct {
	t     testing.TB
	x     *Outward
	told  told
	woken int
	index uint64   // of the next
	first uint64   // of the oldest that is not answered
	asked [][]byte // by index: what the reply has to hold; nil: there has to be none
	cell  atm.Cell
	reply atm.Cell
}

func newCourier(t testing.TB, s *Space, d Desc) *courier {
	t.Helper()
	k := &courier{t: t}
	var e Error
	if k.x, e = s.Outward(d, &k.told, func() { k.woken++ }); e != OK {
		t.Fatalf("outward: %v", e)
	}
	return k
}

// ask has a request carried; want is what its reply has to hold.
func (k *courier) ask(op Op, notify bool, offset int, data, want []byte) {
	if op == OpWrite && len(data) <= maxShort {
		op = OpWriteShort
	}
	c := k.x.Circuit()
	var m [wordSize + MaxCell]byte
	mark{key: c.RequestKey}.put(m[:], op, opWord(op, notify, uint32(offset)))
	n := op.lead() + copy(m[op.lead():], data)
	k.cell.SetOctets(c.Requests)
	sealCell(&k.cell, uint32(k.index)&seqMask, m[:n])
	k.carry(want)
}

func (k *courier) carry(want []byte) {
	k.x.Begin()
	defer k.x.End()
	k.x.Carry(k.index, &k.cell)
	k.index++
	k.asked = append(k.asked, want)
}

// collect takes what is answered, and returns how many that are not.
func (k *courier) collect() int {
	k.x.Begin()
	defer k.x.End()
	for {
		done, replied := k.x.Carried(k.first, &k.reply)
		if !done {
			return int(k.index - k.first)
		}
		want := k.asked[k.first]
		if replied != (want != nil) {
			k.t.Fatalf("request %d: replied %v, want %x", k.first, replied, want)
		}
		if replied {
			k.check(want)
		}
		k.first++
	}
}

func (k *courier) check(want []byte) {
	m, err := atm.DecodeSSM(&k.reply)
	if h, ok := k.reply.Header(); err != nil || !ok || h.Octets() != k.x.Circuit().Replies {
		k.t.Fatalf("reply %d is damaged: %v", k.first, err)
	}
	if number14(m) != uint32(k.first)&seqMask || !(mark{key: k.x.Circuit().ReplyKey}).on(m.Payload) {
		k.t.Fatalf("reply %d has number %d: % x", k.first, number14(m), m.Payload)
	}
	word := binary.BigEndian.Uint32(m.Payload)
	got := m.Payload[Op(word>>opShift).lead():]
	if Op(word>>opShift) == OpAck {
		got = []byte{uint8(word >> statusShift)}
	}
	if !bytes.Equal(got, want) {
		k.t.Fatalf("reply %d: %x, want %x", k.first, got, want)
	}
}

// TestOutward carries requests over networks of all kinds, several at a time, between others that come by no ring: all take effect once and in their order.
func TestOutward(t *testing.T) {
	for _, x := range impairments {
		t.Run(x.name, func(t *testing.T) {
			const size = 1000
			p, clock := impairedPair(t, size, x.faults, 1)
			k := newCourier(t, p.a, p.d)
			r := rand.New(rand.NewPCG(1, 2))
			model := make([]byte, size)
			for range 400 {
				for k.x.Room() && r.IntN(20) > 0 {
					n := 1 + r.IntN(MaxCell)
					off := r.IntN(size - n)
					word := off &^ 7 // in this machine's order, as owners have them
					switch r.IntN(4) {
					case 0, 1:
						data := make([]byte, n)
						for i := range data {
							data[i] = byte(r.Uint32())
						}
						copy(model[off:], data)
						k.ask(OpWrite, r.IntN(2) == 0, off, data, nil)
					case 2:
						want := append(bytes.Clone(model[off:off+n]), make([]byte, max(minData-n, 0))...)
						k.ask(OpRead, false, off, binary.BigEndian.AppendUint32(nil, uint32(n)), want)
					case 3:
						old, add := binary.NativeEndian.Uint64(model[word:]), r.Uint64()
						binary.NativeEndian.PutUint64(model[word:], old+add)
						k.ask(OpFAdd, false, word, putNumber(nil, 8, add), putNumber(nil, 8, old))
					}
				}
				if r.IntN(4) == 0 && !k.x.Waiting() { // by a trap
					n := 1 + r.IntN(300)
					off := r.IntN(size - n)
					data := make([]byte, n)
					for i := range data {
						data[i] = byte(r.Uint32())
					}
					copy(model[off:], data)
					var o Operation
					p.a.Write(&o, p.d, uint64(off), mem(data), uint64(n), 1, false)
					if o.Done() && !k.told.refused {
						t.Fatal("a write that did not come by the ring is under way, and a fence does not know")
					}
					clock.Run(atm.Forever)
				}
				if r.IntN(3) == 0 {
					clock.Run(atm.Forever)
				}
				if left := k.collect(); left > window {
					t.Fatalf("%d requests are carried", left)
				}
			}
			clock.Run(atm.Forever)
			if left := k.collect(); left != 0 || k.x.News() {
				t.Fatalf("%d of %d requests are not answered; news: %v", left, k.index, k.x.News())
			}
			if !bytes.Equal(p.mem, model) {
				t.Error("memory is not what it should be")
			}
			if k.woken == 0 {
				t.Error("nobody was woken")
			}
			if k.told.refused || k.told.failed {
				t.Errorf("told: %+v", k.told)
			}
		})
	}
}

// status is the reply that refuses a request.
func status(e Error) []byte { return []byte{e.status()} }

// TestOutwardRefusals looks at what is refused, here and at the other end, and at errors that wait for a fence.
func TestOutwardRefusals(t *testing.T) {
	p := newPair(t, 64, Read|Write)
	k := newCourier(t, p.a, p.d)
	posted := func(want Error) {
		t.Helper()
		if k.collect() != 0 {
			t.Fatal("a request is not answered")
		}
		if !k.told.refused {
			t.Errorf("no error is said to wait, want %v", want)
		}
		if e := fenced(p.a, p.d); e != want {
			t.Errorf("fence: %v, want %v", e, want)
		}
		if k.told.refused {
			t.Error("after the fence an error is said to wait")
		}
	}
	k.ask(OpFAdd, false, 0, putNumber(nil, 8, 1), status(EPERM))
	k.ask(OpRead, false, 60, binary.BigEndian.AppendUint32(nil, 8), status(ERANGE))
	k.collect()
	if k.told.refused {
		t.Error("what has a result left an error")
	}
	k.ask(OpWrite, false, 60, make([]byte, 8), status(ERANGE))
	posted(ERANGE)
	k.cell[30] ^= 1
	k.carry(status(EINVAL))
	posted(EINVAL)
	p.b.Inhibit(p.seg, true)
	k.ask(OpWrite, false, 0, make([]byte, 8), status(EINHIBIT))
	posted(EINHIBIT)
	if _, e := p.a.Outward(p.d, &told{}, func() {}); e != EINVAL {
		t.Errorf("a second Outward: %v", e)
	}
	if _, e := p.a.Direct(p.d, p.f.nodes[1], &told{}); e != EINVAL {
		t.Errorf("a Direct beside an Outward: %v", e)
	}
	p.f.down(1)
	if !k.told.failed {
		t.Error("nobody is told that the circuit has failed")
	}
	k.ask(OpRead, false, 0, binary.BigEndian.AppendUint32(nil, 8), status(EDOWN))
	k.ask(OpWrite, false, 0, make([]byte, 8), status(EDOWN))
	posted(EDOWN)
	k.x.Close()
}

// TestOutwardPeerLost has a peer fall silent while requests are under way.
func TestOutwardPeerLost(t *testing.T) {
	p, clock := impairedPair(t, 64, faults{}, 1)
	k := newCourier(t, p.a, p.d)
	for range 3 {
		k.ask(OpWrite, false, 0, make([]byte, 8), status(EDOWN))
		k.ask(OpRead, false, 0, binary.BigEndian.AppendUint32(nil, 8), status(EDOWN))
	}
	p.f.ports[1].carry = func(*atm.Cell) {}
	clock.Run(atm.Forever)
	if left := k.collect(); left != 0 || !k.told.failed || !k.told.refused {
		t.Errorf("%d requests are not answered; told: %+v", left, k.told)
	}
}
