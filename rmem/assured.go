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

// creditKilobytes is the credit that all blocks in the window need.
const creditKilobytes = (blockWindow + 1023) >> 10

func parseCredit(b []byte) credit {
	return credit{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
}

// watch is called when f has been sent. If the reply has not come before Send returned, f is timed from here on:
// on a network that delivers at once, this looks at one number and no clock. c.send is held.
func (c *initiator) watch(f *flight) {
	if f.form == single && c.replied.Load() > f.seq {
		return
	}
	c.replies.Lock()
	defer c.replies.Unlock()
	f.sending = false
	if f.answered {
		freeBody(&f.body)
		return
	}
	now := c.node.clock.Now()
	if !f.timed {
		f.timed, f.first = true, now
	}
	f.sent = now
	c.timer.set(now, now+c.peer.path.timeout(int(f.tries)))
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
func (c *initiator) resend(f *flight, now time.Duration) {
	f.again, f.passed = true, 0
	f.tries = min(f.tries+1, 32)
	c.again++
	if f.weight > 0 {
		c.peer.path.lost(now)
	}
}

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
	for s := c.answered; s < c.issued; s++ {
		f := &c.inFlight[s%window]
		if f.answered || f.again || f.sending || !f.timed {
			continue
		}
		due := f.sent + c.peer.path.timeout(int(f.tries))
		if due <= now {
			c.resend(f, now)
		} else {
			next = min(next, due)
		}
	}
	c.timer.set(now, next)
	again := c.again > 0
	c.replies.Unlock()
	if again {
		c.resume.Store(true)
		c.catchUp()
	}
}

// timely takes what can be learnt from a reply to f that did not come at once. c.replies is held.
func (c *initiator) timely(f *flight) {
	c.hear()
	if f.tries > 0 {
		return // to which of its copies it is the reply, nobody knows (Karn)
	}
	c.peer.path.measure(c.heard - f.first)
	if f.weight > 0 {
		c.peer.path.through()
	}
}

// hear notes that the peer is there. c.replies is held.
func (c *initiator) hear() { c.heard = c.node.clock.Now() }

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
		c.resend(f, now)
	}
}

// have takes what the target says it has: all requests before seq, and some after it. c.replies is held.
func (c *initiator) have(cell *atm.Cell, status uint8, seq uint32, data []byte) {
	before := uint64((seq - uint32(c.answered)) & seqMask)
	if status != 0 || len(data) != haveSize {
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
			c.heard = now
		}
		f.sent = now
		highest = s
	}
	for s := next; s < highest; s++ {
		if f := &c.inFlight[s%window]; !f.held {
			c.missed(f, now)
		}
	}
}

// haveSize is how many bytes a HAVE has behind the operation word.
const haveSize = 8

// sendHave tells the target that the replies to all requests before seq have come: it need not keep them. c.send is held.
func (c *initiator) sendHave(seq uint64) {
	var m [wordSize + minData]byte
	binary.BigEndian.PutUint32(m[:], opWord(OpHave, false, 0))
	c.cell.SetHeader(atm.Header{VC: c.vc})
	sealCell(&c.cell, seq, m[:])
	if c.node.observer != nil {
		c.observe(&Event{Kind: Sent, ID: c.id(seq), Cell: &c.cell, Op: OpHave})
	}
	c.node.network.Send(&c.cell)
}

// morePart, in the user-to-user octet of a PDU, says that the block goes on behind its data.
const morePart = 1

// sendParts sends a block in PDUs of up to part bytes of data, calling send for every cell.
func sendParts(s *atm.Segmenter, head *[blockHeader]byte, cell *atm.Cell, vc atm.VC, h header, body []byte, part int, send func()) {
	seq := h.low
	for at := 0; ; at += part {
		n, more := len(body)-at, uint8(0)
		if n > part {
			n, more = part, morePart
		}
		h.low = uint32(at/8)<<seqBits | seq
		h.put(head)
		if s.Begin(atm.Header{VC: vc}, more, head[:], body[at:at+n]) != nil {
			return // header and part are never too long
		}
		for s.Next(cell) {
			send()
		}
		if more == 0 {
			return
		}
	}
}
