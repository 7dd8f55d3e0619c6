package ring

import (
	"fmt"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"rmemrun/atm"
)

// TestTappedRing: the initiator of a tapped ring hears of nothing before Show, and then of all that was said; until then each request can be looked at, though
// the initiator posts as many as it can.
func TestTappedRing(t *testing.T) {
	for _, start := range starts {
		t.Run(fmt.Sprintf("%#x", start), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { tappedRing(t, start) })
		})
	}
}

func tappedRing(t *rapid.T, start uint64) {
	s := &recorder{}
	p, err := NewTappedPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := p.Ring(Batch - 1)
	r.reset(s, start)
	seen := p.shownHalf(Batch - 1)
	head := func() uint64 { return atomic.LoadUint64(&seen.head) }
	if fd, length := p.Shown(); fd == p.replies.fd || length != RepliesLength {
		t.Fatalf("the initiator is to map file %d of %d bytes; the replies are file %d", fd, length, p.replies.fd)
	}
	g := initiator{r}
	posted, shown := start, start
	for range rapid.IntRange(1, 12).Draw(t, "rounds") {
		for range rapid.IntRange(0, int(Slots-(posted-head()))).Draw(t, "posted") {
			g.publish(g.claim(), cellOf(posted))
			posted++
		}
		if _, err := r.Serve(rapid.IntRange(0, Slots).Draw(t, "most")); err != nil {
			t.Fatal(err)
		}
		if head() != shown {
			t.Fatalf("the initiator sees the head at %#x, and was shown %#x", head(), shown)
		}
		to := r.Acknowledged()
		var c atm.Cell
		for i := shown; i != to; i++ {
			if want := cellOf(i); !r.Request(i, &c) || c != *want {
				t.Fatalf("request %#x is % x, want % x", i, c, want)
			}
		}
		r.Show(to)
		for i := shown; i != to; i++ {
			want, answered := g.reply(i)
			if ok := take(&c, &seen.slots[i%Slots], uint32(i+1)); ok != answered || ok && c != want {
				t.Fatalf("the initiator sees the reply to %#x: %v % x; it is: %v % x", i, ok, c, answered, want)
			}
		}
		if shown = to; head() != to {
			t.Fatalf("the initiator sees the head at %#x, and was shown %#x", head(), to)
		}
	}
}

// shownHalf is what the initiator of ring i sees of the replies.
func (p *Pair) shownHalf(i int) *replies { return repliesAt(p.shown.memory, i) }

// TestUntappedRingIsSeenAsItIs: there is no copy where nobody looks.
func TestUntappedRingIsSeenAsItIs(t *testing.T) {
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, length := p.Shown()
	if want, n := p.Replies(); fd != want || length != n {
		t.Errorf("the initiator is to map file %d of %d bytes, want %d of %d", fd, length, want, n)
	}
}
