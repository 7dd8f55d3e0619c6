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
			"c000 10000018" + data40, "c000 80000000 00400100"},
		{"write, notify, sequence 19", 19, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem{1, 2, 3, 4, 5}, 5, 1, true) },
			"cc01 18000018 0102030405", "cc01 80000013 00400100"},
		{"write of 3 bytes", 0, func(p *pair, o *Operation) { p.a.Write(o, p.d, 0x18, mem{1, 2, 3}, 3, 1, false) },
			"c000 20000018 03010203", "c000 80000000 00400100"},
		{"write, refused", 1, func(p *pair, o *Operation) { p.b.Revoke(p.seg); p.a.Write(o, p.d, 1, mem{9}, 1, 1, false) },
			"c400 20000001 01090000", "c400 80280001 00400100"},
		{"read", 0, func(p *pair, o *Operation) { p.a.Read(o, p.d, 0x20, make(mem, 6), 6, 1, false) },
			"c000 30000020 00000006", "c000 90000000 212223242526"},
		{"read of 1 byte", 0, func(p *pair, o *Operation) { p.a.Read(o, p.d, 0x20, make(mem, 1), 1, 1, false) },
			"c000 30000020 00000001", "c000 90000000 21000000"},
		{"cas", 0, func(p *pair, o *Operation) { p.a.CAS(o, p.d, 0x20, 4, 0x24232221, 0xaabbccdd, true) },
			"c000 48000020 24232221 aabbccdd", "c000 a0000000 24232221"},
		{"fadd", 0, func(p *pair, o *Operation) { p.a.FAdd(o, p.d, 0x20, 8, 0x0102030405060708, false) },
			"c000 50000020 0102030405060708", "c000 a0000000 2827262524232221"},
		{"swap", 0, func(p *pair, o *Operation) { p.a.Swap(o, p.d, 0x20, 8, 1, false) },
			"c000 60000020 0000000000000001", "c000 a0000000 2827262524232221"},
		{"swap, refused", 0, func(p *pair, o *Operation) { p.b.Inhibit(p.seg, true); p.a.Swap(o, p.d, 0x20, 4, 1, false) },
			"c000 60000020 00000001", "c000 80300000 00400100"},
		{"notify", 0, func(p *pair, o *Operation) { p.a.Notify(o, p.d, 0x40) },
			"c000 78000040 00000000", "c000 80000000 00400100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			p := newPair(t, 64, access, observed(r))
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
	p := newPair(t, 3*MaxBlock, access, observed(r))
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
		!bytes.Equal(requests[0], append(unhex(t, "10000000 00000000ffd1 000000000a0b"), data[:MaxBlock]...)) ||
		!bytes.Equal(requests[1], append(unhex(t, "18000001 000000000029 0000000109b3"), data[MaxBlock:]...)) {
		t.Errorf("%d cells, %d requests: % x", len(sent[0]), len(requests), requests[1])
	}
	if len(replies) != 1 || !bytes.Equal(replies[0], append(unhex(t, "90000002 000000000029 000000000000"), data[:41]...)) {
		t.Errorf("replies: % x", replies)
	}
}

func TestControlOnTheWire(t *testing.T) {
	r := &recorder{}
	p := newPair(t, 0x1234, access, observed(r))
	do(func(o *Operation) { p.a.Release(o, p.d) })
	var sent []string
	for _, e := range r.events {
		if e.Kind == Sent {
			sent = append(sent, hex.EncodeToString(e.Cell.Payload()[:controlSize]))
		}
	}
	// Two nodes: control circuits are 32 and 33, so the first user circuit is 34 at both.
	want := []string{
		"b0000001" + "00000001" + "00000000" + "00000001" + "00000007" + "00000022" + "00000022",
		"c0000001" + "00000001" + "0000000000001234" + "00000007" + "0000000000000000",
		"d0000001" + "00000002" + "0000000100000000" + "00000000" + "00000022" + "00000000",
		"c0000001" + "00000002" + "0000000000000000" + "00000000" + "0000000000000000",
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
			length: rapid.Uint64Range(0, 1<<48-1).Draw(t, "length"),
			offset: rapid.Uint64Range(0, 1<<48-1).Draw(t, "offset"),
		}
		var b [blockHeader]byte
		h.put(&b)
		if again, ok := parseHeader(b[:]); !ok || again != h {
			t.Fatalf("%+v, want %+v", again, h)
		}
	})
}
