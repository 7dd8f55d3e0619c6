package atm

import (
	"iter"
	"sync"
)

// An AISSource is what a connecting point does while nothing reaches it from one side: each second it tells the ends of all circuits that come from
// there, by an AIS cell sent on in their direction, that they are broken and where (I.610, clause 9.2.1.1.1). It is safe for concurrent
// use.
type AISSource struct {
	clock    Clock
	here     LocationID
	circuits iter.Seq2[VC, Receiver]

	mu   sync.Mutex
	stop func() bool // nil if it is not running
	run  uint64      // which run it is, so that one that was stopped sends nothing more
}

// NewAISSource makes a source that is not running. circuits gives the circuits, each with its VC behind the point and what takes the
// cells there; it is asked anew each second.
func NewAISSource(clock Clock, here LocationID, circuits iter.Seq2[VC, Receiver]) *AISSource {
	return &AISSource{clock: clock, here: here, circuits: circuits}
}

// Start begins to send, the first cells at once. It does nothing if the source is running.
func (a *AISSource) Start() {
	a.mu.Lock()
	if a.stop != nil {
		a.mu.Unlock()
		return
	}
	a.run++
	run := a.run
	a.stop = a.clock.AfterFunc(OAMPeriod, func() { a.tick(run) })
	a.mu.Unlock()
	a.send()
}

func (a *AISSource) tick(run uint64) {
	a.mu.Lock()
	if a.stop == nil || a.run != run {
		a.mu.Unlock()
		return
	}
	a.stop = a.clock.AfterFunc(OAMPeriod, func() { a.tick(run) })
	a.mu.Unlock()
	a.send()
}

func (a *AISSource) send() {
	var c Cell
	for vc, out := range a.circuits {
		// The receiver may have changed the cell.
		_ = EncodeOAM(&c, OAM{Kind: OAMAIS, Defect: NoDefect, Location: a.here}) // the kind is known
		c.SetHeader(F5End.Header(vc))
		out.Receive(&c)
	}
}

// Stop ends it. It may be started again. Cells that are being sent when it is called may still come.
func (a *AISSource) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}
