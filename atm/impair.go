package atm

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// An Impairment says what goes wrong on one direction of a link. The zero value is a link on which nothing does.
//
// Cells are counted from 1 in the order in which the line transmits them. What happens to cell k follows from the seed, the name of the line
// and k: every kind of fault has its own sequence of random numbers, which goes on by one step with every cell whatever the other kinds do.
// So the same seed gives the same faults, and one kind more or less leaves the others where they were.
type Impairment struct {
	Loss  float64  // probability that a cell is lost
	Burst Burst    // cells lost in bursts
	Drop  []uint64 // these cells are lost

	HeaderErrors  float64 // probability that a bit of the header, HEC included, is turned
	PayloadErrors float64 // probability that a bit of the payload is turned

	// Misinsert is the probability that a cell comes out as one of another circuit: with the VPI/VCI that the line last carried
	// besides the cell's own, and a right HEC. It is what an undetected error in a header does (ITU-T I.356: misinserted cell).
	Misinsert float64
	Duplicate float64 // probability that a cell arrives twice

	Jitter       time.Duration // a cell takes up to this much longer, evenly distributed; order is kept
	Reorder      float64       // probability that a cell is held up and may be overtaken
	ReorderDelay time.Duration // for how long; with Reorder

	Outages []Outage // when the line is cut
}

// A Burst loses cells by the Gilbert-Elliott model (E. N. Gilbert, 1960; E. O. Elliott, 1963): a chain of two states, of which the bad
// one loses cells. Before each cell the state may change. In the long run the share Enter/(Enter+Leave) of cells meets the bad state, in
// bursts of 1/Leave cells.
//
//	          Enter
//	┌──────┐ ──────▶ ┌─────┐
//	│ good │         │ bad │  a cell is lost with the probability Loss
//	└──────┘ ◀────── └─────┘
//	          Leave
type Burst struct {
	Enter, Leave float64 // probabilities, for each cell
	Loss         float64 // probability of loss in the bad state
}

// An Outage is a time in which the line is cut: cells whose transmission begins in it are lost.
type Outage struct {
	From, To time.Duration // by the line's clock; To itself is not part of it
}

// check finds what cannot be.
func (m *Impairment) check() error {
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"loss", m.Loss}, {"burst enter", m.Burst.Enter}, {"burst leave", m.Burst.Leave}, {"burst loss", m.Burst.Loss},
		{"header error", m.HeaderErrors}, {"payload error", m.PayloadErrors},
		{"misinsertion", m.Misinsert}, {"duplication", m.Duplicate}, {"reordering", m.Reorder},
	} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("the %s probability %v of a line is not between 0 and 1", p.name, p.value)
		}
	}
	for _, k := range m.Drop {
		if k == 0 {
			return fmt.Errorf("a line cannot drop cell 0, the first is 1")
		}
	}
	for _, o := range m.Outages {
		if o.From < 0 || o.To <= o.From {
			return fmt.Errorf("an outage of a line from %v to %v does not end after it begins", o.From, o.To)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"jitter", m.Jitter}, {"reordering delay", m.ReorderDelay}} {
		if d.value < 0 || d.value > time.Hour {
			return fmt.Errorf("the %s %v of a line is not between 0 and an hour", d.name, d.value)
		}
	}
	if m.Reorder > 0 && m.ReorderDelay == 0 {
		return fmt.Errorf("reordering needs the delay by which a cell is held up")
	}
	return nil
}

// none reports whether nothing is impaired.
func (m *Impairment) none() bool {
	return m.Loss == 0 && (m.Burst.Enter == 0 || m.Burst.Loss == 0) && len(m.Drop) == 0 && m.HeaderErrors == 0 && m.PayloadErrors == 0 &&
		m.Misinsert == 0 && m.Duplicate == 0 && m.Jitter == 0 && m.Reorder == 0 && len(m.Outages) == 0
}

// timed reports whether cells have to be kept for a while.
func (m *Impairment) timed() bool { return m.Jitter > 0 || m.Reorder > 0 }

// A Fault is something that happens to cells on an impaired line and does not lose them.
type Fault uint8

// Faults.
const (
	FaultHeader    Fault = iota // bits of the header were turned
	FaultPayload                // bits of the payload were turned
	FaultMisinsert              // the cell was put into another circuit
	FaultDuplicate              // the cell was doubled
	FaultReorder                // the cell was held up
	Faults                      // how many there are
)

var faultNames = [Faults]string{"header", "payload", "misinsert", "duplicate", "reorder"}

// String is the fault in a word: "header", "payload", "misinsert", "duplicate", "reorder".
func (f Fault) String() string {
	if f < Faults {
		return faultNames[f]
	}
	return fmt.Sprintf("Fault(%d)", uint8(f))
}

// impairer does to cells what an Impairment says, in the order of their transmission.
type impairer struct {
	Impairment
	cells uint64 // how many there were
	drop  map[uint64]bool

	loss, enter, leave, burst            strikes
	header, payload, misinsert, dup, ord strikes
	jitter                               *rand.Rand
	bad                                  bool // the state of Burst

	last, other VC // the last circuit the line carried, and the last one before that was another

	faults [Faults]uint64
}

// newImpairer prepares the random numbers of the line called name.
func newImpairer(m Impairment, seed uint64, name string) *impairer {
	stream := func(kind string) *rand.Rand {
		h := fnv.New64a()
		h.Write([]byte(name + "\x00" + kind))
		return rand.New(rand.NewPCG(seed, h.Sum64()))
	}
	i := &impairer{
		Impairment: m,
		drop:       make(map[uint64]bool, len(m.Drop)),
		loss:       newStrikes(m.Loss, stream("loss")),
		enter:      newStrikes(m.Burst.Enter, stream("enter")),
		leave:      newStrikes(m.Burst.Leave, stream("leave")),
		burst:      newStrikes(m.Burst.Loss, stream("burst")),
		header:     newStrikes(m.HeaderErrors, stream("header")),
		payload:    newStrikes(m.PayloadErrors, stream("payload")),
		misinsert:  newStrikes(m.Misinsert, stream("misinsert")),
		dup:        newStrikes(m.Duplicate, stream("duplicate")),
		ord:        newStrikes(m.Reorder, stream("reorder")),
		jitter:     stream("jitter"),
	}
	for _, k := range m.Drop {
		i.drop[k] = true
	}
	return i
}

// A fate is what becomes of a cell.
type fate struct {
	lost  bool
	why   DropReason // if lost
	twice bool
	aside bool          // it may be overtaken
	delay time.Duration // how much longer it takes
}

// next decides on the next cell, whose transmission begins at now, and damages it.
func (i *impairer) next(c *Cell, now time.Duration) (f fate) {
	i.cells++
	loss := i.loss.hit()
	if enter, leave := i.enter.hit(), i.leave.hit(); i.bad && leave || !i.bad && enter {
		i.bad = !i.bad
	}
	if i.burst.hit() && i.bad {
		loss = true
	}
	if i.drop[i.cells] {
		loss = true
	}
	misinsert, twice, aside := i.misinsert.hit(), i.dup.hit(), i.ord.hit()
	if i.Jitter > 0 {
		f.delay = time.Duration(i.jitter.Int64N(int64(i.Jitter) + 1))
	}

	// Errors are counted in a cell that is lost, too, so that the next ones are where they would have been.
	var damage Cell
	header := i.header.bits(damage[:HeaderSize])
	payload := i.payload.bits(damage[HeaderSize:])
	for _, o := range i.Outages {
		if o.From <= now && now < o.To {
			return fate{lost: true, why: DropCut}
		}
	}
	if loss {
		return fate{lost: true, why: DropLoss}
	}

	if vc := c.VC(); vc != i.last {
		i.last, i.other = vc, i.last
	}
	if misinsert && i.other != (VC{}) {
		i.faults[FaultMisinsert]++
		h, _ := c.Header()
		h.VC = i.other
		c.SetHeader(h)
	}
	if header {
		i.faults[FaultHeader]++
	}
	if payload {
		i.faults[FaultPayload]++
	}
	if header || payload {
		for k := range c {
			c[k] ^= damage[k]
		}
	}
	if twice {
		i.faults[FaultDuplicate]++
		f.twice = true
	}
	if aside {
		i.faults[FaultReorder]++
		f.aside = true
		f.delay += i.ReorderDelay
	}
	return f
}

// strikes are events of which each of a sequence of chances is one with the same probability. Between two of them lies a
// geometrically distributed number of chances, which is drawn at once: chances that are none cost nothing but counting.
type strikes struct {
	never bool
	logq  float64 // ln(1-p)
	rng   *rand.Rand
	gap   uint64 // chances until the next strike
}

func newStrikes(p float64, rng *rand.Rand) strikes {
	s := strikes{never: p == 0, logq: math.Log1p(-p), rng: rng}
	s.draw()
	return s
}

// draw finds the next strike.
func (s *strikes) draw() {
	if s.never {
		return
	}
	// logq is -Inf if every chance is one: the quotient is 0.
	gap := math.Log(1-s.rng.Float64()) / s.logq
	s.gap = uint64(min(gap, 1<<62))
}

// hit takes the next chance.
func (s *strikes) hit() bool {
	if s.never {
		return false
	}
	if s.gap > 0 {
		s.gap--
		return false
	}
	s.draw()
	return true
}

// bits takes a chance for every bit of b, turns those that are struck and reports whether there were any.
func (s *strikes) bits(b []byte) (any bool) {
	if s.never {
		return false
	}
	n := uint64(len(b)) * 8
	for k := s.gap; k < n; k = s.gap {
		b[k/8] ^= 0x80 >> (k % 8)
		any = true
		s.draw()
		s.gap += k + 1
	}
	s.gap -= n
	return any
}
