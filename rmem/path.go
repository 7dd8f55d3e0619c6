package rmem

import (
	"sync"
	"time"
)

// Limits of the time after which a request that was not answered is sent again. RFC 6298 begins with a second and
// never waits less; here most ways take far less than a millisecond, and what was sent too early is recognised.
const (
	firstTimeout = 100 * time.Millisecond // before the way was measured
	minTimeout   = time.Millisecond       // what a busy machine may take to wake somebody
	maxTimeout   = time.Second            // after however many losses
)

// A path is what a node has learnt about the way to a peer and back: how long it takes, and how many cells in a row
// get through. All circuits to that peer learn from each other.
type path struct {
	mu       sync.Mutex
	measured bool
	srtt     time.Duration // smoothed round trip time
	rttvar   time.Duration // and its variation
	lossy    bool          // something was lost, and what follows holds
	cells    int           // of a PDU, at most
	burst    int           // cells at once, at most
	shrunk   time.Duration // when these were last reduced
	good     int           // blocks that came through since
	acked    int           // cells that came through since burst was changed
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

// prompt says that replies come before Send returns, which takes no time that is measured: one that does not is lost.
func (p *path) prompt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.measured = true
}

// timeout is how long a reply may take; in vain tells how many times that has passed without anything new from the peer.
func (p *path) timeout(inVain int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := firstTimeout
	if p.measured {
		d = max(p.srtt+4*p.rttvar, minTimeout)
	}
	for ; inVain > 0 && d < maxTimeout; inVain-- {
		d *= 2
	}
	return min(d, maxTimeout)
}

// Limits of what is sent at a time, in cells, once something was lost. A part of a block fills its PDU's cells to the last byte, so that
// its length is a multiple of 8.
const (
	minPart    = 2
	maxPart    = 1364 // a whole block
	goodBlocks = 16   // so many without a loss double the part
	firstBurst = 128  // after the first loss
	minBurst   = 32
	maxBurst   = 8192 // more than a circuit's window
)

// partSize is how many bytes a PDU of so many cells carries.
func partSize(cells int) int { return 48*cells - 8 - blockHeader }

// part is how many bytes of a block are sent in one PDU at most.
func (p *path) part() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lossy {
		return MaxBlock
	}
	return partSize(p.cells)
}

// window is how many cells of a circuit may be under way at once.
func (p *path) window() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lossy {
		return maxBurst
	}
	return p.burst
}

// lost says that something did not come through: next time less is risked, less in one PDU if it was a block, and less at once. What
// is lost together counts once.
func (p *path) lost(now time.Duration, block bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.acked = 0, 0
	if !p.lossy {
		p.lossy, p.cells, p.burst = true, maxPart, firstBurst
	} else if now-p.shrunk < max(p.srtt, minTimeout) {
		return
	} else {
		p.burst = max(p.burst*3/4, minBurst)
	}
	if block {
		p.cells = max(p.cells/4, minPart)
	}
	p.shrunk = now
}

// through says that so many cells of a request and the answer to it came through.
func (p *path) through(cells int, block bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lossy {
		return
	}
	if p.acked += cells; p.acked >= p.burst {
		p.acked = 0
		p.burst = min(p.burst+p.burst/8, maxBurst)
	}
	if block {
		p.good++
	}
	if p.good >= goodBlocks {
		p.good = 0
		p.cells = min(2*p.cells, maxPart)
	}
	p.lossy = p.cells < maxPart || p.burst < maxBurst
}
