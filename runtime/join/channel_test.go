package join

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"rmemrun/atm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A wire carries frames from one channel to another in emulated time, and loses, doubles and delays them.
type wire struct {
	clock  *atm.SimClock
	rng    *rand.Rand
	loss   float64
	double float64
	jitter time.Duration
	cut    bool
	to     *channel
	frames int
}

func (w *wire) send(frame []byte) {
	w.frames++
	if w.cut || w.rng.Float64() < w.loss {
		return
	}
	copies := 1
	if w.rng.Float64() < w.double {
		copies = 2
	}
	for range copies {
		b := slices.Clone(frame)
		w.clock.AfterFunc(time.Millisecond+time.Duration(w.rng.Int64N(int64(w.jitter)+1)), func() { w.to.receive(b) })
	}
}

// An end is a channel with what it has received.
type end struct {
	*channel
	wire wire
	got  []string
	why  error
	base uint32
	bad  error // what deliver says
}

// ends makes two channels joined by wires.
func ends(clock *atm.SimClock, seed uint64, shape wire) [2]*end {
	var es [2]*end
	for i := range es {
		e := &end{wire: shape}
		e.wire.clock, e.wire.rng = clock, rand.New(rand.NewPCG(seed, uint64(i)))
		e.channel = &channel{
			session: 7, clock: clock, transmit: e.wire.send,
			deliver: func(m []byte) error { e.got = append(e.got, string(m)); return e.bad },
			acked:   func(base uint32) { e.base = base },
			down:    func(err error) { e.why = err },
		}
		es[i] = e
	}
	es[0].wire.to, es[1].wire.to = es[1].channel, es[0].channel
	es[0].start()
	es[1].start()
	return es
}

// Whatever the wire does short of losing everything, each message is taken once, in order, by both ends.
func TestChannelDelivers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := atm.NewSimClock()
		es := ends(clock, rapid.Uint64().Draw(t, "seed"), wire{
			loss: rapid.Float64Range(0, 0.3).Draw(t, "loss"), double: rapid.Float64Range(0, 0.5).Draw(t, "double"),
			jitter: time.Duration(rapid.Int64Range(0, int64(300*time.Millisecond)).Draw(t, "jitter")),
		})
		var want [2][]string
		for i, e := range es {
			for n := range rapid.IntRange(0, 200).Draw(t, "messages") {
				m := fmt.Sprint("message ", n, " of ", i)
				want[i] = append(want[i], m)
				clock.AfterFunc(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "when")), func() {
					// in the order of sending, which is that of the times
					e.send([]byte(want[i][e.sentSoFar()]))
				})
			}
		}
		// No longer than it takes: a wire that loses three frames of ten will some day lose all of ten seconds.
		for step := time.Second; clock.Now() < 5*time.Minute; step += time.Second {
			clock.Run(step)
			if len(es[0].queue)+len(es[1].queue) == 0 && step > 2*time.Second {
				break
			}
		}
		for i, e := range es {
			if e.why != nil {
				t.Fatalf("ended: %v", e.why)
			}
			if !slices.Equal(es[1-i].got, want[i]) {
				t.Fatalf("end %d: %d messages of %d came", 1-i, len(es[1-i].got), len(want[i]))
			}
			if int(e.base) != len(want[i]) || len(e.queue) != 0 {
				t.Fatalf("end %d: %d of %d acknowledged", i, e.base, len(want[i]))
			}
			e.close()
		}
	})
}

// sentSoFar is how many messages have been given to send.
func (e *end) sentSoFar() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(e.channel.base) + len(e.queue)
}

// A peer that is cut off is given up after the time of silence, at both ends; an idle one is not.
func TestChannelSilence(t *testing.T) {
	clock := atm.NewSimClock()
	es := ends(clock, 1, wire{})
	clock.Run(time.Hour)
	if es[0].why != nil || es[1].why != nil {
		t.Fatalf("idle channels have ended: %v, %v", es[0].why, es[1].why)
	}
	if n := es[0].wire.frames; n < 3000 || n > 10000 {
		t.Errorf("%d frames in an idle hour", n)
	}
	es[0].wire.cut, es[1].wire.cut = true, true
	cut := clock.Now()
	clock.Run(cut + Silence + 2*time.Second)
	for i, e := range es {
		if !errors.Is(e.why, errSilent) {
			t.Errorf("end %d: %v", i, e.why)
		}
		if _, ok := e.send([]byte("late")); ok {
			t.Errorf("end %d sends after its end", i)
		}
	}
	if n := clock.Run(atm.Forever); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A cut shorter than the time of silence loses nothing.
func TestChannelCut(t *testing.T) {
	clock := atm.NewSimClock()
	es := ends(clock, 1, wire{})
	es[0].wire.cut = true
	for n := range 100 {
		es[0].send([]byte{byte(n + 1)})
	}
	clock.Run(8 * time.Second)
	es[0].wire.cut = false
	clock.Run(11 * time.Second)
	if len(es[1].got) != 100 {
		t.Errorf("%d messages came", len(es[1].got))
	}
	for _, e := range es {
		e.close()
	}
}

// A message that breaks the protocol ends the channel.
func TestChannelProtocolError(t *testing.T) {
	clock := atm.NewSimClock()
	es := ends(clock, 1, wire{})
	es[1].bad = errKind
	es[0].send([]byte("?"))
	clock.Run(time.Second)
	if !errors.Is(es[1].why, errKind) {
		t.Errorf("%v", es[1].why)
	}
	es[0].close()
}

func TestChannelDrain(t *testing.T) {
	clock := atm.NewRealClock()
	frames := make(chan []byte, 16)
	c := &channel{
		clock: clock, transmit: func(b []byte) { frames <- slices.Clone(b) },
		deliver: func([]byte) error { return nil }, acked: func(uint32) {}, down: func(error) {},
	}
	c.start()
	defer c.close()
	if err := c.drain(time.Minute, nil); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
	c.send([]byte("m"))
	if err := c.drain(time.Millisecond, nil); !errors.Is(err, errDrain) {
		t.Errorf("nothing acknowledged: %v", err)
	}
	drained := make(chan error)
	go func() { drained <- c.drain(time.Minute, nil) }()
	ack := slices.Clone(<-frames)
	ack[15], ack[19] = 0, 1 // no number, acknowledges message 0
	for {
		c.receive(ack[:frameHeader])
		select {
		case err := <-drained:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// Frames of strangers, and acknowledgements of what was not sent, change nothing.
func FuzzChannel(f *testing.F) {
	f.Add([]byte("rmjn\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00message"))
	f.Add([]byte("rmjn\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("rmem"))
	f.Fuzz(func(t *testing.T, b []byte) {
		clock := atm.NewSimClock()
		es := ends(clock, 1, wire{})
		es[0].send([]byte("one"))
		es[0].receive(b)
		es[1].send([]byte("two"))
		if len(es[0].queue) != 1 && (len(b) < frameHeader || b[19] != 1) {
			t.Fatal("acknowledged by what does not say so")
		}
		if len(es[0].got) > 1 {
			t.Fatal("more than one message")
		}
		es[0].close()
		es[1].close()
	})
}
