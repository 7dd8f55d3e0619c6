package atm

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A stack takes cells, and keeps them.
type stack struct{ cells []Cell }

func (s *stack) Receive(c *Cell) { s.cells = append(s.cells, *c) }

// Frames takes frames, too.
type frames struct {
	stack
	whole []string // their octets
	vcs   []VC
}

func (s *frames) ReceiveFrame(f *Frame) {
	s.whole = append(s.whole, string(f.Head)+string(f.Body)+string(f.tail[:f.used]))
	s.vcs = append(s.vcs, f.VC)
}

func drawPayload(t *rapid.T) []byte {
	n := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(1, MaxPDU)).Draw(t, "length")
	start := rapid.Byte().Draw(t, "start")
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = start + byte(i*7) + byte(i>>8)
	}
	return payload
}

// The cells of a frame are those that a Segmenter makes.
func TestFrameIsItsCells(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			payload := drawPayload(t)
			cut := rapid.IntRange(0, len(payload)).Draw(t, "cut")
			uu := rapid.Byte().Draw(t, "uu")
			vc := VC{VPI: rapid.Byte().Draw(t, "vpi"), VCI: rapid.Uint16Min(32).Draw(t, "vci")}

			var s Segmenter
			if err := s.Begin(Header{VC: vc}, uu, payload[:cut], payload[cut:]); err != nil {
				t.Fatal(err)
			}
			var want stack
			var c Cell
			for s.Next(&c) {
				want.Receive(&c)
			}
			var f Frame
			if err := f.Make(vc, uu, payload[:cut], payload[cut:]); err != nil {
				t.Fatal(err)
			}
			var got stack
			f.Deliver(&got)
			if len(got.cells) != len(want.cells) || f.Cells() != len(want.cells) {
				t.Fatalf("%d cells, Cells says %d, want %d", len(got.cells), f.Cells(), len(want.cells))
			}
			for i := range want.cells {
				if got.cells[i] != want.cells[i] {
					t.Fatalf("cell %d of %d:\n%x, want\n%x", i, len(want.cells), got.cells[i], want.cells[i])
				}
			}
			if last := want.cells[len(want.cells)-1]; *f.Last() != last {
				t.Fatalf("last cell:\n%x, want\n%x", *f.Last(), last)
			}
			if got, err := f.Open(MaxPDU); got != uu || err != nil {
				t.Fatalf("Open = %d, %v, want %d", got, err, uu)
			}
		})
	})
}

// A frame is refused for what a Reassembler refuses its cells for.
func TestFrameRefused(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			payload := drawPayload(t)
			cut := rapid.IntRange(0, len(payload)).Draw(t, "cut")
			limit := max(1, min(MaxPDU, rapid.OneOf(rapid.IntRange(1, MaxPDU), rapid.IntRange(len(payload)-60, len(payload)+60)).Draw(t, "limit")))
			var f Frame
			if err := f.Make(VC{VCI: 77}, 3, payload[:cut], payload[cut:]); err != nil {
				t.Fatal(err)
			}
			t8 := f.tail[f.used-trailerSize : f.used]
			seal := func() { // a sender that means what it says
				r := f.sum(f.used - 4)
				t8[4], t8[5], t8[6], t8[7] = ^byte(r>>24), ^byte(r>>16), ^byte(r>>8), ^byte(r)
			}
			switch rapid.SampledFrom([]string{"", "bit", "length", "abort", "cpi", "shorter"}).Draw(t, "fault") {
			case "bit":
				bit := rapid.IntRange(0, 8*(len(payload)+f.used)-1).Draw(t, "bit")
				at := bit / 8
				if at < len(payload) {
					payload[at] ^= 1 << (bit % 8)
				} else {
					f.tail[at-len(payload)] ^= 1 << (bit % 8)
				}
			case "length":
				t8[2], t8[3] = rapid.Byte().Draw(t, "high"), rapid.Byte().Draw(t, "low")
				seal()
			case "abort":
				t8[2], t8[3] = 0, 0
				seal()
			case "cpi":
				t8[1] = 1
				seal()
			case "shorter":
				if len(f.Body) > PayloadSize {
					f.Body = f.Body[:len(f.Body)-PayloadSize]
				}
			}
			var cells stack
			f.Cut(&cells)
			r := NewReassembler(limit)
			var want error
			var pdu PDU
			for i := range cells.cells {
				if got, ok, err := r.Add(&cells.cells[i]); ok || err != nil {
					pdu, want = got, err
				}
			}
			uu, err := f.Open(limit)
			if length := int(t8[2])<<8 | int(t8[3]); length != 0 && length != len(f.Head)+len(f.Body) && (want == nil || errors.Is(want, ErrOversize)) {
				want = ErrPDULength // the cells do not say where the payload ends, the frame does
				if f.Cells() > (limit+trailerSize+maxPad)/PayloadSize {
					want = ErrOversize
				}
			}
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Fatalf("Open = %v, the Reassembler says %v", err, want)
			}
			if err == nil && (uu != pdu.UU || !bytes.Equal(pdu.Payload, append(append([]byte{}, f.Head...), f.Body...))) {
				t.Fatalf("the Reassembler has another PDU")
			}
		})
	})
}

func TestFrameLength(t *testing.T) {
	var f Frame
	for _, n := range []int{0, MaxPDU + 1} {
		if err := f.Make(VC{VCI: 77}, 0, nil, make([]byte, n)); !errors.Is(err, ErrSDULength) {
			t.Errorf("Make of %d octets: %v", n, err)
		}
	}
}

// Links and switches pass a frame whole, as long as nothing on the way wants to see cells, and count its cells either way.
func TestFrameOnTheWay(t *testing.T) {
	payload := bytes.Repeat([]byte{1, 2, 3}, 1000)
	in, out := VC{VCI: 50}, VC{VPI: 2, VCI: 60}
	for _, test := range []struct {
		name     string
		contract Contract
		whole    bool
	}{
		{"plain", Contract{}, true},
		{"policed", Contract{Policing: PoliceTag, Traffic: Traffic{PCR: 1e9, CDVT: 1e9}}, false},
		{"shaped", Contract{Shape: 100, Traffic: Traffic{PCR: 1e9, CDVT: 1e9}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			end := &frames{}
			sw := NewSwitch(2)
			sw.Clock = NewRealClock()
			if err := sw.Attach(1, NewLink(end)); err != nil {
				t.Fatal(err)
			}
			if err := sw.ConnectContract(0, in, 1, out, test.contract); err != nil {
				t.Fatal(err)
			}
			first := NewLink(sw.Port(0))
			var f Frame
			if err := f.Make(in, 0, payload[:24], payload[24:]); err != nil {
				t.Fatal(err)
			}
			whole := string(payload) + string(f.tail[:f.used])
			n := uint64(f.Cells())
			first.ReceiveFrame(&f)
			if test.whole != (len(end.whole) == 1) || test.whole && (end.whole[0] != whole || end.vcs[0] != out) {
				t.Errorf("%d frames at %v arrived, whole is %v", len(end.whole), end.vcs, test.whole)
			}
			if test.whole && len(end.cells) != 0 {
				t.Errorf("%d cells, too", len(end.cells))
			}
			if got := first.Cells(); got != n {
				t.Errorf("the link has counted %d cells, want %d", got, n)
			}
			if got := sw.Counters(0).Switched; got != n && test.name != "shaped" {
				t.Errorf("the switch has counted %d cells, want %d", got, n)
			}
			sw.Disconnect(0, in)
		})
	}
	t.Run("no circuit", func(t *testing.T) {
		sw := NewSwitch(1)
		var f Frame
		if err := f.Make(in, 0, nil, payload); err != nil {
			t.Fatal(err)
		}
		f.Deliver(sw.Port(0))
		if got := sw.Counters(0).Dropped[DropNoRoute]; got != uint64(f.Cells()) {
			t.Errorf("%d cells dropped, want %d", got, f.Cells())
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	body := make([]byte, 65440)
	head := make([]byte, 24)
	var f Frame
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if f.Make(VC{VCI: 77}, 0, head, body) != nil {
			b.Fatal("Make")
		}
		if _, err := f.Open(65464); err != nil {
			b.Fatal(err)
		}
	}
}
