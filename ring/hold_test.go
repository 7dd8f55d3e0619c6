package ring

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// A lock that is kept is given up after LongestHold without progress, and not before: nor if nobody has looked for a while.
func TestHold(t *testing.T) {
	began := time.Now()
	const s = time.Second
	type look struct {
		at   time.Duration
		head uint64
	}
	every := func(from, to time.Duration, head func(time.Duration) uint64) (looks []look) {
		for at := from; at <= to; at += s / 2 {
			looks = append(looks, look{at, head(at)})
		}
		return looks
	}
	still := func(time.Duration) uint64 { return 5 }
	for name, test := range map[string]struct {
		looks []look
		want  bool
	}{
		"kept":            {every(0, LongestHold+s/2, still), true},
		"not for so long": {every(0, LongestHold, still), false},
		"it goes on":      {every(0, 5*LongestHold, func(at time.Duration) uint64 { return 5 + uint64(at/LongestHold) }), false},
		"to and fro":      {every(0, LongestHold+s/2, func(at time.Duration) uint64 { return 5 - uint64(at/s)%2 }), true},
		"seen twice":      {[]look{{0, 5}, {2 * LongestHold, 5}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var h hold
			got := false
			for _, l := range test.looks {
				got = h.tooLong(l.head, began.Add(l.at))
			}
			if got != test.want {
				t.Errorf("kept for too long: %v", got)
			}
		})
	}
}

// Whoever waits in a ring whose lock the exporter's guest keeps is refused in the end, and the agent is told.
func TestKeptLock(t *testing.T) {
	for _, start := range starts {
		s := &recorder{}
		r := newRing(t, s, start)
		g := initiator{r}
		g.publish(g.claim(), cellOf(0))
		atomic.StoreUint32(&r.replies.lock, 2)
		if n, err := r.Serve(Slots); n != 0 || err != nil || !r.Held() {
			t.Fatalf("served %d of a ring that the exporter serves, %v; held: %v", n, err, r.Held())
		}
		r.hold.since = r.hold.since.Add(-2 * LongestHold)
		if _, err := r.Serve(Slots); !errors.Is(err, ErrBroken) || g.head() != start+1 || s.refused != 1 {
			t.Fatalf("start %#x: %v, head %#x, %d refusals", start, err, g.head(), s.refused)
		}
		r.Reset(s)
		g.publish(g.claim(), cellOf(1))
		if n, err := r.Serve(Slots); n != 1 || err != nil {
			t.Fatalf("start %#x: after Reset: served %d, %v", start, n, err)
		}
		// What was held before, and then let go, counts no more.
		for range 2 {
			atomic.StoreUint32(&r.replies.lock, 2)
			g.publish(g.claim(), cellOf(2))
			if n, err := r.Serve(Slots); n != 0 || err != nil {
				t.Fatalf("start %#x: held again: served %d, %v", start, n, err)
			}
			r.hold.since = r.hold.since.Add(-LongestHold)
			r.hold.head++ // it has served none
			atomic.StoreUint32(&r.replies.lock, unlocked)
			if n, err := r.Serve(Slots); n != 1 || err != nil {
				t.Fatalf("start %#x: let go: served %d, %v", start, n, err)
			}
		}
	}
}
