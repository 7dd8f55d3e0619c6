package ring

import (
	"sync/atomic"

	"rmemrun/atm"
)

// A Carrier is a Server that answers later: it carries requests elsewhere, several at a time. Of the requests of its ring, those before head are answered,
// those from there to taken are with the carrier, and those behind wait in the ring.
//
//	 answered            carried              waiting
//	----------+---------------------------+--------------
//	          head                        taken
//
// The head is moved by nobody else: no exporter's guest has the ring.
type Carrier interface {
	Server

	// Room reports whether there is room for another request, Carry takes it.
	Room() bool
	Carry(index uint64, request *atm.Cell)

	// Carried looks whether the oldest request that is carried, of that index, is done with. If it is, replied says whether reply has an answer for
	// who waits; and the next one is the oldest.
	Carried(index uint64, reply *atm.Cell) (done, replied bool)

	// Waiting reports whether what was carried last has not been sent yet, so that what does not come by the ring could overtake it.
	Waiting() bool

	// News reports, without the locks, whether Carried may have something to tell since Begin was called last.
	News() bool
}

// toCarry is Ready of a ring with a carrier.
func (r *Ring) toCarry() bool {
	if r.carrier.News() {
		return true
	}
	taken := r.taken.Load()
	return atomic.LoadUint32(&r.asked[taken%Slots].seq) == uint32(taken+1) && taken-r.Acknowledged() < carries
}

// carries is how many requests a carrier surely has room for.
const carries = 64

// Underway reports whether a carrier has requests that are not answered. It takes no locks.
func (r *Ring) Underway() bool { return r.carrier != nil && r.taken.Load() != r.Acknowledged() }

// carry is serve of a ring with a carrier. It returns how many requests it has taken or answered.
func (r *Ring) carry(most int) (int, error) {
	done := r.answers()
	for ; most > 0 && r.carrier.Room(); most-- {
		taken := r.taken.Load()
		if !take(&r.request, &r.asked[taken%Slots], uint32(taken+1)) {
			break
		}
		r.taken.Store(taken + 1)
		r.carrier.Carry(taken, &r.request)
		done++
	}
	return done + r.answers(), nil
}

// answers passes on what the carrier has got, in the order of the requests.
func (r *Ring) answers() (n int) {
	for taken := r.taken.Load(); r.next != taken; n++ {
		done, replied := r.carrier.Carried(r.next, &r.reply)
		if !done {
			break
		}
		if replied {
			put(&r.answered[r.next%Slots], &r.reply, uint32(r.next+1))
		}
		r.next++
	}
	if n > 0 {
		r.mark(r.next - 1)
		store64(&r.replies.head, r.next)
	}
	return n
}

// drainCarrier is Drain of a ring with a carrier: what was posted before has left, so that what comes behind comes behind at the exporter, too.
func (r *Ring) drainCarrier(goal uint64, wait func(held bool) bool) error {
	for {
		r.server.Begin()
		done, err := r.serve(Slots)
		left, waiting := goal-r.taken.Load(), r.carrier.Waiting()
		r.server.End()
		switch {
		case err != nil:
			return err
		case int64(left) <= 0 && !waiting:
			return nil
		case int64(left) > Slots:
			return r.Break()
		case done == 0 && !wait(false):
			return ErrStuck
		}
	}
}
