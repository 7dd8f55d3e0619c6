package atm

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Traffic describes what a source may send (ITU-T I.371, traffic descriptor). The zero value describes nothing.
type Traffic struct {
	PCR  float64       // peak cell rate in cells/s, of cells with CLP 0 and 1 together
	CDVT time.Duration // cell delay variation tolerance: how much early a cell may be for the PCR
	SCR  float64       // sustainable cell rate in cells/s, of cells with CLP 0; 0: not described
	MBS  int           // maximum burst size: how many cells with CLP 0 may come at the PCR if there were none for long; with SCR
}

// check finds what cannot be.
func (t Traffic) check() error {
	switch {
	case t.PCR == 0:
		return fmt.Errorf("atm: traffic has no peak cell rate, PCR in cells/s is needed")
	case t.CDVT < 0 || t.CDVT > time.Hour:
		return fmt.Errorf("atm: traffic has the CDVT %v, which is not between 0 and an hour", t.CDVT)
	case t.SCR != 0 && !(t.SCR <= t.PCR):
		return fmt.Errorf("atm: traffic has the SCR %v above its PCR %v", t.SCR, t.PCR)
	case t.SCR != 0 && (t.MBS < 1 || t.MBS > 1<<24):
		return fmt.Errorf("atm: traffic with an SCR has the MBS %d, which is not between 1 and %d cells", t.MBS, 1<<24)
	}
	if _, err := cellTime(t.PCR); err != nil {
		return err
	}
	_, err := cellTime(t.SCR)
	return err
}

// buckets are the two algorithms that test for t, with the CDVT in both (ITU-T I.371; ATM Forum TM 4.0): the
// burst tolerance is (MBS-1)·(1/SCR-1/PCR). sustained is nil if there is no SCR.
func (t Traffic) buckets(cdvt time.Duration) (peak, sustained *GCRA, err error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	if peak, err = NewGCRA(t.PCR, cdvt); err != nil || t.SCR == 0 {
		return peak, nil, err
	}
	sustained, err = NewGCRA(t.SCR, 0)
	if err != nil {
		return nil, nil, err
	}
	bt := float64(t.MBS-1) * float64(sustained.increment-peak.increment)
	if bt > maxTolerance {
		return nil, nil, fmt.Errorf("atm: traffic has a burst tolerance of more than %v: MBS %d at the SCR %v", time.Duration(maxTolerance/1000), t.MBS, t.SCR)
	}
	sustained.limit = int64(bt) + cdvt.Nanoseconds()*1000
	return peak, sustained, nil
}

// maxTolerance bounds a limit in picoseconds so that sums do not overflow.
const maxTolerance = 1 << 61

// A GCRA is the generic cell rate algorithm GCRA(I, L) in the form of virtual scheduling (ITU-T I.371, annex A): cells are expected
// every I, and one that comes more than L before its theoretical arrival time does not conform. I cells cannot be saved up: who was late
// starts anew. It is not safe for concurrent use.
//
//	            cell at ta
//	                │
//	     ta < TAT - L ? ── yes ──▶ does not conform, TAT stays
//	                │ no
//	TAT = max(ta, TAT) + I ──────▶ conforms
type GCRA struct {
	increment int64 // I in ps
	limit     int64 // L in ps
	tat       stamp // theoretical arrival time of the next cell
}

// NewGCRA makes a GCRA(1/rate, tolerance) for a rate in cells/s. Its first cell, at whatever time, conforms.
func NewGCRA(rate float64, tolerance time.Duration) (*GCRA, error) {
	i, err := cellTime(rate)
	if err != nil {
		return nil, err
	}
	if i == 0 || tolerance < 0 || tolerance > time.Hour {
		return nil, fmt.Errorf("atm: GCRA with %v cells/s and a tolerance of %v is not possible: give a rate, and a tolerance from 0 to an hour", rate, tolerance)
	}
	return &GCRA{increment: i, limit: tolerance.Nanoseconds() * 1000, tat: stamp{ns: math.MinInt64 / 2}}, nil
}

// earliest is when the next cell will conform.
func (g *GCRA) earliest() stamp { return g.tat.add(-g.limit) }

// Conforms reports whether a cell at time t conforms, and does not count it.
func (g *GCRA) Conforms(t time.Duration) bool { return !(stamp{ns: t}).before(g.earliest()) }

// Count counts a cell at time t, which has to conform.
func (g *GCRA) Count(t time.Duration) { g.count(stamp{ns: t}) }

func (g *GCRA) count(t stamp) {
	if g.tat.before(t) {
		g.tat = t
	}
	g.tat = g.tat.add(g.increment)
}

// Cell reports whether a cell at time t conforms, and counts it if so.
func (g *GCRA) Cell(t time.Duration) bool {
	if !g.Conforms(t) {
		return false
	}
	g.Count(t)
	return true
}

// A Verdict is what policing does with a cell.
type Verdict uint8

// Verdicts.
const (
	Pass    Verdict = iota // the cell conforms
	Tag                    // the cell is passed on with CLP 1
	Discard                // the cell is not passed on
)

// A Policer holds a circuit to its Traffic (usage parameter control, ITU-T I.371).
//
//	            conforms to the PCR    to the SCR    verdict
//	CLP 0 or 1  no                     –             Discard; Tag if there is no SCR, CLP is 0, and tagging is on
//	CLP 1       yes                    not tested    Pass
//	CLP 0       yes                    no            Discard; Tag if tagging is on
//	CLP 0       yes                    yes           Pass
//
// What is discarded counts for neither rate, what is tagged by the SCR counts for the PCR as the cell with CLP 1 that it now is.
// With SCR and without tagging this is VBR.2, with tagging VBR.3 of ATM Forum TM 4.0; without both CBR.1.
// A Policer is safe for concurrent use.
type Policer struct {
	mu              sync.Mutex
	peak, sustained *GCRA
	tag             bool
}

// NewPolicer makes one that tags or else discards.
func NewPolicer(t Traffic, tag bool) (*Policer, error) {
	peak, sustained, err := t.buckets(t.CDVT)
	if err != nil {
		return nil, err
	}
	return &Policer{peak: peak, sustained: sustained, tag: tag}, nil
}

// Cell judges a cell that comes at time t.
func (p *Policer) Cell(t time.Duration, clp bool) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	fails := Discard
	if p.tag && !clp {
		fails = Tag
	}
	if !p.peak.Conforms(t) {
		if p.sustained != nil {
			return Discard
		}
		return fails
	}
	if p.sustained != nil && !clp {
		if !p.sustained.Conforms(t) {
			if fails == Tag {
				p.peak.Count(t)
			}
			return fails
		}
		p.sustained.Count(t)
	}
	p.peak.Count(t)
	return Pass
}
