package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"rmemrun/atm"
)

// A ferry is a Carrier that has requests answered when it is told to, in any order.
type ferry struct {
	recorder
	cells   map[uint64]*atm.Cell
	landed  map[uint64]bool
	waiting bool
	news    bool
}

const ferryRoom = 64

func (s *ferry) Begin()     { s.recorder.Begin(); s.news = false }
func (s *ferry) Room() bool { return len(s.cells) < ferryRoom }

func (s *ferry) Carry(index uint64, c *atm.Cell) {
	cell := *c
	s.cells[index] = &cell
}

func (s *ferry) Carried(index uint64, reply *atm.Cell) (done, replied bool) {
	if !s.landed[index] {
		return false, false
	}
	replied = s.Serve(index, s.cells[index], reply)
	delete(s.cells, index)
	return true, replied
}

func (s *ferry) Waiting() bool { return s.waiting }
func (s *ferry) News() bool    { return s.news }

func (s *ferry) land(index uint64) { s.landed[index], s.news = true, true }

// TestCarrier has requests carried and answered out of order, also where indices wrap: the head follows their order.
func TestCarrier(t *testing.T) {
	for _, start := range []uint64{0, 1<<32 - 100, ^uint64(0) - 300} {
		t.Run(fmt.Sprintf("%#x", start), func(t *testing.T) {
			p, err := NewPair()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			r, s := p.Ring(0), &ferry{cells: map[uint64]*atm.Cell{}, landed: map[uint64]bool{}}
			r.reset(s, start)
			g := initiator{r}
			random := rand.New(rand.NewPCG(start, 1))
			posted := start
			for range 2000 {
				for posted-g.head() < Slots && random.IntN(8) > 0 {
					g.publish(g.claim(), cellOf(posted))
					posted++
				}
				before := g.head()
				if _, err := r.Serve(Slots); err != nil {
					t.Fatal(err)
				}
				if _, said := g.reply(g.head() - 1); g.head() != before && !said {
					t.Fatalf("request %d, the last that was answered, does not say so", g.head()-1)
				}
				for index := range s.cells {
					if random.IntN(2) == 0 {
						s.land(index)
					}
				}
				if s.news && !r.Ready() {
					t.Fatal("there is news, and nothing to do")
				}
				if r.Underway() != (len(s.cells) > 0) {
					t.Fatalf("%d requests are carried, underway: %v", len(s.cells), r.Underway())
				}
			}
			for g.head() != posted {
				for index := range s.cells {
					s.land(index)
				}
				if _, err := r.Serve(Slots); err != nil {
					t.Fatal(err)
				}
			}
			for i, index := range s.indices {
				if want := start + uint64(i); index != want || s.numbers[i] != want {
					t.Fatalf("request %d, of index %d, was answered in place of %d", s.numbers[i], index, want)
				}
			}
			if n := posted - start; uint64(len(s.indices)) != n || n < 5000 {
				t.Fatalf("%d requests were answered, of %d", len(s.indices), n)
			}
			for index := posted - Slots; index != posted; index++ {
				c, ok := g.reply(index)
				if index%4 == 3 && (!ok || binary.LittleEndian.Uint64(c[11:]) != index) {
					t.Errorf("request %d has no reply", index)
				}
			}
			if r.Ready() || r.Underway() {
				t.Error("all is answered, and something is to be done")
			}
		})
	}
}

// TestCarrierDrain waits until what was posted has left, and not for the answers.
func TestCarrierDrain(t *testing.T) {
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, s := p.Ring(0), &ferry{cells: map[uint64]*atm.Cell{}, landed: map[uint64]bool{}}
	r.reset(s, 0)
	g := initiator{r}
	for i := range uint64(ferryRoom + 10) {
		g.publish(g.claim(), cellOf(i))
	}
	s.waiting = true
	waits := 0
	if err := r.Drain(func(bool) bool {
		switch waits++; waits {
		case 1: // there is no room
			for index := range s.cells {
				s.land(index)
			}
		case 2: // what is carried has not left
			s.waiting = false
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if waits != 2 || r.taken.Load() != ferryRoom+10 || g.head() != ferryRoom {
		t.Errorf("%d waits, %d requests taken, %d answered", waits, r.taken.Load(), g.head())
	}
	g.claim() // and never filled
	if err := r.Drain(func(bool) bool { return false }); !errors.Is(err, ErrStuck) {
		t.Errorf("a slot that is not filled: %v", err)
	}
	r.requests.tail += 10 * Slots // a guest's nonsense
	if err := r.Drain(func(bool) bool { return false }); !errors.Is(err, ErrBroken) {
		t.Errorf("a tail out of reach: %v", err)
	}
	if g.head() != r.requests.tail || s.refused == 0 {
		t.Error("who waits in a ring that is broken is not refused")
	}
}
