package atm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// refOAM is the payload of an OAM cell, put together from the tables of I.610 octet by octet.
func refOAM(o OAM) []byte {
	p := []byte{byte(o.Kind)}
	switch o.Kind {
	case OAMAIS, OAMRDI:
		p = append(append(p, o.Defect), o.Location[:]...)
	case OAMLoopback:
		indication := byte(1)
		if o.Reply {
			indication = 0
		}
		p = append(p, indication)
		p = binary.BigEndian.AppendUint32(p, o.Tag)
		p = append(append(p, o.Target[:]...), o.Source[:]...)
	}
	for len(p) < 46 {
		p = append(p, 0x6a)
	}
	crc := uint16(remainder(append(p, 0, 0), 0, 0x633, 10, 0))
	return binary.BigEndian.AppendUint16(p, crc)
}

// OAM cells made for this project, whose CRC-10 and fields Wireshark 4.0.17 showed and called correct.
var knownOAM = []struct {
	hex  string
	want OAM
}{
	{"1801cafe0001 ff*32 6a*8 02f5", OAM{Kind: OAMLoopback, Tag: 0xcafe0001, Target: EndPoint, Source: allOctets(0xff)}},
	{"1800cafe0001 ff*32 6a*8 000c", OAM{Kind: OAMLoopback, Reply: true, Tag: 0xcafe0001, Target: EndPoint, Source: allOctets(0xff)}},
	{"10 6a*45 03b9", OAM{Kind: OAMAIS, Defect: NoDefect, Location: NoPoint}},
	{"11 6a*45 00af", OAM{Kind: OAMRDI, Defect: NoDefect, Location: NoPoint}},
	{"14 6a*45 0387", OAM{Kind: OAMCC}},
}

func TestKnownOAM(t *testing.T) {
	for _, k := range knownOAM {
		raw := unhex(t, k.hex)
		var c Cell
		copy(c.Payload()[:], raw)
		if got, err := DecodeOAM(&c); got != k.want || err != nil {
			t.Errorf("DecodeOAM(%s) = %+v, %v, want %+v", k.hex, got, err, k.want)
		}
		var d Cell
		if err := EncodeOAM(&d, k.want); err != nil || !bytes.Equal(d.Payload()[:], raw) {
			t.Errorf("EncodeOAM(%+v) wrote %x, %v, want %x", k.want, d.Payload()[:], err, raw)
		}
	}
}

func drawLocation(t *rapid.T, name string) LocationID {
	return rapid.OneOf(
		rapid.SampledFrom([]LocationID{EndPoint, EveryPoint, NoPoint, {1}, {2}}),
		rapid.Custom(func(t *rapid.T) LocationID {
			return LocationID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "octets"))
		}),
	).Draw(t, name)
}

func drawOAM(t *rapid.T) OAM {
	o := OAM{Kind: rapid.SampledFrom([]OAMKind{OAMAIS, OAMRDI, OAMCC, OAMLoopback}).Draw(t, "kind")}
	switch o.Kind {
	case OAMAIS, OAMRDI:
		o.Defect, o.Location = rapid.Byte().Draw(t, "defect"), drawLocation(t, "location")
	case OAMLoopback:
		o.Reply, o.Tag = rapid.Bool().Draw(t, "reply"), rapid.Uint32().Draw(t, "tag")
		o.Target, o.Source = drawLocation(t, "target"), drawLocation(t, "source")
	}
	return o
}

func TestOAMRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOAM(t)
		h := drawHeader(t)
		var c, ref Cell
		c.SetHeader(h)
		copy(ref.Payload()[:], refOAM(o))
		if err := EncodeOAM(&c, o); err != nil || *c.Payload() != *ref.Payload() {
			t.Fatalf("EncodeOAM(%+v) wrote\n%x, %v, want\n%x", o, c.Payload()[:], err, ref.Payload()[:])
		}
		if got, ok := c.Header(); got != h || !ok {
			t.Fatalf("EncodeOAM changed the header to %+v", got)
		}
		// The decoder reads what the reference wrote.
		if got, err := DecodeOAM(&ref); err != nil || got != o {
			t.Fatalf("DecodeOAM = %+v, %v, want %+v", got, err, o)
		}
	})
}

// All single and double bit errors in an OAM cell are seen.
func TestOAMBitErrors(t *testing.T) {
	var c Cell
	if err := EncodeOAM(&c, OAM{Kind: OAMLoopback, Tag: 7, Target: LocationID{1}, Source: LocationID{2}}); err != nil {
		t.Fatal(err)
	}
	for i := range PayloadSize * 8 {
		for j := i; j < PayloadSize*8; j++ {
			d := c
			flip(d.Payload()[:], i)
			if j != i {
				flip(d.Payload()[:], j)
			}
			if _, err := DecodeOAM(&d); err != ErrOAMCRC {
				t.Fatalf("bits %d and %d wrong: error %v, want ErrOAMCRC", i, j, err)
			}
		}
	}
}

func TestOAMKinds(t *testing.T) {
	for kind := range 256 {
		var c Cell
		c.Payload()[0] = byte(kind)
		seal(c.Payload()[:])
		before := c
		var want error
		switch kind {
		case 0x10, 0x11, 0x14, 0x18:
		default:
			want = ErrOAMKind
		}
		if o, err := DecodeOAM(&c); err != want || o.Kind != OAMKind(kind) {
			t.Errorf("kind %02x: %+v, error %v, want %v", kind, o, err, want)
		}
		if err := EncodeOAM(&c, OAM{Kind: OAMKind(kind)}); err != want || err != nil && c != before {
			t.Errorf("kind %02x: encoded, error %v, want %v", kind, err, want)
		}
	}
	for k, want := range map[OAMKind]string{OAMAIS: "AIS", OAMRDI: "RDI", OAMCC: "CC", OAMLoopback: "loopback", 0x21: "OAM type 2 function 1"} {
		if k.String() != want {
			t.Errorf("String of %02x = %q, want %q", uint8(k), k, want)
		}
	}
}

func TestOAMFlow(t *testing.T) {
	for _, tt := range []struct {
		h    Header
		flow OAMFlow
		ok   bool
	}{
		{Header{VC: VC{5, 3}}, F4Segment, true},
		{Header{VC: VC{5, 4}}, F4End, true},
		{Header{VC: VC{5, 4}, PT: 0b010}, F4End, true}, // the PT of F4 is 0x0
		{Header{VC: VC{5, 4}, PT: 0b001}, 0, false},
		{Header{VC: VC{5, 3}, PT: PTSegmentOAM}, 0, false},
		{Header{VC: VC{5, 100}, PT: PTSegmentOAM}, F5Segment, true},
		{Header{VC: VC{5, 100}, PT: PTEndOAM, CLP: true}, F5End, true},
		{Header{VC: VC{5, 100}, PT: PTResource}, 0, false},
		{Header{VC: VC{5, 100}, PT: PTUserEnd}, 0, false},
		{Header{PT: PTEndOAM}, 0, false},
		{Header{VC: VC{5, 0}, PT: PTEndOAM}, 0, false},
	} {
		var c Cell
		c.SetHeader(tt.h)
		if flow, ok := c.OAMFlow(); ok != tt.ok || ok && flow != tt.flow {
			t.Errorf("flow of %+v: %v, %v, want %v, %v", tt.h, flow, ok, tt.flow, tt.ok)
		}
	}
	for flow := F4Segment; flow <= F5End; flow++ {
		var c Cell
		c.SetHeader(flow.Header(VC{9, 777}))
		if got, ok := c.OAMFlow(); got != flow || !ok {
			t.Errorf("%v: header %+v is of %v, %v", flow, flow.Header(VC{9, 777}), got, ok)
		}
		if want := flow == F4Segment || flow == F5Segment; flow.Segment() != want {
			t.Errorf("%v: Segment %v", flow, flow.Segment())
		}
	}
}

var (
	pointA = LocationID{0: 'A'}
	pointB = LocationID{0: 'B'}
	pointC = LocationID{0: 'C'}
	home   = LocationID{0: 'H'}
)

func TestLoopbackPoint(t *testing.T) {
	connecting := LoopbackPoint{ID: pointA}
	segmentEnd := LoopbackPoint{ID: pointA, SegmentEnd: true}
	end := LoopbackPoint{ID: pointA, SegmentEnd: true, End: true}
	const answer, pass = "answer", "pass"
	for _, tt := range []struct {
		name   string
		p      LoopbackPoint
		flow   OAMFlow
		target LocationID
		want   string
	}{
		{"a point by its name", connecting, F5Segment, pointA, answer},
		{"another point", connecting, F5Segment, pointB, pass},
		{"every point", connecting, F5Segment, EveryPoint, answer + pass},
		{"not the end", connecting, F5Segment, EndPoint, pass},
		{"nobody", connecting, F5Segment, NoPoint, pass},
		{"from end to end, passing", connecting, F5End, pointA, pass},
		{"from end to end, to the end", connecting, F5End, EndPoint, pass},
		{"from end to end, every point", connecting, F5End, EveryPoint, pass},
		{"F4 as F5", connecting, F4Segment, pointA, answer},
		{"end of segment by its name", segmentEnd, F5Segment, pointA, answer},
		{"end of segment", segmentEnd, F5Segment, EndPoint, answer},
		{"end of segment, every point", segmentEnd, F5Segment, EveryPoint, answer},
		{"end of segment, another point", segmentEnd, F5Segment, pointB, ""},
		{"end of segment, nobody", segmentEnd, F5Segment, NoPoint, ""},
		{"end of segment, passing", segmentEnd, F5End, EndPoint, pass},
		{"end", end, F5End, EndPoint, answer},
		{"end by its name", end, F5End, pointA, answer},
		{"end, another point", end, F5End, pointB, ""},
		{"end, every point", end, F5End, EveryPoint, ""},
		{"end, nobody", end, F4End, NoPoint, ""},
	} {
		o := OAM{Kind: OAMLoopback, Tag: 99, Target: tt.target, Source: home}
		var c, reply Cell
		if err := EncodeOAM(&c, o); err != nil {
			t.Fatal(err)
		}
		c.SetHeader(tt.flow.Header(VC{2, 200}))
		before := c
		answered, passes := tt.p.Answer(&c, &reply)
		got := ""
		if answered {
			got = answer
		}
		if passes {
			got += pass
		}
		if got != tt.want || c != before {
			t.Errorf("%s: %q, want %q, cell changed: %v", tt.name, got, tt.want, c != before)
		}
		if answered {
			r, err := DecodeOAM(&reply)
			want := OAM{Kind: OAMLoopback, Reply: true, Tag: 99, Target: pointA, Source: home}
			h, ok := reply.Header()
			if r != want || err != nil || h != tt.flow.Header(VC{2, 200}) || !ok {
				t.Errorf("%s: reply %+v, %v, header %+v", tt.name, r, err, h)
			}
			// A reply is answered by nobody.
			if again, _ := tt.p.Answer(&reply, new(Cell)); again {
				t.Errorf("%s: its reply was answered", tt.name)
			}
		}
		c[20] ^= 1 // damaged: no answer, and it goes as far as its flow
		if answered, passes := tt.p.Answer(&c, &reply); answered || passes != (tt.flow.Segment() && !tt.p.SegmentEnd || !tt.flow.Segment() && !tt.p.End) {
			t.Errorf("%s, damaged: %v, %v", tt.name, answered, passes)
		}
	}
	var user Cell
	user.SetHeader(Header{VC: VC{0, 100}})
	if answered, passes := end.Answer(&user, new(Cell)); answered || !passes {
		t.Errorf("a user cell: %v, %v", answered, passes)
	}
}

// A hop is a connecting point of a duplex circuit with the same VC everywhere, with an end or another hop at either side.
type hop struct {
	point LoopbackPoint
	next  [2]Receiver // to the left, to the right
	cut   [2]bool     // what comes from the left, from the right, is lost
}

// A side takes what comes to a hop from one side.
type side struct {
	*hop
	from int
}

func (s side) Receive(c *Cell) {
	if s.cut[s.from] {
		return
	}
	var reply Cell
	answered, pass := s.point.Answer(c, &reply)
	if pass {
		s.next[1-s.from].Receive(c)
	}
	if answered {
		s.next[s.from].Receive(&reply)
	}
}

// An oamReceiver is an end as a Receiver; user cells are counted.
type oamReceiver struct {
	*OAMEnd
	user int
}

func (o *oamReceiver) Receive(c *Cell) {
	if !o.OAMEnd.Receive(c) {
		o.user++
	}
}

// chain is two ends with hops A, B, C between them.
func chain(clock Clock) (left, right *oamReceiver, hops []*hop) {
	for _, id := range []LocationID{pointA, pointB, pointC} {
		hops = append(hops, &hop{point: LoopbackPoint{ID: id}})
	}
	end := func(id LocationID, to Receiver) *oamReceiver {
		return &oamReceiver{OAMEnd: NewOAMEnd(OAMEndConfig{Clock: clock, VC: VC{1, 500}, ID: id, Send: to})}
	}
	left = end(home, side{hops[0], 0})
	right = end(LocationID{'R'}, side{hops[2], 1})
	for i, h := range hops {
		h.next = [2]Receiver{left, right}
		if i > 0 {
			h.next[0] = side{hops[i-1], 1}
		}
		if i < 2 {
			h.next[1] = side{hops[i+1], 0}
		}
	}
	return left, right, hops
}

// Loopback finds the dead hop: those before it answer, those behind do not.
func TestLoopbackFindsDeadHop(t *testing.T) {
	for dead := -1; dead < 3; dead++ {
		for direction := range 2 { // which direction of the link is dead makes no difference to who answers
			clock := NewSimClock()
			left, right, hops := chain(clock)
			switch {
			case dead >= 0 && direction == 0:
				hops[dead].cut[0] = true
			case dead > 0:
				hops[dead-1].cut[1] = true
			}
			lost := dead
			if dead == 0 && direction == 1 {
				lost = -1 // nothing to cut between the end and its first hop, at this hop
			}
			var got []LocationID
			targets := []LocationID{pointA, pointB, pointC, EndPoint}
			for i, target := range targets {
				calls := 0
				if err := left.Loopback(target, true, func(r LoopbackResult) {
					calls++
					if alive := lost < 0 || i < lost; r.Answered != alive {
						t.Errorf("hop %d dead: hop %d answered %v", lost, i, r.Answered)
					}
					if r.Answered {
						got = append(got, r.By)
					} else if r.Took != LoopbackWait {
						t.Errorf("gave up after %v", r.Took)
					}
				}); err != nil {
					t.Fatal(err)
				}
				clock.Run(Forever)
				if calls != 1 {
					t.Errorf("done was called %d times", calls)
				}
			}
			want := []LocationID{pointA, pointB, pointC, right.config.ID}
			if lost >= 0 {
				want = want[:lost]
			}
			if !slices.Equal(got, want) {
				t.Errorf("hop %d dead: answers from %q", lost, got)
			}
			// The same with one request.
			got = nil
			last := LoopbackResult{Answered: true}
			if err := left.Loopback(EveryPoint, true, func(r LoopbackResult) {
				if last = r; r.Answered {
					got = append(got, r.By)
				}
			}); err != nil {
				t.Fatal(err)
			}
			clock.Run(Forever)
			slices.Reverse(got) // without delay, the last answer is there first
			if !slices.Equal(got, want) || last.Answered {
				t.Errorf("hop %d dead: every point: answers from %q, last %+v", lost, got, last)
			}
		}
	}
}

func TestLoopbackEndToEnd(t *testing.T) {
	clock := NewSimClock()
	left, right, _ := chain(clock)
	for _, target := range []LocationID{EndPoint, right.config.ID, pointB, NoPoint} {
		var got LoopbackResult
		if err := left.Loopback(target, false, func(r LoopbackResult) { got = r }); err != nil {
			t.Fatal(err)
		}
		clock.Run(Forever)
		if want := target == EndPoint || target == right.config.ID; got.Answered != want || want && got.By != right.config.ID {
			t.Errorf("target %q: %+v", target, got)
		}
	}
}

// What is answered late, by a stranger, or twice, calls nobody.
func TestLoopbackStrayAnswers(t *testing.T) {
	clock := NewSimClock()
	var sent collector
	e := NewOAMEnd(OAMEndConfig{Clock: clock, VC: VC{1, 500}, ID: home, Send: &sent})
	calls := 0
	var last LoopbackResult
	ask := func() OAM {
		if err := e.Loopback(EndPoint, false, func(r LoopbackResult) { calls++; last = r }); err != nil {
			t.Fatal(err)
		}
		o, err := DecodeOAM(&sent.cells[len(sent.cells)-1])
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	answer := func(o OAM) {
		var c Cell
		o.Reply = true
		o.Target = pointC
		_ = EncodeOAM(&c, o)
		c.SetHeader(F5End.Header(VC{1, 500}))
		if !e.Receive(&c) {
			t.Error("an answer was not taken")
		}
	}
	first := ask()
	stranger := first
	stranger.Source = pointA
	answer(stranger)
	other := first
	other.Tag++
	answer(other)
	if calls != 0 {
		t.Fatalf("a stray answer counted: %+v", last)
	}
	clock.AfterFunc(3*time.Second, func() { answer(first) })
	clock.Run(Forever)
	if calls != 1 || !last.Answered || last.Took != 3*time.Second || last.By != pointC {
		t.Fatalf("%d calls, %+v", calls, last)
	}
	answer(first)
	second := ask()
	clock.Run(Forever)
	if calls != 2 || last.Answered {
		t.Fatalf("%d calls, %+v", calls, last)
	}
	answer(second)
	if calls != 2 {
		t.Error("a late answer counted")
	}
	for i := range maxLoopbacks {
		if err := e.Loopback(EndPoint, false, func(LoopbackResult) { calls++ }); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := e.Loopback(EndPoint, false, nil); err != ErrOAMBusy {
		t.Errorf("one request too many: %v", err)
	}
	calls = 0
	e.Close()
	if err := e.Loopback(EndPoint, false, nil); err != ErrOAMClosed || calls != maxLoopbacks {
		t.Errorf("closed: %v, %d of %d requests ended", err, calls, maxLoopbacks)
	}
	if n := clock.Run(Forever); n != 0 {
		t.Errorf("%d timers ran after Close", n)
	}
}

// The state machines by their times: what each end sees, second by second.
func TestAlarms(t *testing.T) {
	clock := NewSimClock()
	left, right, _ := chain(clock)
	changes := 0
	right.config.OnChange = func() { changes++ }
	see := func(at time.Duration, l, r Alarms) {
		t.Helper()
		clock.Run(at)
		if left.Alarms() != l || right.Alarms() != r {
			t.Errorf("at %v: left %v, right %v, want %v, %v", at, left.Alarms(), right.Alarms(), l, r)
		}
	}
	ais := func(on bool) {
		var c Cell
		_ = EncodeOAM(&c, OAM{Kind: OAMAIS, Defect: NoDefect, Location: pointB})
		c.SetHeader(F5End.Header(VC{1, 500}))
		if on {
			right.Receive(&c)
		}
	}
	at := func(d time.Duration, f func()) { clock.AfterFunc(d-clock.Now(), f) }
	ms := time.Millisecond

	// One AIS cell: AIS at the right, RDI at the left by the RDI cell that answers, both end by their times.
	at(10000*ms, func() { ais(true) })
	see(9999*ms, 0, 0)
	see(10000*ms, AlarmRDI, AlarmAIS)
	see(12000*ms, AlarmRDI, AlarmAIS) // 2.0 s after
	see(13000*ms, AlarmRDI, 0)        // 3.0 s after
	see(13999*ms, AlarmRDI, 0)        // RDI cells were sent at 10, 11 and 12 s; not yet 2.0 s after the last
	see(15000*ms, 0, 0)               // 3.0 s after
	if changes != 2 {
		t.Errorf("%d changes, want 2", changes)
	}
	if n := clock.Run(Forever); n != 0 {
		t.Errorf("%d timers run without alarm", n)
	}

	// A user cell ends AIS at once.
	at(20000*ms, func() { ais(true) })
	at(21000*ms, func() { ais(true) })
	see(21900*ms, AlarmRDI, AlarmAIS)
	var c Cell
	c.SetHeader(Header{VC: VC{1, 500}})
	at(21950*ms, func() { right.Receive(&c) })
	see(21950*ms, AlarmRDI, 0)
	see(25500*ms, 0, 0)
	if right.user != 1 {
		t.Errorf("%d user cells came out, want 1", right.user)
	}
	// Management cells of other kinds are not user cells.
	at(30000*ms, func() { ais(true) })
	clock.Run(30100 * ms)
	c.SetHeader(Header{VC: VC{1, 500}, PT: PTResource})
	right.Receive(&c)
	see(30200*ms, AlarmRDI, AlarmAIS)
	clock.Run(Forever)
}

func TestContinuity(t *testing.T) {
	clock := NewSimClock()
	left, right, hops := chain(clock)
	ms := time.Millisecond
	see := func(at time.Duration, l, r Alarms) {
		t.Helper()
		clock.Run(at)
		if left.Alarms() != l || right.Alarms() != r {
			t.Errorf("at %v: left %v, right %v, want %v, %v", at, left.Alarms(), right.Alarms(), l, r)
		}
	}
	right.SetContinuity(false, true)
	left.SetContinuity(true, false)
	see(20000*ms, 0, 0)
	clock.AfterFunc(200*ms, func() { hops[1].cut[0] = true }) // at 20.2 s; the last check came at 20.0 s
	see(23000*ms, 0, 0)                                       // 3.0 s after the last
	see(24000*ms, AlarmRDI, AlarmLOC)                         // 4.0 s after the last
	see(60000*ms, AlarmRDI, AlarmLOC)
	clock.AfterFunc(100*ms, func() { hops[1].cut[0] = false }) // at 60.1 s; the next check comes at 61 s
	see(60900*ms, AlarmRDI, AlarmLOC)
	see(61000*ms, AlarmRDI, 0)
	see(64000*ms, 0, 0)

	// User cells are as good as checks.
	left.SetContinuity(false, false)
	var send func()
	send = func() {
		var c Cell
		c.SetHeader(Header{VC: VC{1, 500}})
		side{hops[0], 0}.Receive(&c)
		if clock.Now() < 80*time.Second {
			clock.AfterFunc(300*ms, send)
		}
	}
	send()
	see(79000*ms, 0, 0)
	see(85000*ms, AlarmRDI, AlarmLOC)
	right.SetContinuity(false, false)
	see(85000*ms, AlarmRDI, 0)
	clock.Run(Forever)
	see(clock.Now(), 0, 0)
	left.SetContinuity(true, true)
	left.Close()
	if n := clock.Run(Forever); n != 0 {
		t.Errorf("%d timers run after Close", n)
	}
}

// One check or RDI cell a second, as the Recommendation has it.
func TestOAMPeriods(t *testing.T) {
	clock := NewSimClock()
	var sent collector
	e := NewOAMEnd(OAMEndConfig{Clock: clock, VC: VC{1, 500}, Path: true, ID: home, Send: &sent})
	e.SetContinuity(true, true)
	clock.Run(100 * time.Second)
	counts := map[OAMKind]int{}
	for _, c := range sent.cells {
		o, err := DecodeOAM(&c)
		if flow, ok := c.OAMFlow(); err != nil || !ok || flow != F4End || c.VC().VPI != 1 {
			t.Fatalf("sent %x: %v, %v", c, flow, err)
		}
		counts[o.Kind]++
	}
	// From 0 to 100 s, and RDI from the loss of continuity at 3.5 s on.
	if counts[OAMCC] != 101 || counts[OAMRDI] != 97 || len(counts) != 2 {
		t.Errorf("in 100 s: %v", counts)
	}
	e.Close()
}

func TestAISSource(t *testing.T) {
	clock := NewSimClock()
	left, right, hops := chain(clock)
	var other collector
	a := NewAISSource(clock, pointB, func(yield func(VC, Receiver) bool) {
		_ = yield(VC{3, 77}, &other) && yield(VC{1, 500}, hops[1].next[1])
	})
	clock.Run(0)
	hops[1].cut[0] = true // B receives nothing from the left
	a.Start()
	a.Start() // is nothing more
	clock.Run(10500 * time.Millisecond)
	if left.Alarms() != AlarmRDI || right.Alarms() != AlarmAIS {
		t.Errorf("left %v, right %v", left.Alarms(), right.Alarms())
	}
	if len(other.cells) != 11 {
		t.Errorf("%d cells in 10.5 s, want 11", len(other.cells))
	}
	for _, c := range other.cells {
		if o, err := DecodeOAM(&c); err != nil || o.Kind != OAMAIS || o.Location != pointB || c.VC() != (VC{3, 77}) {
			t.Fatalf("sent %x: %+v, %v", c, o, err)
		}
	}
	a.Stop()
	a.Stop()
	clock.Run(Forever)
	if left.Alarms() != 0 || right.Alarms() != 0 || len(other.cells) != 11 {
		t.Errorf("after Stop: left %v, right %v, %d cells", left.Alarms(), right.Alarms(), len(other.cells))
	}
	a.Start()
	if len(other.cells) != 12 {
		t.Errorf("started again: %d cells", len(other.cells))
	}
	a.Stop()
}

func TestAlarmsString(t *testing.T) {
	for a, want := range map[Alarms]string{0: "clear", AlarmAIS: "AIS", AlarmRDI | AlarmLOC: "RDI+LOC", 8: "Alarms(8)", 9: "AIS+Alarms(8)"} {
		if a.String() != want {
			t.Errorf("String of %d = %q, want %q", uint32(a), a, want)
		}
	}
}

// A user cell that makes no difference costs no memory.
func TestOAMEndNoAllocation(t *testing.T) {
	e := NewOAMEnd(OAMEndConfig{Clock: NewSimClock(), VC: VC{1, 500}, ID: home})
	var c Cell
	c.SetHeader(Header{VC: VC{1, 500}})
	if n := testing.AllocsPerRun(100, func() { e.Receive(&c) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// Any cell: no panic, at most one cell is sent for one received, and that is a right reply.
func FuzzOAM(f *testing.F) {
	for _, k := range knownOAM {
		for _, flow := range []OAMFlow{F4Segment, F4End, F5Segment, F5End} {
			var c Cell
			c.SetHeader(flow.Header(VC{1, 500}))
			f.Add(append(c[:HeaderSize], unhex(f, k.hex)...), true)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, right bool) {
		var c Cell
		copy(c[:], raw)
		if right {
			seal(c.Payload()[:])
		}
		o, err := DecodeOAM(&c)
		if err == nil {
			var d Cell
			if err := EncodeOAM(&d, o); err != nil {
				t.Fatal(err)
			}
			if again, err := DecodeOAM(&d); again != o || err != nil {
				t.Fatalf("encoded again: %+v, %v, was %+v", again, err, o)
			}
		} else if err == ErrOAMCRC && right {
			t.Fatal("a right CRC-10 was refused")
		}
		for _, path := range []bool{false, true} {
			clock := NewSimClock()
			var sent collector
			e := NewOAMEnd(OAMEndConfig{Clock: clock, VC: VC{1, 500}, Path: path, ID: home, Send: &sent})
			d := c
			if !e.Receive(&d) && (d != c || len(sent.cells) != 0) {
				t.Fatal("a cell that was not taken did something")
			}
			if len(sent.cells) > 1 {
				t.Fatalf("%d cells for one", len(sent.cells))
			}
			for _, s := range sent.cells {
				r, err := DecodeOAM(&s)
				if _, ok := s.Header(); !ok || err != nil || !(r.Kind == OAMRDI || r.Kind == OAMLoopback && r.Reply && r.Tag == o.Tag && r.Source == o.Source) {
					t.Fatalf("sent %x", s)
				}
			}
			clock.Run(Forever)
			if e.Alarms() != 0 {
				t.Fatalf("alarms stay: %v", e.Alarms())
			}
		}
	})
}

// Three switches in a row with VCs that differ from link to link; one dead link after the other is found by its hop.
func TestLoopbackThroughSwitches(t *testing.T) {
	const links = 4
	for dead := -1; dead < links; dead++ {
		clock := NewSimClock()
		vcs := [links]VC{{0, 100}, {5, 777}, {12, 3333}, {0, 101}}
		var ends [2]*oamReceiver
		var switches [links - 1]*Switch
		for i := range switches {
			switches[i] = NewSwitch(2)
		}
		// A link between two receivers, one of which may be set later; a dead one leads nowhere.
		wire := func(i int, to func() Receiver) Receiver {
			return receiverFunc(func(c *Cell) {
				if i != dead {
					to().Receive(c)
				}
			})
		}
		var ports [links - 1][2]*LoopbackPort
		names := []LocationID{pointA, pointB, pointC}
		for i, s := range switches {
			left := wire(i, func() Receiver {
				if i == 0 {
					return ends[0]
				}
				return ports[i-1][1]
			})
			right := wire(i+1, func() Receiver {
				if i == links-2 {
					return ends[1]
				}
				return ports[i+1][0]
			})
			for n, out := range []Receiver{left, right} {
				if err := s.Attach(n, out); err != nil {
					t.Fatal(err)
				}
				ports[i][n] = &LoopbackPort{Point: LoopbackPoint{ID: names[i]}, In: s.Port(n), Back: out}
			}
			connect(t, s, 0, vcs[i], 1, vcs[i+1])
			connect(t, s, 1, vcs[i+1], 0, vcs[i])
		}
		ends[0] = &oamReceiver{OAMEnd: NewOAMEnd(OAMEndConfig{
			Clock: clock, VC: vcs[0], ID: home, Send: wire(0, func() Receiver { return ports[0][0] }),
		})}
		ends[1] = &oamReceiver{OAMEnd: NewOAMEnd(OAMEndConfig{
			Clock: clock, VC: vcs[links-1], ID: LocationID{'R'}, Send: wire(links-1, func() Receiver { return ports[links-2][1] }),
		})}
		for i, target := range append(names, EndPoint) {
			var got LoopbackResult
			if err := ends[0].Loopback(target, true, func(r LoopbackResult) { got = r }); err != nil {
				t.Fatal(err)
			}
			clock.Run(Forever)
			if want := dead < 0 || i < dead; got.Answered != want {
				t.Errorf("link %d dead: hop %d answered %v", dead, i, got.Answered)
			}
		}
		if dead >= 0 {
			continue
		}
		// User cells, and cells that cannot be believed, go to the switch.
		var c Cell
		c.SetHeader(Header{VC: vcs[0]})
		ports[0][0].Receive(&c)
		_ = EncodeOAM(&c, OAM{Kind: OAMLoopback, Target: pointA, Source: home})
		c.SetHeader(F5Segment.Header(vcs[0]))
		c[4] ^= 1
		ports[0][0].Receive(&c)
		if n := switches[0].Counters(0); ends[1].user != 1 || n.Dropped[DropHEC] != 1 {
			t.Errorf("%d user cells arrived, counters %+v", ends[1].user, n)
		}
	}
}
