package ring

import (
	"errors"
	"sync/atomic"
	"time"

	"rmemrun/atm"
)

// A Server carries out the requests of one ring. The locks that it takes are held for as long as a number of requests needs.
type Server interface {
	// Begin takes the locks of the circuit, and End releases them.
	Begin()
	End()

	// Serve carries out request number index, a cell that nobody has looked at. It reports whether reply has an answer; there is one to
	// each request whose sender may wait for it.
	Serve(index uint64, request, reply *atm.Cell) bool

	// Refuse makes the answer to request number index that says that the circuit has failed. Whoever asks for errors from then on is told so: the
	// request may be a write, whose answer nobody reads.
	Refuse(index uint64, reply *atm.Cell)
}

// A Taker is a Server that takes most requests without their cells, where there is a fast way to read these.
type Taker interface {
	Server

	// Header is that of the cells of requests. Their numbers are their indices.
	Header() atm.HeaderOctets

	// Take carries out request number index, of which all is in order that a cell has in common with others: these are its operation word and what
	// follows that. If taken is false, it has done nothing, and Serve gets the cell; answered reports whether reply has an answer.
	Take(index uint64, word uint32, data []byte, reply *atm.Cell) (taken, answered bool)
}

// ErrBroken says that one of the two guests has written into a ring what it never may: the circuit has failed.
var ErrBroken = errors.New("the ring is not as it can be: one of its two guests has overwritten its head, or keeps its lock")

// A Ring is rmemrun's end of a ring. All methods but Ready, Polled, Polls, Acknowledged, Left, Held and Head take the server's locks, and may be called by any goroutine.
type Ring struct {
	server   Server
	taker    Taker // the same; nil: it is none
	header   atm.HeaderOctets
	carrier  Carrier // the same; nil: it is none
	requests *requests
	replies  *replies
	asked    []slot      // of requests, by themselves: to find that a pointer to requests is not nil, the tail would be looked at, whose line is under way
	answered []slot      // of replies
	shown    *replies    // the copy that the initiator of a tapped ring sees; nil: it sees the replies
	orphaned atomic.Bool // the exporter's guest is gone

	// Guarded by the server's locks.
	next    uint64        // how far head has come, as far as we know
	taken   atomic.Uint64 // how many requests the carrier has got
	broken  bool
	hold    hold
	request atm.Cell
	reply   atm.Cell
	data    atm.AlignedData
}

// publishEvery is how many requests are served before the head is moved: seldom enough that the line it is in is not always under way, often
// enough that a full ring is not empty before its owner hears of it.
const publishEvery = 16

// Ready reports whether a request waits that can be served now. It takes no locks.
func (r *Ring) Ready() bool {
	if r.carrier != nil {
		return r.toCarry()
	}
	head := atomic.LoadUint64(&r.replies.head)
	return atomic.LoadUint32(&r.asked[head%Slots].seq) == uint32(head+1)
}

// Polled reports whether the exporter's guest looks at the ring by itself, and will have us look when it does so no more.
func (r *Ring) Polled() bool { return atomic.LoadUint32(&r.replies.polling) != 0 }

// Polls is how often the exporter's guest has looked at the ring by itself, without saying that it would go on.
func (r *Ring) Polls() uint32 { return atomic.LoadUint32(&r.replies.polled) }

// Acknowledged is where the head is, as who serves the ring says.
func (r *Ring) Acknowledged() uint64 { return atomic.LoadUint64(&r.replies.head) }

// Left reports whether the exporter's guest has left the next request to us.
func (r *Ring) Left() bool {
	return atomic.LoadUint64(&r.replies.left) == atomic.LoadUint64(&r.replies.head)+1
}

// Held reports whether somebody has the lock: the exporter's guest, if no server is at it.
func (r *Ring) Held() bool {
	return !r.orphaned.Load() && atomic.LoadUint32(&r.replies.lock) != unlocked
}

// HeldFor reports whether somebody keeps the lock, and serves nothing, for that long from now on. It takes no locks, and as long as that.
func (r *Ring) HeldFor(d time.Duration) bool {
	head := r.Acknowledged()
	for end := time.Now().Add(d); ; time.Sleep(d / 16) {
		if !r.Held() || r.Acknowledged() != head {
			return false
		}
		if time.Now().After(end) {
			return true
		}
	}
}

// Head is the index of the first request that has not been dealt with, by whoever serves the ring, as Serve last found it. To be called with the
// server's locks, or when nobody serves the ring any more.
func (r *Ring) Head() uint64 { return r.next }

// Serve carries out the requests that are there, at most so many, and returns how many it did. It does none while the exporter's guest serves
// the ring. The error is ErrBroken, from then on; a guest that keeps the lock for LongestHold, and serves nothing, has broken the ring, too.
func (r *Ring) Serve(most int) (int, error) {
	r.server.Begin()
	n, err := r.serve(most)
	r.server.End()
	return max(n, 0), err
}

// lockedOut is what serve returns if the exporter's guest serves the ring: how far that has come is not known.
const lockedOut = -1

func (r *Ring) serve(most int) (int, error) {
	if r.broken {
		r.refuse()
		return 0, ErrBroken
	}
	if r.carrier != nil {
		return r.carry(most)
	}
	if !r.lock() {
		if r.hold.tooLong(atomic.LoadUint64(&r.replies.head), time.Now()) {
			r.broken = true
			r.refuse()
			return 0, ErrBroken
		}
		return lockedOut, nil
	}
	r.hold = hold{}
	next := atomic.LoadUint64(&r.replies.head)
	if next != r.next && !r.follow(next) {
		r.refuse()
		r.unlock()
		return 0, ErrBroken
	}
	done := 0
	for done < most && (r.take(next) || r.serveCell(next)) {
		next++
		done++
		if done%publishEvery == 0 {
			store64(&r.replies.head, next)
		}
	}
	if done > 0 {
		r.mark(next - 1)
	}
	store64(&r.replies.head, next)
	r.next = next
	r.unlock()
	return done, nil
}

// mark says in its own slot, too, that the last request of a batch was dealt with, which who waits for it sees earlier than the head.
func (r *Ring) mark(index uint64) { store32(&r.answered[index%Slots].seq, uint32(index+1)) }

// take carries out a request, if it is there and the server takes it.
func (r *Ring) take(index uint64) bool {
	if r.taker == nil {
		return false
	}
	word, n := atm.OpenSSM(&r.data, r.asked[index%Slots].aligned(), uint32(index+1), r.header, uint32(index))
	if n == 0 {
		return false
	}
	taken, answered := r.taker.Take(index, word, r.data[:n], &r.reply)
	if answered {
		put(&r.answered[index%Slots], &r.reply, uint32(index+1))
	}
	return taken
}

// serveCell carries out any request, if it is there.
func (r *Ring) serveCell(index uint64) bool {
	if !take(&r.request, &r.asked[index%Slots], uint32(index+1)) {
		return false
	}
	if r.server.Serve(index, &r.request, &r.reply) {
		put(&r.answered[index%Slots], &r.reply, uint32(index+1))
	}
	return true
}

// lock takes the ring from the exporter's guest; false: that has it.
func (r *Ring) lock() bool {
	return r.orphaned.Load() || atomic.CompareAndSwapUint32(&r.replies.lock, unlocked, byAgent)
}

func (r *Ring) unlock() { store32(&r.replies.lock, unlocked) }

// follow takes note that the exporter's guest has moved the head. It may have served any number of requests, of those that were there.
func (r *Ring) follow(head uint64) bool {
	tail := atomic.LoadUint64(&r.requests.tail)
	if head-r.next > tail-r.next || tail-head > Slots {
		r.broken = true
		return false
	}
	r.next = head
	return true
}

// refuse answers all that may still wait in a ring that is broken, or whose circuit has failed.
func (r *Ring) refuse() {
	tail := atomic.LoadUint64(&r.requests.tail)
	if tail-r.next > Slots {
		r.next = tail - Slots
	}
	for ; r.next != tail; r.next++ {
		r.server.Refuse(r.next, &r.reply)
		put(&r.answered[r.next%Slots], &r.reply, uint32(r.next+1))
	}
	r.taken.Store(tail)
	store64(&r.replies.head, tail)
}

// Drain serves the ring until all is carried out that was posted before the call, or the ring is broken. Where something hinders that, which only a
// guest can do away with, wait is called, again and again: held, if the exporter's has the ring; else the initiator's has claimed a slot that it has not filled yet.
// false from it ends Drain with ErrStuck.
func (r *Ring) Drain(wait func(held bool) bool) error {
	goal := atomic.LoadUint64(&r.requests.tail)
	if r.carrier != nil {
		return r.drainCarrier(goal, wait)
	}
	for {
		r.server.Begin()
		done, err := r.serve(Slots)
		next := r.next
		r.server.End()
		switch left := goal - next; {
		case err != nil:
			return err
		case int64(left) <= 0:
			return nil
		case left > Slots && done != lockedOut:
			return r.Break()
		case done <= 0 && !wait(done == lockedOut):
			return ErrStuck
		}
	}
}

// ErrStuck says that a guest does not let go of a ring.
var ErrStuck = errors.New("a guest holds up the ring")

// Break ends the use of the ring: whoever waits is refused. It returns ErrBroken.
func (r *Ring) Break() error {
	r.server.Begin()
	defer r.server.End()
	r.broken = true
	r.refuse()
	return ErrBroken
}

// Orphan says that the exporter's guest is gone: it does not hold the lock, whatever that says.
func (r *Ring) Orphan() { r.orphaned.Store(true) }

// Reset makes an empty ring of one that nobody uses any more, for another circuit, of which s is the server.
func (r *Ring) Reset(s Server) { r.reset(s, r.next) }

// reset is Reset, with the index of the first request.
func (r *Ring) reset(s Server, start uint64) {
	r.server, r.next, r.broken, r.hold = s, start, false, hold{}
	if r.taker, _ = s.(Taker); r.taker != nil {
		r.header = r.taker.Header()
	}
	r.carrier, _ = s.(Carrier)
	r.taken.Store(start)
	r.orphaned.Store(false)
	for i := range uint64(Slots) {
		last := start - 1 - (start-1-i)%Slots // that was in slot i
		atomic.StoreUint32(&r.asked[i].seq, uint32(last+1))
		atomic.StoreUint32(&r.answered[i].seq, uint32(last+1))
		r.requests.busy[i] = 0
	}
	atomic.StoreUint64(&r.requests.tail, start)
	atomic.StoreUint64(&r.requests.seen, start)
	atomic.StoreUint64(&r.replies.head, start)
	atomic.StoreUint32(&r.replies.polling, 0)
	atomic.StoreUint64(&r.replies.left, 0)
	atomic.StoreUint32(&r.replies.lock, unlocked)
	if r.shown != nil {
		for i := range r.shown.slots {
			atomic.StoreUint32(&r.shown.slots[i].seq, r.answered[i].seq)
		}
		atomic.StoreUint64(&r.shown.head, start)
	}
}
