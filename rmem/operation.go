package rmem

import (
	"io"
	"sync"
	"sync/atomic"
)

// An Operation is one remote instruction in progress. It belongs to whoever
// gives it to a method of Space, which begins it; the zero value is ready.
//
//	            begun            finished in the method, or later, then Wake
//	Idle ------------> Active ---------------------------------------------> Done
//	  ^                  |                    Cancel                          |
//	  |                  +----------------------------------------------------+
//	  +-------------------------------- begun again --------------------------+
//
// An operation that is not Done when the method returns goes on by itself, and
// must stay where it is in memory with its source or destination until it is Done.
type Operation struct {
	// Wake, if not nil, is called once, from any goroutine, when an
	// operation is finished that was not Done when the method that began it
	// returned, unless Cancel finished it. It is called with locks held: it must be quick and must
	// not call methods of Operation, Space or Node, save Done and the results. An owner
	// who looks at Done by himself may see it before Wake is called, and must expect it late.
	Wake func()

	// Tag is given to the observer with all events of the operation at this node.
	Tag uint64

	state  atomic.Uint32 // one of the states below; results are written before it becomes done
	result Error
	handle int32
	old    uint64
	event  Notification

	mu     sync.Mutex
	use    uint64 // counts finished uses; what was left behind by an earlier use does not match it
	asleep bool   // the method has returned: Wake is due
	parked parker // where a trace of it may be left, nil: nowhere
	left   int    // requests under way, or circuits that a fence waits for

	// what is carried, for circuit.issue
	next *Operation // in the circuit's queue
	request
	pos uint64 // how much of n has been requested

	barrier barrier // for Space.reached
}

const (
	idle uint32 = iota
	active
	done
)

// A parker keeps operations that wait.
type parker interface {
	// forget removes what the parker keeps of o, use.
	forget(o *Operation, use uint64)
}

// A request is what one instruction asks of a circuit.
type request struct {
	op       Op
	notify   bool
	async    bool   // a read that is over, for the guest, when it is posted
	awaited  bool   // it is over when it is answered, a write too
	swab     uint8  // width of the words whose bytes are swapped, 1: none
	width    uint8  // of an atomic
	offset   uint64 // in the segment
	n        uint64 // bytes
	src      io.ReaderAt
	stage    *stage // of src, for a long write; nil: it is none, or is not to be sent any more
	dst      io.WriterAt
	expected uint64 // cas
	operand  uint64 // desired, addend or value
}

// Done reports whether the operation is over: its results can be read and it can
// be begun again.
func (o *Operation) Done() bool { return o.state.Load() == done }

// Result is the outcome of an operation that is Done.
func (o *Operation) Result() Error { return o.result }

// Old is what an atomic found in memory, if the Result is OK. Four bytes are not sign-extended.
func (o *Operation) Old() uint64 { return o.old }

// Event is what Wait waited for, if the Result is OK.
func (o *Operation) Event() Notification { return o.event }

// Handle is the descriptor that Import made, if the Result is OK.
func (o *Operation) Handle() int32 { return o.handle }

// Reset forgets results, source and destination, so that they can be
// collected. It must not be called on an operation that was begun and is not Done.
func (o *Operation) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state.Store(idle)
	o.result, o.old, o.handle, o.event = OK, 0, 0, Notification{}
	o.request, o.parked, o.next = request{}, nil, nil
}

// Cancel finishes an operation that is not Done with the result e, without
// Wake: the time is up, a signal came, the guest died. It returns false if the
// operation was finished first, or never begun. When it has returned, the source and
// destination are not touched any more. What was requested of the far side may
// still take effect there: a block may be written in part, an atomic be made
// whose old value nobody sees. A notification is never lost: if Cancel returns true, it is
// left for the next Wait.
//
// Cancel must not be called before the method that began the operation has returned.
func (o *Operation) Cancel(e Error) bool {
	o.mu.Lock()
	if o.state.Load() != active {
		o.mu.Unlock()
		return false
	}
	use, parked := o.use, o.parked
	o.finish(e)
	o.mu.Unlock()
	if parked != nil {
		parked.forget(o, use)
	}
	return true
}

// begin makes an operation active, before anybody else knows of it. It returns
// the use, by which others will know it.
func (o *Operation) begin() uint64 {
	o.result, o.asleep, o.parked, o.left, o.pos = OK, false, nil, 0, 0
	o.state.Store(active)
	return o.use
}

// is reports whether the operation is still in the given use. o.mu is held.
func (o *Operation) is(use uint64) bool { return o.use == use && o.state.Load() == active }

// finish ends the use, and returns the alarm that is due when o.mu, which is held, is released.
func (o *Operation) finish(e Error) alarm {
	o.result = e
	o.use++
	o.parked = nil
	o.unstage()
	var due alarm
	if o.asleep {
		due = o.Wake
	}
	o.state.Store(done) // from here on the owner, who may be awake for another reason, begins anew without the lock
	return due
}

// refuse ends an operation that nobody but its owner knows of.
func (o *Operation) refuse(e Error) {
	o.result = e
	o.state.Store(done)
}

// A giver has a result for an operation.
type giver interface {
	give(*Operation)
}

// complete finishes the operation if it is still in the given use, with what from
// gives it (nil: nothing), and wakes its owner if that sleeps.
func (o *Operation) complete(use uint64, e Error, from giver) bool {
	o.mu.Lock()
	if !o.is(use) {
		o.mu.Unlock()
		return false
	}
	if from != nil {
		from.give(o)
	}
	wake := o.finish(e)
	o.mu.Unlock()
	wake.call()
	return true
}

// An alarm is an Operation.Wake that is due; nil: none is.
type alarm func()

func (a alarm) call() {
	if a != nil {
		a()
	}
}

// settle is the last act of a method that began o: if o is not finished by
// now, its owner will sleep and Wake is due.
func (o *Operation) settle(use uint64) {
	if o.state.Load() == done {
		return
	}
	o.mu.Lock()
	if o.is(use) {
		o.asleep = true
	}
	o.mu.Unlock()
}
