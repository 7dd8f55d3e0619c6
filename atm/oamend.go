package atm

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times of fault management (I.610, clauses 9.2.1.1.1 and 9.2.1.1.2). Where the Recommendation allows half a second more or less, an
// [OAMEnd] uses it: it looks twice a second.
const (
	OAMPeriod      = time.Second             // between two AIS, RDI or continuity check cells
	AlarmClears    = 2500 * time.Millisecond // without AIS or RDI cells, ±0.5 s
	ContinuityLost = 3500 * time.Millisecond // without user and continuity check cells, ±0.5 s
	LoopbackWait   = 5 * time.Second         // for the answer to a loopback request

	oamTick = OAMPeriod / 2
)

// Alarms is the state of one direction of a circuit as its end sees it, a set of bits.
//
//	        AIS cell                            RDI cell                      3.5 s without user or CC cell
//	clear ──────────────────> AIS      clear ────────────────> RDI      clear ─────────────────────────────> LOC
//	      <──────────────────               <────────────────                 <─────────────────────────────
//	      user or CC cell, or               2.5 s without RDI                 user or CC cell
//	      2.5 s without AIS
//
// While AIS or LOC is there, RDI cells are sent to the far end.
type Alarms uint32

// Alarms that an end can see.
const (
	AlarmAIS Alarms = 1 << iota // a point upstream says that the circuit is broken before it
	AlarmRDI                    // the far end says that it receives nothing
	AlarmLOC                    // loss of continuity: neither user nor continuity check cells come
)

// String names the alarms that are there: "AIS", "RDI", "LOC", joined by "+"; "clear" if there are none.
func (a Alarms) String() string {
	if a == 0 {
		return "clear"
	}
	var names []string
	for i, name := range []string{"AIS", "RDI", "LOC"} {
		if a>>i&1 != 0 {
			names = append(names, name)
		}
	}
	if rest := a &^ (AlarmAIS | AlarmRDI | AlarmLOC); rest != 0 {
		names = append(names, fmt.Sprintf("Alarms(%d)", uint32(rest)))
	}
	return strings.Join(names, "+")
}

// An OAMEndConfig says where an [OAMEnd] is.
type OAMEndConfig struct {
	Clock Clock
	VC    VC         // of the circuit here; of a virtual path, the VPI counts
	Path  bool       // the circuit is a virtual path (F4), not a channel (F5)
	ID    LocationID // of this end, by which it knows the answers to its requests
	Send  Receiver   // takes cells for the far end

	// OnChange, if not nil, is called after Alarms has changed. It may be called by several goroutines.
	OnChange func()
}

// An OAMEnd is the OAM of one end of a circuit: of its end-to-end flow and of the segment flow, which ends here too. It answers
// loopback requests and makes them, sees alarms and tells the far end about them, sends continuity checks and misses them. It has no
// goroutine, and a timer only while there is something to time.
//
// It is safe for concurrent use. No lock is held while cells are sent or functions of its user called.
type OAMEnd struct {
	config OAMEndConfig
	point  LoopbackPoint

	// curious is whether a user cell would make a difference: the clock is read and the lock taken for one at most twice a second, or to end
	// an alarm.
	curious atomic.Bool
	alarms  atomic.Uint32

	mu       sync.Mutex
	source   bool          // continuity checks are sent
	sink     bool          // and expected
	lastAIS  time.Duration // when the last one came
	lastRDI  time.Duration
	lastUser time.Duration // when a user or CC cell came, to half a second
	sentRDI  time.Duration // when the last one was sent
	sentCC   time.Duration
	stop     func() bool // of the timer; nil if it is not running
	closed   bool
	tag      uint32               // of the last request
	asked    map[uint32]*loopback // requests not answered yet, by tag
}

// A loopback is a request that waits for its answer.
type loopback struct {
	sent  time.Duration
	every bool
	done  func(LoopbackResult)
	stop  func() bool
}

// A LoopbackResult is what has come of a loopback request.
type LoopbackResult struct {
	Answered bool          // false: nobody did, in time
	By       LocationID    // who answered
	Took     time.Duration // from the request to the answer, or to the end of patience
}

// maxLoopbacks is how many requests of one end may wait for answers.
const maxLoopbacks = 1024

// Reasons why a loopback is not requested.
var (
	ErrOAMClosed = errors.New("atm: loopback not requested: the end of the circuit is closed")
	ErrOAMBusy   = errors.New("atm: loopback not requested: too many requests wait for answers")
)

// NewOAMEnd makes the OAM of an end of a circuit. It neither sends continuity checks nor expects any.
func NewOAMEnd(config OAMEndConfig) *OAMEnd {
	return &OAMEnd{
		config: config, point: LoopbackPoint{ID: config.ID, SegmentEnd: true, End: true},
		sentRDI: -OAMPeriod, sentCC: -OAMPeriod, asked: map[uint32]*loopback{},
	}
}

// Alarms is the state of the direction that ends here.
func (e *OAMEnd) Alarms() Alarms { return Alarms(e.alarms.Load()) }

// Receive looks at a cell of the circuit. It returns true if it was an OAM cell, which it has dealt with; c then has any content.
// User cells are noticed, as the continuity check wants it.
func (e *OAMEnd) Receive(c *Cell) bool {
	flow, ok := c.OAMFlow()
	if !ok || flow.F4() != e.config.Path {
		if e.curious.Load() && (e.config.Path || c.PT().User()) {
			e.alive()
		}
		return false
	}
	o, err := DecodeOAM(c)
	switch {
	case err != nil: // not for us, and it goes no further
	case o.Kind == OAMLoopback && o.Reply:
		e.answered(o)
	case o.Kind == OAMLoopback:
		if yes, _ := e.point.Answer(c, c); yes {
			e.config.Send.Receive(c)
		}
	case flow.Segment(): // alarms and continuity of segments are not watched
	case o.Kind == OAMCC:
		e.alive()
	case o.Kind == OAMAIS:
		e.alarm(AlarmAIS)
	case o.Kind == OAMRDI:
		e.alarm(AlarmRDI)
	}
	return true
}

// alive notices a user or continuity check cell.
func (e *OAMEnd) alive() {
	e.mu.Lock()
	e.curious.Store(false)
	e.lastUser = e.config.Clock.Now()
	e.update(e.lastUser, 0, AlarmAIS|AlarmLOC)
}

// alarm notices an AIS or RDI cell.
func (e *OAMEnd) alarm(a Alarms) {
	e.mu.Lock()
	now := e.config.Clock.Now()
	if a == AlarmAIS {
		e.lastAIS = now
	} else {
		e.lastRDI = now
	}
	e.update(now, a, 0)
}

// tick looks at all times, every half second.
func (e *OAMEnd) tick() {
	e.mu.Lock()
	e.stop = nil
	now := e.config.Clock.Now()
	var set, clear Alarms
	if now-e.lastAIS >= AlarmClears {
		clear |= AlarmAIS
	}
	if now-e.lastRDI >= AlarmClears {
		clear |= AlarmRDI
	}
	if e.sink {
		if now-e.lastUser >= ContinuityLost {
			set |= AlarmLOC
		}
		e.curious.Store(true)
	}
	e.update(now, set, clear)
}

// update sets and clears alarms, does what follows from that, and unlocks e.mu, which is held.
func (e *OAMEnd) update(now time.Duration, set, clear Alarms) {
	if e.closed {
		e.mu.Unlock()
		return
	}
	before := e.Alarms()
	after := before&^clear | set
	e.alarms.Store(uint32(after))
	broken := after&(AlarmAIS|AlarmLOC) != 0
	if broken {
		e.curious.Store(true)
	}
	rdi := broken && now-e.sentRDI >= OAMPeriod
	if rdi {
		e.sentRDI = now
	}
	cc := e.source && now-e.sentCC >= OAMPeriod
	if cc {
		e.sentCC = now
	}
	if e.stop == nil && (after != 0 || e.source || e.sink) {
		e.stop = e.config.Clock.AfterFunc(oamTick, e.tick)
	}
	e.mu.Unlock()
	if rdi {
		e.send(OAM{Kind: OAMRDI, Defect: NoDefect, Location: e.config.ID}, false)
	}
	if cc {
		e.send(OAM{Kind: OAMCC}, false)
	}
	if after != before && e.config.OnChange != nil {
		e.config.OnChange()
	}
}

// send sends an OAM cell on the end-to-end or the segment flow.
func (e *OAMEnd) send(o OAM, segment bool) {
	flow := F5End
	switch {
	case e.config.Path && segment:
		flow = F4Segment
	case e.config.Path:
		flow = F4End
	case segment:
		flow = F5Segment
	}
	var c Cell
	_ = EncodeOAM(&c, o) // the kind is known
	c.SetHeader(flow.Header(e.config.VC))
	e.config.Send.Receive(&c)
}

// SetContinuity says whether continuity checks are sent, and whether the far end sends them, so that AlarmLOC is set if they do not come.
// At first neither is.
func (e *OAMEnd) SetContinuity(send, expect bool) {
	e.mu.Lock()
	now := e.config.Clock.Now()
	if expect && !e.sink {
		e.lastUser = now
		e.curious.Store(true)
	}
	e.source, e.sink = send, expect
	var clear Alarms
	if !expect {
		clear = AlarmLOC
	}
	e.update(now, 0, clear)
}

// Loopback sends a request to target: a point by its name, EndPoint, or EveryPoint of the segment. segment says whether it goes to the end of
// the segment, where the points on the way look at it, or of the circuit, where only the end does.
//
// done is called once, with the answer, or after LoopbackWait without; if the target is EveryPoint, for each answer, in the
// order of the hops on a network that keeps order, and once more, not Answered, after LoopbackWait. It may be called before Loopback
// returns, and by any goroutine. The error, with which done is never called, is ErrOAMClosed or ErrOAMBusy.
func (e *OAMEnd) Loopback(target LocationID, segment bool, done func(LoopbackResult)) error {
	e.mu.Lock()
	if e.closed || len(e.asked) == maxLoopbacks {
		defer e.mu.Unlock()
		if e.closed {
			return ErrOAMClosed
		}
		return ErrOAMBusy
	}
	e.tag++
	tag := e.tag
	l := &loopback{sent: e.config.Clock.Now(), every: target == EveryPoint, done: done}
	l.stop = e.config.Clock.AfterFunc(LoopbackWait, func() { e.unanswered(tag) })
	e.asked[tag] = l
	e.mu.Unlock()
	e.send(OAM{Kind: OAMLoopback, Tag: tag, Target: target, Source: e.config.ID}, segment)
	return nil
}

// answered deals with an answer to a loopback request, perhaps one of ours.
func (e *OAMEnd) answered(o OAM) {
	if o.Source != e.config.ID {
		return
	}
	e.mu.Lock()
	l := e.asked[o.Tag]
	if l == nil {
		e.mu.Unlock()
		return
	}
	if !l.every {
		delete(e.asked, o.Tag)
		l.stop()
	}
	took := e.config.Clock.Now() - l.sent
	e.mu.Unlock()
	l.done(LoopbackResult{Answered: true, By: o.Target, Took: took})
}

// unanswered ends the wait for answers to a request.
func (e *OAMEnd) unanswered(tag uint32) {
	e.mu.Lock()
	l := e.asked[tag]
	if l == nil {
		e.mu.Unlock()
		return
	}
	delete(e.asked, tag)
	took := e.config.Clock.Now() - l.sent
	e.mu.Unlock()
	l.done(LoopbackResult{Took: took})
}

// Close stops the timers; alarms stay as they are. Requests that wait end now, not answered. Loopback requests from the far end are still answered.
func (e *OAMEnd) Close() {
	e.mu.Lock()
	e.closed = true
	if e.stop != nil {
		e.stop()
	}
	e.curious.Store(false)
	waiting := e.asked
	e.asked = nil
	now := e.config.Clock.Now()
	e.mu.Unlock()
	for _, l := range waiting {
		l.stop()
		l.done(LoopbackResult{Took: now - l.sent})
	}
}
