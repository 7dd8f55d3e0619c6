package rmem

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rmemrun/atm"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A constant is a source of marks that are all the same.
type constant uint64

func (c constant) Uint64() uint64 { return uint64(c) }

// marked has requests of node 0 bear the key 1a2b3c4d and numbers from 3ffe on, and replies of node 1 the key 5e6f7081 and numbers from 200 on.
func marked(_ *fabric, c *Config) {
	c.Random = constant(0x1a2b3c4d_00003ffe)
	if c.ID == 1 {
		c.Random = constant(0x5e6f7081_00000200)
	}
}

// The bytes of every message, put together by hand from docs/protocol.md. The first two of a cell are ST, SN and MID.
func TestMessagesOnTheWire(t *testing.T) {
	data40 := hex.EncodeToString(pattern(40))
	for _, c := range []struct {
		name           string
		seq            int // requests before
		begin          func(p *pair, o *Operation)
		request, reply string // SAR-PDU without the trailer
	}{
		{"write", 0, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem(pattern(40)), 40, 1, false) },
			"fbff 10000018" + data40, "c020 80000200 5e6f7081 00400100"},
		{"write, notify, sequence 19", 19, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem{1, 2, 3, 4, 5}, 5, 1, true) },
			"c401 28000018 1a2b3c4d 0102030405", "cc21 80000213 5e6f7081 00400100"},
		{"write of 36 bytes", 0, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem(pattern(36)), 36, 1, false) },
			"fbff 20000018 1a2b3c4d" + data40[:72], "c020 80000200 5e6f7081 00400100"},
		{"write of 37 bytes", 0, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem(pattern(37)), 37, 1, true) },
			"fbff 18000018" + data40[:74], "c020 80000200 5e6f7081 00400100"},
		{"write, refused", 1, func(p *pair, o *Operation) { p.b.Revoke(p.seg); p.a.Write(o, p.d, 1, mem{9}, 1, 1, false) },
			"ffff 20000001 1a2b3c4d 09", "c420 80280201 5e6f7081 00400100"},
		{"read", 0, func(p *pair, o *Operation) { p.a.Read(o, p.d, 0x20, make(mem, 6), 6, 1, false) },
			"fbff 30000020 1a2b3c4d 00000006", "c020 9e6f7081 212223242526"},
		{"read of 1 byte", 0, func(p *pair, o *Operation) { p.a.Read(o, p.d, 0x20, make(mem, 1), 1, 1, false) },
			"fbff 30000020 1a2b3c4d 00000001", "c020 9e6f7081 21000000"},
		{"read, refused", 0, func(p *pair, o *Operation) { p.b.Revoke(p.seg); p.a.Read(o, p.d, 0x18, make(mem, 40), 40, 1, false) },
			"fbff 30000018 1a2b3c4d 00000028", "c020 80280200 5e6f7081 00400100"},
		{"cas", 0, func(p *pair, o *Operation) { p.a.CAS(o, p.d, 0x20, 4, 0x24232221, 0xaabbccdd, true) },
			"fbff 48000020 1a2b3c4d 24232221 aabbccdd", "c020 a0000200 5e6f7081 24232221"},
		{"fadd", 0, func(p *pair, o *Operation) { p.a.FAdd(o, p.d, 0x20, 8, 0x0102030405060708, false) },
			"fbff 50000020 1a2b3c4d 0102030405060708", "c020 a0000200 5e6f7081 2827262524232221"},
		{"swap", 0, func(p *pair, o *Operation) { p.a.Swap(o, p.d, 0x20, 8, 1, false) },
			"fbff 60000020 1a2b3c4d 0000000000000001", "c020 a0000200 5e6f7081 2827262524232221"},
		{"swap, refused", 0, func(p *pair, o *Operation) { p.b.Inhibit(p.seg, true); p.a.Swap(o, p.d, 0x20, 4, 1, false) },
			"fbff 60000020 1a2b3c4d 00000001", "c020 80300200 5e6f7081 00400100"},
		{"notify", 0, func(p *pair, o *Operation) { p.a.Notify(o, p.d, 0x40) },
			"fbff 78000040 1a2b3c4d", "c020 80000200 5e6f7081 00400100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			p := newPair(t, 64, access, observed(r), marked)
			for range c.seq {
				do(func(o *Operation) { p.a.Fence(o, p.d); p.a.Notify(o, p.d, 0) })
			}
			for i := range p.mem {
				p.mem[i] = byte(i + 1)
			}
			r.reset()
			do(func(o *Operation) { c.begin(p, o) })
			var sent []string
			for _, e := range r.events {
				if e.Kind == Sent {
					b := e.Cell.Payload()
					n := 2 + int(b[46]>>2)
					sent = append(sent, hex.EncodeToString(b[:n]))
					if e.Cell.PT() != atm.PTUser {
						t.Errorf("payload type %d", e.Cell.PT())
					}
				}
			}
			want := []string{strings.ReplaceAll(c.request, " ", ""), strings.ReplaceAll(c.reply, " ", "")}
			if len(sent) != 2 || sent[0] != want[0] || sent[1] != want[1] {
				t.Errorf("sent\n%v, want\n%v", sent, want)
			}
		})
	}
}

func TestBlocksOnTheWire(t *testing.T) {
	r := &recorder{}
	p := newPair(t, 3*MaxBlock, access, observed(r), marked)
	r.reset()
	do(func(o *Operation) { p.a.Write(o, p.d, 0x0a0b, mem(pattern(MaxBlock+41)), MaxBlock+41, 1, true) })
	do(func(o *Operation) { p.a.Read(o, p.d, 0x0a0b, make(mem, 41), 41, 1, false) })
	sent := [2][]*atm.Cell{} // on the upper VC, by node
	for _, e := range r.events {
		if e.Kind == Sent && e.Cell.VC() == upperVC(p.a.descriptors.get(int32(p.d)).vc) && e.Node == 0 {
			sent[0] = append(sent[0], e.Cell)
		}
		if e.Kind == Sent && e.Cell.VC() == upperVC(p.a.descriptors.get(int32(p.d)).remote) && e.Node == 1 {
			sent[1] = append(sent[1], e.Cell)
		}
	}
	pdus := func(cells []*atm.Cell) (list [][]byte) {
		a := atm.NewReassembler(atm.MaxPDU)
		for _, c := range cells {
			pdu, ok, err := a.Add(c)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				list = append(list, bytes.Clone(pdu.Payload))
			}
		}
		return list
	}
	requests, replies := pdus(sent[0]), pdus(sent[1])
	data := pattern(MaxBlock + 41)
	if len(sent[0]) != 1364+2 || len(requests) != 2 ||
		!bytes.Equal(requests[0], append(unhex(t, "10003ffe 1a2b3c4d 000000000000ffc9 0000000000000a0b"), data[:MaxBlock]...)) ||
		!bytes.Equal(requests[1], append(unhex(t, "18003fff 1a2b3c4d 0000000000000029 00000000000109ab"), data[MaxBlock:]...)) {
		t.Errorf("%d cells, %d requests: % x", len(sent[0]), len(requests), requests[1])
	}
	if len(replies) != 1 || !bytes.Equal(replies[0], append(unhex(t, "90000202 5e6f7081 0000000000000029 0000000000000000"), data[:41]...)) {
		t.Errorf("replies: % x", replies)
	}
}

func TestControlOnTheWire(t *testing.T) {
	r := &recorder{}
	p := newPair(t, 0x1234, access, observed(r), marked)
	do(func(o *Operation) { p.a.Release(o, p.d) })
	var sent []string
	for _, e := range r.events {
		if e.Kind == Sent {
			sent = append(sent, hex.EncodeToString(e.Cell.Payload()[:controlSize]))
		}
	}
	// Two nodes: control circuits are 32 and 33, so the first user circuit is 34 at both.
	want := []string{
		"b0000002" + "00000001" + "00000000" + "00000001" + "00000007" + "00000022" + "00000022" + "00000001" + "1a2b3c4d" + "00003ffe",
		"c0000002" + "00000001" + "0000000000001234" + "00000007" + "0000000000000000" + "00010000" + "5e6f7081" + "00000200",
		"d0000002" + "00000002" + "0000000100000000" + "00000000" + "00000022" + "00000000" + "00000001" + "00000000" + "00000000",
		"c0000002" + "00000002" + "0000000000000000" + "00000000" + "0000000000000000" + "00010000" + "00000000" + "00000000",
	}
	if strings.Join(sent, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(sent, "\n"), strings.Join(want, "\n"))
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := header{
			op:     Op(rapid.IntRange(0, 15).Draw(t, "op")),
			notify: rapid.Bool().Draw(t, "notify"),
			low:    rapid.Uint32Range(0, offsetMask).Draw(t, "low"),
			key:    rapid.Uint32().Draw(t, "key"),
			length: rapid.Uint64().Draw(t, "length"),
			offset: rapid.Uint64().Draw(t, "offset"),
		}
		var b [blockHeader]byte
		h.put(&b)
		if again, ok := parseHeader(b[:]); !ok || again != h {
			t.Fatalf("%+v, want %+v", again, h)
		}
	})
}
