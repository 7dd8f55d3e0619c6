package rmem

import (
	"sync"
	"time"
)

// Limits of the time after which a request that was not answered is sent again. RFC 6298 begins with a second and
// never waits less; here most ways take far less than a millisecond, and what was sent too early is recognised.
const (
	firstTimeout = 100 * time.Millisecond // before the way was measured
	minTimeout   = 2 * time.Millisecond   // what a busy machine may take to wake somebody
	maxTimeout   = time.Second            // after however many losses
)

// A path is what a node has learnt about the way to a peer and back: how long it takes, and how many cells in a row
// get through. All circuits to that peer learn from each other.
type path struct {
	mu       sync.Mutex
	measured bool
	srtt     time.Duration // smoothed round trip time
	rttvar   time.Duration // and its variation
	cells    int           // of a PDU, at most; 0: as many as there can be
	shrunk   time.Duration // when that was last reduced
	good     int           // blocks in a row, since, that were not lost
}

// measure takes the time from a request that was sent once to its reply (RFC 6298, clause 2).
func (p *path) measure(rtt time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.measured {
		p.measured, p.srtt, p.rttvar = true, rtt, rtt/2
		return
	}
	p.rttvar += ((p.srtt - rtt).Abs() - p.rttvar) / 4
	p.srtt += (rtt - p.srtt) / 8
}

// timeout is how long a reply may take that was asked for tries times before, without one.
func (p *path) timeout(tries int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := firstTimeout
	if p.measured {
		d = max(p.srtt+4*p.rttvar, minTimeout)
	}
	for ; tries > 0 && d < maxTimeout; tries-- {
		d *= 2
	}
	return min(d, maxTimeout)
}

// A part of a block fills its PDU's cells to the last byte, so that its length is a multiple of 8.
const (
	maxPart   = 1364 // cells of a whole block
	minPart   = 2
	goodBlock = 16 // so many blocks without a loss double the part
)

// partSize is how many bytes a PDU of so many cells carries.
func partSize(cells int) int { return 48*cells - 8 - blockHeader }

// part is how many bytes of a block are sent in one PDU at most.
func (p *path) part() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cells == 0 {
		return MaxBlock
	}
	return partSize(p.cells)
}

// lost says that a block, or something in answer to it, did not come through: next time less is risked. What is lost
// together counts once.
func (p *path) lost(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = 0
	if p.cells != 0 && now-p.shrunk < max(p.srtt, minTimeout) {
		return
	}
	if p.cells == 0 {
		p.cells = maxPart
	}
	p.cells = max(p.cells/4, minPart)
	p.shrunk = now
}

// through says that a block, and the answer to it, came through at the first attempt.
func (p *path) through() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cells == 0 {
		return
	}
	if p.good++; p.good < goodBlock {
		return
	}
	p.good = 0
	if p.cells *= 2; p.cells >= maxPart {
		p.cells = 0
	}
}
