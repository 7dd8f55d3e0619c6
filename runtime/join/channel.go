package join

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"rmemrun/atm"
)

// A frame of the signalling: 20 octets, and a message or none. Big endian.
//
//	 0         4           12       16       20
//	+---------+-----------+--------+--------+----------- - -
//	| r m j n |  session  | number |  ack   | message
//	+---------+-----------+--------+--------+----------- - -
//
// The session is the cookie of the greeting. Messages are numbered from 0; a frame without one has the number of the next. The ack is the
// number of the message that the sender waits for.
const (
	frameHeader = 20
	frameMagic  = 0x726d6a6e
	maxFrame    = frameHeader + maxMessage
)

const (
	frameWindow = 64 // messages sent and not acknowledged

	maxQueue = 1 << 20 // messages not acknowledged: then the peer is given up

	firstRetry = 100 * time.Millisecond // the time to wait for an acknowledgement, doubled
	lastRetry  = time.Second            // up to this
	keepAlive  = time.Second            // an empty frame is sent if nothing was for so long

	// Silence is how long a peer may say nothing before it is given up.
	Silence = 10 * time.Second
)

// Why a channel ends by itself.
var (
	errSilent = fmt.Errorf("the peer has said nothing for %v", Silence)
	errQueue  = fmt.Errorf("the peer is %d messages behind", maxQueue)
)

// A channel carries messages over a link that may lose, double and reorder frames: each once, in order.
//
// A sender's state is base ≤ sent ≤ base + len(queue): messages before base are acknowledged, those before sent are on the way, the rest
// wait for the window. A receiver's is expected: it takes the message of that number only.
type channel struct {
	session  uint64
	clock    atm.Clock
	transmit func(frame []byte) // called with mu held
	deliver  func(message []byte) error
	acked    func(base uint32) // messages before base have been acknowledged
	down     func(error)       // the channel has ended by itself

	mu       sync.Mutex
	queue    [][]byte
	base     uint32
	sent     uint32
	expected uint32
	retry    time.Duration
	resend   time.Duration // when to send again what is on the way
	spoke    time.Duration // when the last frame was sent
	heard    time.Duration // when the last was received
	met      bool          // one was received
	ended    bool
	drained  chan struct{} // closed when the queue is empty, if somebody waits
	stop     func() bool   // the timer
	due      time.Duration
	frame    [maxFrame]byte
}

// start begins: from then on the peer has to be heard.
func (c *channel) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	c.heard, c.retry = now, firstRetry
	c.put(c.sent, nil)
	c.arm()
}

// send sends a message, which it keeps, and returns its number.
func (c *channel) send(message []byte) (number uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, false
	}
	if len(c.queue) >= maxQueue {
		c.clock.AfterFunc(0, func() { c.end(errQueue) }) // not here: the caller may hold locks
		return 0, false
	}
	number = c.base + uint32(len(c.queue))
	c.queue = append(c.queue, message)
	c.push()
	c.arm()
	return number, true
}

// push sends what the window lets through. c.mu is held.
func (c *channel) push() {
	for c.sent-c.base < frameWindow && int(c.sent-c.base) < len(c.queue) {
		if c.sent == c.base {
			c.resend = c.clock.Now() + c.retry
		}
		c.put(c.sent, c.queue[c.sent-c.base])
		c.sent++
	}
}

// put sends a frame. c.mu is held.
func (c *channel) put(number uint32, message []byte) {
	b := c.frame[:frameHeader+len(message)]
	binary.BigEndian.PutUint32(b, frameMagic)
	binary.BigEndian.PutUint64(b[4:], c.session)
	binary.BigEndian.PutUint32(b[12:], number)
	binary.BigEndian.PutUint32(b[16:], c.expected)
	copy(b[frameHeader:], message)
	c.spoke = c.clock.Now()
	c.transmit(b)
}

// isFrame reports whether b may be a frame of the session.
func isFrame(b []byte, session uint64) bool {
	return len(b) >= frameHeader && len(b) <= maxFrame && binary.BigEndian.Uint32(b) == frameMagic && binary.BigEndian.Uint64(b[4:]) == session
}

// receive takes a frame; what is none of this session is not looked at. One goroutine calls it.
func (c *channel) receive(b []byte) {
	if !isFrame(b, c.session) {
		return
	}
	number, ack, message := binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:]), b[frameHeader:]
	c.mu.Lock()
	if c.ended || ack-c.base > c.sent-c.base { // it acknowledges what was not sent, or is old
		c.mu.Unlock()
		return
	}
	c.heard = c.clock.Now()
	moved := ack != c.base
	if moved {
		c.queue = c.queue[ack-c.base:]
		c.base = ack
		c.retry = firstRetry
		c.resend = c.heard + c.retry
		if len(c.queue) == 0 && c.drained != nil {
			close(c.drained)
			c.drained = nil
		}
		c.push()
	}
	if !c.met { // it has started later, and taken nothing of what was sent before
		c.met = true
		c.sent = c.base
		c.push()
	}
	base := c.base
	take := len(message) > 0 && number == c.expected
	c.arm()
	c.mu.Unlock()

	if moved {
		c.acked(base)
	}
	if len(message) == 0 {
		return
	}
	if take {
		if err := c.deliver(message); err != nil {
			c.end(fmt.Errorf("the peer breaks the protocol: %w", err))
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if take {
		c.expected++
	}
	if !c.ended {
		c.put(c.sent, nil) // the acknowledgement; of one that was taken before, again
	}
}

// arm sets the timer for what is to happen next. c.mu is held.
func (c *channel) arm() {
	if c.ended {
		return
	}
	due := min(c.heard+Silence, c.spoke+keepAlive)
	if c.sent != c.base {
		due = min(due, c.resend)
	}
	if c.stop != nil {
		if c.due <= due {
			return // it will look again
		}
		c.stop()
	}
	c.due = due
	c.stop = c.clock.AfterFunc(due-c.clock.Now(), c.tick)
}

// tick does what is due.
func (c *channel) tick() {
	c.mu.Lock()
	c.stop = nil
	if c.ended {
		c.mu.Unlock()
		return
	}
	now := c.clock.Now()
	if now >= c.heard+Silence {
		c.mu.Unlock()
		c.end(errSilent)
		return
	}
	if c.sent != c.base && now >= c.resend {
		c.retry = min(2*c.retry, lastRetry)
		c.sent = c.base
		c.push()
	}
	if now >= c.spoke+keepAlive {
		c.put(c.sent, nil)
	}
	c.arm()
	c.mu.Unlock()
}

// end ends the channel and says why.
func (c *channel) end(why error) {
	if c.close() {
		c.down(why)
	}
}

// close ends the channel without saying so; false if it has ended before.
func (c *channel) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.ended = true
	c.queue = nil
	if c.stop != nil {
		c.stop()
	}
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	return true
}

// over reports whether the channel has ended.
func (c *channel) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

var errDrain = errors.New("the peer has not acknowledged the last messages")

// drain waits until all messages are acknowledged, the channel has ended, or it does not matter any more. It is an error if that
// takes longer than limit.
func (c *channel) drain(limit time.Duration, noMatter <-chan struct{}) error {
	c.mu.Lock()
	if c.ended || len(c.queue) == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.drained == nil {
		c.drained = make(chan struct{})
	}
	done := c.drained
	c.mu.Unlock()
	over := make(chan struct{})
	stop := c.clock.AfterFunc(limit, func() { close(over) })
	defer stop()
	select {
	case <-done:
		return nil
	case <-noMatter:
		return nil
	case <-over:
		return errDrain
	}
}
