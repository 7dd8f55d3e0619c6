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
	SCR  float64       // sustainable cell rate in cells/s, of cells with CLP 0 unless Transparent; 0: not described
	MBS  int           // maximum burst size: how many of these may come at the PCR if there were none for long; with SCR

	// Transparent means that SCR and MBS are those of cells with CLP 0 and 1 together (CLP-transparent, as in VBR.1).
	Transparent bool
}

// check finds what cannot be.
func (t Traffic) check() error {
	switch {
	case t.PCR == 0:
		return fmt.Errorf("traffic has no peak cell rate, PCR in cells/s is needed")
	case t.CDVT < 0 || t.CDVT > time.Hour:
		return fmt.Errorf("traffic has the CDVT %v, which is not between 0 and an hour", t.CDVT)
	case t.SCR != 0 && !(t.SCR <= t.PCR):
		return fmt.Errorf("traffic has the SCR %v above its PCR %v", t.SCR, t.PCR)
	case t.SCR != 0 && (t.MBS < 1 || t.MBS > 1<<24):
		return fmt.Errorf("traffic with an SCR has the MBS %d, which is not between 1 and %d cells", t.MBS, 1<<24)
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
		return nil, nil, fmt.Errorf("traffic has a burst tolerance of more than %v: MBS %d at the SCR %v", time.Duration(maxTolerance/1000), t.MBS, t.SCR)
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
		return nil, fmt.Errorf("GCRA with %v cells/s and a tolerance of %v is not possible: give a rate, and a tolerance from 0 to an hour", rate, tolerance)
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
//	CLP 1       yes                    not tested    Pass (if the SCR is CLP-transparent, as CLP 0)
//	CLP 0       yes                    no            Discard; Tag if tagging is on
//	CLP 0       yes                    yes           Pass
//
// What is discarded counts for neither rate, what is tagged by the SCR counts for the PCR as the cell with CLP 1 that it now is.
// In the terms of ATM Forum TM 4.1 (af-tm-0121) this is VBR.1 with a CLP-transparent SCR, VBR.2 with another, VBR.3 with tagging
// besides; CBR.1 and UBR.1 without SCR and tagging, UBR.2 with tagging.
// A Policer is safe for concurrent use.
type Policer struct {
	mu              sync.Mutex
	peak, sustained *GCRA
	transparent     bool
	tag             bool
	verdicts        [Discard + 1]uint64
}

// NewPolicer makes one that tags or else discards. To tag by a CLP-transparent SCR is an error: the cell would count as before.
func NewPolicer(t Traffic, tag bool) (*Policer, error) {
	peak, sustained, err := t.buckets(t.CDVT)
	if err != nil {
		return nil, err
	}
	if tag && t.Transparent {
		return nil, fmt.Errorf("traffic whose SCR is of cells with CLP 0 and 1 cannot be tagged; discard what is too much")
	}
	return &Policer{peak: peak, sustained: sustained, transparent: t.Transparent, tag: tag}, nil
}

// PolicerCounters are what a Policer made of the cells of a circuit.
type PolicerCounters struct{ Passed, Tagged, Discarded uint64 }

// Counters reads the counters.
func (p *Policer) Counters() PolicerCounters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PolicerCounters{p.verdicts[Pass], p.verdicts[Tag], p.verdicts[Discard]}
}

// Cell judges a cell that comes at time t.
func (p *Policer) Cell(t time.Duration, clp bool) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.judge(t, clp)
	p.verdicts[v]++
	return v
}

func (p *Policer) judge(t time.Duration, clp bool) Verdict {
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
	if p.sustained != nil && (p.transparent || !clp) {
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
