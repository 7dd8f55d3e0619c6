package rmem

import (
	"encoding/binary"
	"time"

	"rmemrun/atm"
)

// A timer is one that is set for the earliest of several times, and never stopped because one of them is off.
// Its owner's lock guards it.
type timer struct {
	clock  atm.Clock
	expire func() // called when the time has come
	at     time.Duration
	cancel func() bool // nil: not set
}

// set has expire called at a time, if it is not to be called before.
func (t *timer) set(now, at time.Duration) {
	if t.cancel != nil {
		if t.at <= at {
			return
		}
		t.cancel()
	}
	t.at = at
	t.cancel = t.clock.AfterFunc(at-now, t.expire)
}

// stop has expire not called, unless it is about to be.
func (t *timer) stop() {
	if t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
}

// A credit is what a target is ready to take: it is in the data of an ACK.
//
//	 31             16 15              0
//	+-----------------+-----------------+
//	|    requests     |      KiB        |
//	+-----------------+-----------------+
//
// So many requests may be unanswered, with so many KiB of blocks, which they carry or ask for; one
// request, and one block, may always be.
type credit struct{ requests, kilobytes uint16 }

const creditSize = 4

// creditKilobytes is the credit that all blocks in the window need.
const creditKilobytes = (blockWindow + 1023) >> 10

func parseCredit(b []byte) credit {
	return credit{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
}

// watch is called when f has been sent. If the reply has not come before Send returned, f is timed from here on:
// on a network that delivers at once, this looks at one number and no clock. c.send is held.
func (c *initiator) watch(f *flight) {
	if f.form == single && c.replied.Load() > f.seq {
		if !c.prompt {
			c.prompt = true
		}
		return
	}
	c.replies.Lock()
	defer c.replies.Unlock()
	f.sending = false
	if f.answered {
		c.prompt = true
		f.freeBody()
		return
	}
	if c.prompt {
		c.peer.path.prompt()
	}
	now := c.node.clock.Now()
	if !f.timed {
		f.timed, f.first = true, now
	}
	f.sent = now
	f.asked = f.tries > 0 && f.weight > 0
	c.timer.set(now, now+c.peer.path.timeout(c.inVain))
}

// overdue takes the first request that is to be sent again. c.replies is held.
func (c *initiator) overdue() *flight {
	for s := c.answered; s < c.issued; s++ {
		if f := &c.inFlight[s%window]; f.again {
			f.again, f.sending = false, true
			c.again--
			return f
		}
	}
	return nil
}

// resend marks a request as one to be sent again. c.replies is held.
func (c *initiator) resend(f *flight) {
	f.again, f.asked, f.passed = true, false, 0
	c.again++
	c.disturbed = c.node.clock.Now()
}

// lose is resend of a request that is believed to be lost. c.replies is held.
func (c *initiator) lose(f *flight, now time.Duration) {
	f.tries = min(f.tries+1, 32)
	c.peer.path.lost(now, f.weight > 0)
	c.resend(f)
}

// cells is about how many cells a request and the reply take.
func (f *flight) cells() int { return 1 + f.weight/MaxCell }

// expire is called by the timer: what has waited for too long is sent again, and if
// nothing came for much longer, the circuit fails.
func (c *initiator) expire() {
	c.replies.Lock()
	c.timer.cancel = nil
	if c.state != working || c.answered == c.issued {
		c.replies.Unlock()
		return
	}
	now := c.node.clock.Now()
	next := now + c.node.silence
	if f := &c.inFlight[c.answered%window]; f.timed {
		next = max(c.heard, f.first) + c.node.silence
		if next <= now {
			c.node.log.Warn("a node does not answer any more: the circuit to it has failed",
				"node", c.node.id, "segment", c.name, "of", c.peer.number, "silent for", c.node.silence)
			c.fail(EDOWN)
			c.replies.Unlock()
			c.flush()
			c.release()
			return
		}
	}
	room := c.peer.path.window() // not all at once, if much is lost: what is left has its turn after a time-out
	for s := c.answered; s < c.issued; s++ {
		f := &c.inFlight[s%window]
		if f.answered || f.again || f.sending || !f.timed {
			continue
		}
		due := f.sent + c.peer.path.timeout(c.inVain)
		switch {
		case due > now:
			next = min(next, due)
		case room > 0:
			c.lose(f, now)
			room -= f.cells()
		default:
			next = min(next, now+c.peer.path.timeout(0))
		}
	}
	again := c.again > 0
	if again {
		c.inVain = min(c.inVain+1, 32)
	}
	c.timer.set(now, next)
	c.replies.Unlock()
	if again {
		c.resume.Store(true)
		c.catchUp()
	}
}

// timely takes what can be learnt from a reply to f that did not come at once. c.replies is held.
func (c *initiator) timely(f *flight) {
	c.hear()
	c.peer.path.through(f.cells(), f.weight > 0 && f.tries == 0)
	// Of what was sent again nobody knows to which of its copies this is the reply (Karn); and what was sent before something else
	// was lost may have waited for that at the target.
	if f.tries == 0 && (c.disturbed == 0 || f.first > c.disturbed) {
		c.peer.path.measure(c.heard - f.first)
	}
}

// hear notes that the peer is there. c.replies is held.
func (c *initiator) hear() { c.heard, c.inVain = c.node.clock.Now(), 0 }

// reordered is how many later requests have to be dealt with before one is believed to be lost (RFC 5681: three).
const reordered = 3

// passOver notes that the target has dealt with request seq, and so with all before it: replies to them that
// have not come are lost, or overtaken. c.replies is held.
func (c *initiator) passOver(seq uint64) {
	now := c.node.clock.Now()
	for s := c.answered; s < seq; s++ {
		c.missed(&c.inFlight[s%window], now)
	}
}

// missed notes that f was passed over, and has it sent again when that has happened several times.
func (c *initiator) missed(f *flight, now time.Duration) {
	if f.answered || f.again || f.sending || !f.timed {
		return
	}
	if f.passed++; f.passed >= reordered && (f.tries == 0 || now-f.sent >= c.peer.path.timeout(0)) {
		c.lose(f, now)
	}
}

// have takes what the target says it has: all requests before seq, of that
// the data up to from, and some after it. c.replies is held.
func (c *initiator) have(cell *atm.Cell, from int, seq uint32, data []byte) {
	before := uint64((seq - uint32(c.answered)) & seqMask)
	if len(data) != haveSize {
		c.drop(cell, Malformed)
		return
	}
	if before >= c.issued-c.answered {
		c.drop(cell, Unasked)
		return
	}
	if c.node.observer != nil {
		c.observe(&Event{Kind: Received, Cell: cell, ID: c.id(c.answered + before), Op: OpHave})
	}
	now := c.node.clock.Now()
	bits := binary.BigEndian.Uint64(data)
	next := c.answered + before // the first that it has not
	c.passOver(next)
	highest := next
	for s := next + 1; s < c.issued; s++ {
		f := &c.inFlight[s%window]
		if bits>>(s-next-1)&1 == 0 || f.answered || f.again || !f.timed {
			continue
		}
		if !f.held {
			f.held = true
			c.hear()
		}
		f.sent = now
		highest = s
	}
	if f := &c.inFlight[next%window]; f.form == block && f.timed && !f.answered && from < len(f.body) {
		if from > f.from {
			f.from, f.tries = from, 1
			c.hear()
			c.peer.path.through(f.cells()/4, false)
		}
		if f.asked && !f.again && !f.sending {
			c.resend(f)
		}
	}
	for s := next; s < highest; s++ {
		if f := &c.inFlight[s%window]; !f.held {
			c.missed(f, now)
		}
	}
}

// haveSize is how many bytes of data a target's HAVE has.
const haveSize = 8

// sendHave tells the target that the replies to all requests before seq have come: it need not keep them. c.send is held.
func (c *initiator) sendHave(seq uint64) {
	var m [wordSize + keySize]byte
	c.mine.put(m[:], OpHave, opWord(OpHave, false, 0))
	c.cell.SetHeader(atm.Header{VC: c.vc})
	sealCell(&c.cell, c.mine.number(seq), m[:])
	if c.node.observer != nil {
		c.observe(&Event{Kind: Sent, ID: c.id(seq), Cell: &c.cell, Op: OpHave})
	}
	c.node.network.Send(&c.cell)
}

// The user-to-user octet of a PDU that is a part of a block.
const (
	morePart  = 1 << iota // the block goes on behind its data
	pausePart             // what follows is not sent before it is asked for, by a HAVE, or a READ, from where on

	partBits = morePart | pausePart
)

// parts sends blocks, whole or in parts.
type parts struct {
	whole  FrameNetwork // takes PDUs as frames; nil: send gets their cells
	frame  atm.Frame
	cutter atm.Segmenter
	header [blockHeader]byte
}

// send sends a block from byte from on, a multiple of 8, in PDUs of up to part bytes of data and not many more cells than room. It
// calls send for every cell, unless the PDUs stay whole, and returns whether it has paused.
func (p *parts) send(cell *atm.Cell, vc atm.VC, h header, body []byte, from, part, room int, send func()) bool {
	number := h.low & seqMask
	for at := from; ; {
		n, uu := len(body)-at, uint8(0)
		if n > part {
			n, uu = part, morePart
			if room -= (part + blockHeader + 8) / 48; room <= 0 {
				uu |= pausePart
			}
		}
		h.low = uint32(at/8)<<seqBits | number
		h.put(&p.header)
		var err error // header and part are never too long
		if p.whole != nil {
			if err = p.frame.Make(vc, uu, p.header[:], body[at:at+n]); err == nil {
				p.whole.SendFrame(&p.frame)
			}
		} else if err = p.cutter.Begin(atm.Header{VC: vc}, uu, p.header[:], body[at:at+n]); err == nil {
			for p.cutter.Next(cell) {
				send()
			}
		}
		if err != nil {
			return false
		}
		if uu != morePart {
			return uu != 0
		}
		at += n
	}
}
