package atm

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A sink keeps copies of the cells it receives.
type sink struct {
	mu    sync.Mutex
	cells []Cell
}

func (s *sink) Receive(c *Cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cells = append(s.cells, *c)
}

func (s *sink) take() []Cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	cells := s.cells
	s.cells = nil
	return cells
}

// newSwitch attaches a sink to every port.
func newSwitch(t testing.TB, ports int) (*Switch, []*sink) {
	t.Helper()
	s := NewSwitch(ports)
	sinks := make([]*sink, ports)
	for i := range sinks {
		sinks[i] = new(sink)
		if err := s.Attach(i, sinks[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s, sinks
}

func connect(t testing.TB, s *Switch, in int, inVC VC, out int, outVC VC) {
	t.Helper()
	if err := s.Connect(in, inVC, out, outVC); err != nil {
		t.Fatal(err)
	}
}

// What Dynamips 0.2.24 did with these cells, after "create_vcc A 0 100 B 5 777":
// the header it sent is known, the payload and PT and CLP pass unchanged.
func TestSwitchLikeDynamips(t *testing.T) {
	s, sinks := newSwitch(t, 2)
	connect(t, s, 0, VC{0, 100}, 1, VC{5, 777})
	for _, k := range []struct{ in, out string }{
		{"00000640ec", "0050309071"},
		{"00000643e5", "0050309378"},
		{"00000644f0", "005030946d"},
		{"00000648d4", "0050309849"},
		{"0000064cc8", "0050309c55"},
	} {
		var c Cell
		copy(c[:], unhex(t, k.in))
		for i := range c.Payload() {
			c.Payload()[i] = byte(i * 5)
		}
		want := c
		copy(want[:], unhex(t, k.out))
		s.Port(0).Receive(&c)
		if got := sinks[1].take(); len(got) != 1 || got[0] != want {
			t.Errorf("%s came out as %x, want one cell %x", k.in, got, want)
		}
	}
	if got := sinks[0].take(); got != nil {
		t.Errorf("cells came back: %x", got)
	}
	if got, want := s.Counters(0), (PortCounters{Switched: 5}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// A virtual path keeps the VCI. The header that Dynamips 0.2.24 sent after "create_vpc A 12 B 34".
func TestSwitchPathLikeDynamips(t *testing.T) {
	s, sinks := newSwitch(t, 2)
	if err := s.ConnectPath(0, 12, 1, 34, Contract{}); err != nil {
		t.Fatal(err)
	}
	var c Cell
	copy(c[:], unhex(t, "00c0d050d5"))
	want := c
	copy(want[:], unhex(t, "0220d05037"))
	s.Port(0).Receive(&c)
	if got := sinks[1].take(); len(got) != 1 || got[0] != want {
		t.Errorf("came out as %x, want one cell %x", got, want)
	}
	// All channels of the path, and no other path.
	for _, vci := range []uint16{0, 3, 4, 31, 65535} {
		h := Header{VC: VC{12, vci}, PT: PTResource, CLP: true}
		c.SetHeader(h)
		s.Port(0).Receive(&c)
		h.VC.VPI = 34
		if got := sinks[1].take(); len(got) != 1 {
			t.Errorf("VCI %d: %d cells came out", vci, len(got))
		} else if g, ok := got[0].Header(); !ok || g != h {
			t.Errorf("VCI %d came out as %+v", vci, g)
		}
	}
	c.SetHeader(Header{VC: VC{13, 100}})
	s.Port(0).Receive(&c)
	if !s.DisconnectPath(0, 12) || s.DisconnectPath(0, 12) || s.DisconnectPath(9, 12) {
		t.Error("the first DisconnectPath ends the path, others find nothing")
	}
	c.SetHeader(Header{VC: VC{12, 100}})
	s.Port(0).Receive(&c)
	if got, want := s.Counters(0), (PortCounters{Switched: 6, Dropped: [DropReasons]uint64{DropNoRoute: 2}}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// A path and channels in it exclude each other.
func TestSwitchPathErrors(t *testing.T) {
	s, _ := newSwitch(t, 2)
	connect(t, s, 0, VC{7, 40}, 1, VC{7, 40})
	wantErr := func(err error, want string) {
		t.Helper()
		if fmt.Sprint(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	wantErr(s.ConnectPath(0, 7, 1, 8, Contract{}), "connecting path 7 at port 0 to path 8 at port 1: path 7 is in use at port 0, disconnect it first")
	wantErr(s.ConnectPath(0, 6, 2, 8, Contract{}), "connecting path 6 at port 0 to path 8 at port 2: switch has no port 2, its ports are 0 to 1")
	wantErr(s.ConnectPath(0, 6, 1, 8, Contract{}), "<nil>")
	wantErr(s.ConnectPath(0, 6, 1, 9, Contract{}), "connecting path 6 at port 0 to path 9 at port 1: path 6 is in use at port 0, disconnect it first")
	wantErr(s.Connect(0, VC{6, 40}, 1, VC{6, 40}), "connecting 6/40 at port 0 to 6/40 at port 1: path 6 is in use at port 0, disconnect it first")
	if !s.Disconnect(0, VC{7, 40}) {
		t.Error("nothing to disconnect")
	}
	wantErr(s.ConnectPath(0, 7, 1, 8, Contract{}), "<nil>")
}

func TestSwitchContractErrors(t *testing.T) {
	s, _ := newSwitch(t, 2)
	for i, tt := range []struct {
		k    Contract
		want string
	}{
		{Contract{Class: Classes}, "there is no class 3"},
		{Contract{Policing: PoliceTag, Traffic: Traffic{PCR: 1}}, "the switch has no clock to police or shape by"},
		{Contract{Shape: 1, Traffic: Traffic{PCR: 1}}, "the switch has no clock to police or shape by"},
		{Contract{Policing: PoliceDiscard}, "traffic has no peak cell rate, PCR in cells/s is needed"},
		{Contract{Policing: 3}, "there is no policing 3"},
		{Contract{Shape: -1, Traffic: Traffic{PCR: 1}}, "a shaper for -1 cells is not possible, give 1 to 16777216"},
	} {
		if i == 3 {
			s.Clock = NewSimClock()
		}
		err := s.ConnectContract(0, VC{0, 40}, 1, VC{0, 41}, tt.k)
		if want := "connecting 0/40 at port 0 to 0/41 at port 1: " + tt.want; fmt.Sprint(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	connect(t, s, 0, VC{0, 40}, 1, VC{0, 41}) // nothing of those was left behind
}

// A circuit is held to its contract as its cells come in: what is discarded is seen as it came, what is tagged goes on with CLP 1.
func TestSwitchPolices(t *testing.T) {
	clock := NewSimClock()
	s, sinks := newSwitch(t, 2)
	s.Clock = clock
	s.OnDrop = func(port int, c *Cell, why DropReason) {
		if port != 0 || c.VC() != (VC{0, 40}) || why != DropPoliced {
			t.Errorf("dropped at port %d: %v, %v", port, c.VC(), why)
		}
	}
	for i, p := range []Policing{PoliceDiscard, PoliceTag} {
		if err := s.ConnectContract(0, VC{0, uint16(40 + i)}, 1, VC{1, uint16(40 + i)}, Contract{Traffic: Traffic{PCR: 1e6}, Policing: p}); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 3 {
		clock.AfterFunc(time.Duration(k)*600*time.Nanosecond, func() { // the second is too early
			for i := range uint16(2) {
				var c Cell
				c.SetHeader(Header{VC: VC{0, 40 + i}, PT: PTUserEnd})
				s.Port(0).Receive(&c)
			}
		})
	}
	clock.Run(Forever)
	var got []string
	for _, c := range sinks[1].take() {
		h, ok := c.Header()
		got = append(got, fmt.Sprint(h.VC, h.CLP, h.PT, ok))
	}
	if got, want := fmt.Sprint(got), "[1/40 false 1 true 1/41 false 1 true 1/41 true 1 true 1/40 false 1 true 1/41 false 1 true]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := s.Counters(0), (PortCounters{Switched: 5, Tagged: 1, Dropped: [DropReasons]uint64{DropPoliced: 1}}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// A contract's class chooses the queue of the line at the port, FrameDiscard lets it discard PDUs.
func TestSwitchQueues(t *testing.T) {
	b := newBottleneck(t, Queueing{Size: 4, EPD: 2})
	s := NewSwitch(2)
	if err := s.Attach(1, b); err != nil {
		t.Fatal(err)
	}
	send := func(vci uint16, letters string) {
		cells(receiverFunc(func(c *Cell) {
			h, _ := c.Header()
			h.VC.VCI = vci
			c.SetHeader(h)
			s.Port(0).Receive(c)
		}), letters)
	}
	for vci, k := range map[uint16]Contract{40: {}, 41: {FrameDiscard: true}, 42: {Class: CBR}} {
		if err := s.ConnectContract(0, VC{0, vci}, 1, VC{0, vci}, k); err != nil {
			t.Fatal(err)
		}
	}
	send(40, "abcD")  // a is sent, the queue of UBR has 3
	send(41, "efG")   // a PDU is not begun any more
	send(40, "hi")    // the rest of the queue
	send(42, "uvwxy") // another queue
	if got, want := fmt.Sprint(b.drops), "[e epd f epd G epd i queue-full y queue-full]"; got != want {
		t.Errorf("dropped %s, want %s", got, want)
	}
	if got, want := b.Counters().Queued, [Classes]int{UBR: 4, CBR: 4}; got != want {
		t.Errorf("queued %v, want %v", got, want)
	}
	b.clock.Run(Forever)
	if got := b.letters(t); len(got) != 9 {
		t.Errorf("%s came out, want 9 cells", got)
	}
}

// A shaped circuit: its cells wait in the switch, and are dropped with it.
func TestSwitchShapes(t *testing.T) {
	clock := NewSimClock()
	s := NewSwitch(2)
	s.Clock = clock
	a := &arrivals{clock: clock}
	if err := s.Attach(1, a); err != nil {
		t.Fatal(err)
	}
	if err := s.ConnectContract(0, VC{0, 32}, 1, VC{0, 33}, Contract{Traffic: Traffic{PCR: 1e5}, Shape: 4}); err != nil {
		t.Fatal(err)
	}
	drops := 0
	s.OnDrop = func(port int, c *Cell, why DropReason) {
		if port == 0 && c[5] == 'e' && why == DropQueueFull {
			drops++
		}
	}
	cells(s.Port(0), "abcde")
	clock.Run(25 * time.Microsecond)
	s.Disconnect(0, VC{0, 32})
	clock.Run(Forever)
	if got := fmt.Sprint(a.got); got != "[a@0s b@10µs c@20µs]" || drops != 1 {
		t.Errorf("%s came out, %d were dropped in sight", got, drops)
	}
	want := PortCounters{Switched: 5, Dropped: [DropReasons]uint64{DropQueueFull: 1, DropCut: 1}}
	if got := s.Counters(0); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

func TestSwitchDrops(t *testing.T) {
	s, sinks := newSwitch(t, 2)
	var seen []string
	s.OnDrop = func(port int, c *Cell, why DropReason) {
		seen = append(seen, fmt.Sprintf("%d %v %v", port, c.VC(), why))
	}
	connect(t, s, 0, VC{0, 100}, 1, VC{5, 777})
	send := func(port int, h Header, damage byte) {
		var c Cell
		c.SetHeader(h)
		c[4] ^= damage
		s.Port(port).Receive(&c)
	}
	send(0, Header{VC: VC{0, 100}}, 0x10) // damaged
	send(0, Header{CLP: true}, 0)         // idle
	send(0, Header{GFC: 3}, 0)            // unassigned
	send(0, Header{VC: VC{0, 101}}, 0)    // channel
	send(0, Header{VC: VC{1, 100}}, 0)    // path
	send(0, Header{VC: VC{0, 356}}, 0)    // 100 + 256
	send(1, Header{VC: VC{0, 100}}, 0)    // connected, but at the other port
	send(0, Header{GFC: 9, VC: VC{0, 100}}, 0)
	want := "[0 0/100 hec 0 0/0 empty 0 0/0 empty 0 0/101 no-route 0 1/100 no-route 0 0/356 no-route 1 0/100 no-route]"
	if got := fmt.Sprint(seen); got != want {
		t.Errorf("drops\n%s, want\n%s", got, want)
	}
	if got, want := s.Counters(0), (PortCounters{Switched: 1, Dropped: [DropReasons]uint64{1, 2, 3}}); got != want {
		t.Errorf("port 0: %+v, want %+v", got, want)
	}
	if got, want := s.Counters(1), (PortCounters{Dropped: [DropReasons]uint64{DropNoRoute: 1}}); got != want {
		t.Errorf("port 1: %+v, want %+v", got, want)
	}
	if got := sinks[1].take(); len(got) != 1 || got[0][0] != 0 {
		t.Errorf("came out: %x, want one cell with GFC 0", got)
	}
}

func TestSwitchErrors(t *testing.T) {
	s := NewSwitch(3)
	if err := s.Attach(1, new(sink)); err != nil {
		t.Fatal(err)
	}
	connect(t, s, 0, VC{0, 40}, 1, VC{0, 41})
	for _, tt := range []struct {
		err  error
		want string
	}{
		{s.Attach(3, new(sink)), "switch has no port 3, its ports are 0 to 2"},
		{s.Attach(-1, new(sink)), "switch has no port -1, its ports are 0 to 2"},
		{s.Attach(1, new(sink)), "port 1 of the switch is attached already"},
		{s.Connect(0, VC{0, 40}, 1, VC{0, 42}), "connecting 0/40 at port 0 to 0/42 at port 1: 0/40 is in use at port 0, disconnect it first"},
		{s.Connect(0, VC{0, 43}, 2, VC{0, 42}), "connecting 0/43 at port 0 to 0/42 at port 2: nothing is attached to port 2"},
		{s.Connect(0, VC{}, 1, VC{0, 42}), "connecting 0/0 at port 0 to 0/42 at port 1: 0/0 is no circuit"},
		{s.Connect(0, VC{0, 43}, 1, VC{}), "connecting 0/43 at port 0 to 0/0 at port 1: 0/0 is no circuit"},
		{s.Connect(7, VC{0, 43}, 1, VC{0, 44}), "connecting 0/43 at port 7 to 0/44 at port 1: switch has no port 7, its ports are 0 to 2"},
		{s.Connect(0, VC{0, 43}, 7, VC{0, 44}), "connecting 0/43 at port 0 to 0/44 at port 7: switch has no port 7, its ports are 0 to 2"},
	} {
		if fmt.Sprint(tt.err) != tt.want {
			t.Errorf("got  %v\nwant %s", tt.err, tt.want)
		}
	}
	if s.Port(3) != nil || s.Port(-1) != nil || NewSwitch(-1).Ports() != 0 {
		t.Error("a port that does not exist")
	}
	if s.Disconnect(3, VC{0, 40}) || s.Disconnect(0, VC{0, 99}) || s.Disconnect(0, VC{9, 9999}) {
		t.Error("Disconnect found a circuit that does not exist")
	}
	if s.Counters(3) != (PortCounters{}) {
		t.Error("counters of a port that does not exist")
	}
}

func TestSwitchDisconnect(t *testing.T) {
	s, sinks := newSwitch(t, 2)
	for round := range uint16(3) {
		connect(t, s, 0, VC{0, 50}, 1, VC{0, 60 + round})
		var c Cell
		c.SetHeader(Header{VC: VC{0, 50}})
		s.Port(0).Receive(&c)
		if got := sinks[1].take(); len(got) != 1 || got[0].VC() != (VC{0, 60 + round}) {
			t.Fatalf("round %d: %x", round, got)
		}
		if !s.Disconnect(0, VC{0, 50}) {
			t.Fatal("Disconnect found nothing")
		}
		c.SetHeader(Header{VC: VC{0, 50}})
		s.Port(0).Receive(&c)
		if got := sinks[1].take(); got != nil {
			t.Fatalf("round %d: a cell came through a disconnected circuit", round)
		}
	}
	if got, want := s.Counters(0), (PortCounters{Switched: 3, Dropped: [DropReasons]uint64{DropNoRoute: 3}}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// The switch agrees with a map over any sequence of operations.
func TestSwitchModel(t *testing.T) {
	type end struct {
		port int
		vc   VC
	}
	rapid.Check(t, func(t *rapid.T) {
		const ports = 3
		s := NewSwitch(ports)
		var sinks [ports]sink
		for i := range sinks {
			if err := s.Attach(i, &sinks[i]); err != nil {
				t.Fatal(err)
			}
		}
		model := map[end]end{}
		var counts [ports]PortCounters
		// Few VCs, so that they meet.
		draw := func(name string) end {
			return end{rapid.IntRange(0, ports-1).Draw(t, name), VC{
				rapid.SampledFrom([]uint8{0, 1, 255}).Draw(t, name+".vpi"),
				rapid.SampledFrom([]uint16{0, 32, 33, 288, 65535}).Draw(t, name+".vci"),
			}}
		}
		t.Repeat(map[string]func(*rapid.T){
			"connect": func(t *rapid.T) {
				in, out := draw("in"), draw("out")
				_, used := model[in]
				wantOK := !used && in.vc != VC{} && out.vc != VC{}
				if err := s.Connect(in.port, in.vc, out.port, out.vc); (err == nil) != wantOK {
					t.Fatalf("Connect: %v", err)
				}
				if wantOK {
					model[in] = out
				}
			},
			"disconnect": func(t *rapid.T) {
				in := draw("in")
				_, used := model[in]
				if got := s.Disconnect(in.port, in.vc); got != used {
					t.Fatalf("Disconnect = %v", got)
				}
				delete(model, in)
			},
			"cell": func(t *rapid.T) {
				in := draw("in")
				h := drawHeader(t)
				h.VC = in.vc
				var c Cell
				c.SetHeader(h)
				c.Payload()[47] = 0x77
				s.Port(in.port).Receive(&c)
				out, ok := model[in]
				switch {
				case ok:
					counts[in.port].Switched++
				case in.vc == VC{}:
					counts[in.port].Dropped[DropEmpty]++
				default:
					counts[in.port].Dropped[DropNoRoute]++
				}
				for i := range sinks {
					got := sinks[i].take()
					if !ok || i != out.port {
						if got != nil {
							t.Fatalf("port %d sent %x", i, got)
						}
						continue
					}
					want := h
					want.VC, want.GFC = out.vc, 0
					if len(got) != 1 {
						t.Fatalf("port %d sent %d cells", i, len(got))
					}
					if g, ok := got[0].Header(); !ok || g != want || got[0].Payload()[47] != 0x77 {
						t.Fatalf("port %d sent %x, want header %+v", i, got, want)
					}
				}
			},
			"": func(t *rapid.T) {
				for i, want := range counts {
					if got := s.Counters(i); got != want {
						t.Fatalf("port %d: counters %+v, want %+v", i, got, want)
					}
				}
			},
		})
	})
}

// A counter counts cells by several goroutines' calls.
type counter struct{ Link }

func (c *counter) Receive(*Cell) { c.cells.Add(1) }

// Circuits come and go while cells pass through others; no cell of those is lost.
func TestSwitchConcurrent(t *testing.T) {
	const cells = 20000
	s := NewSwitch(2)
	var out [2]counter
	for i := range out {
		if err := s.Attach(i, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, s, 0, VC{0, 32}, 1, VC{0, 32})
	connect(t, s, 1, VC{0, 32}, 0, VC{0, 32})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			var c Cell
			for range cells {
				c.SetHeader(Header{VC: VC{0, 32}})
				s.Port(i).Receive(&c)
			}
		})
		wg.Go(func() {
			for k := range uint16(2000) {
				vc := VC{uint8(k), 33 + k%600}
				if err := s.Connect(i, vc, 1-i, vc); err != nil {
					t.Error(err)
					return
				}
				if !s.Disconnect(i, vc) {
					t.Error("Disconnect found nothing")
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range out {
		if n := out[i].Cells(); n != cells {
			t.Errorf("port %d sent %d cells, want %d", i, n, cells)
		}
		if got, want := s.Counters(i), (PortCounters{Switched: cells}); got != want {
			t.Errorf("port %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestLink(t *testing.T) {
	var far sink
	l := NewLink(&far)
	for i := range 3 {
		var c Cell
		c[52] = byte(i)
		l.Receive(&c)
	}
	got := far.take()
	if len(got) != 3 || got[0][52] != 0 || got[2][52] != 2 || l.Cells() != 3 {
		t.Errorf("far end got %d cells, the link counted %d, want 3 in order", len(got), l.Cells())
	}
}

func TestDropReasonString(t *testing.T) {
	for r, want := range map[DropReason]string{DropHEC: "hec", DropEmpty: "empty", DropNoRoute: "no-route", DropLoss: "loss", DropReasons: "DropReason(10)"} {
		if got := r.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

// Any 53 octets either leave with a right HEC and the same payload or are
// counted as dropped.
func FuzzSwitch(f *testing.F) {
	f.Add([]byte{0, 0, 6, 0x40, 0xec})
	f.Add([]byte{0, 0, 6, 0x40, 0xed})
	f.Add([]byte{0, 0, 0, 1, 0x52})
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, sinks := newSwitch(t, 1)
		connect(t, s, 0, VC{0, 100}, 0, VC{5, 777})
		var c Cell
		copy(c[:], raw)
		in := c
		s.Port(0).Receive(&c)
		got := sinks[0].take()
		n := s.Counters(0)
		if dropped := n.Dropped[DropHEC] + n.Dropped[DropEmpty] + n.Dropped[DropNoRoute]; n.Switched+dropped != 1 || uint64(len(got)) != n.Switched {
			t.Fatalf("%x: %d came out, counters %+v", in, len(got), n)
		}
		if len(got) == 1 {
			h, ok := got[0].Header()
			if !ok || h.VC != (VC{5, 777}) || in.VC() != (VC{0, 100}) || *got[0].Payload() != *in.Payload() {
				t.Fatalf("%x came out as %x", in, got[0])
			}
		}
	})
}
