package rmem

import (
	"fmt"
	"testing"
)

// The protocol of docs/protocol.md, section "Loss", in the small: every state that an initiator, a target and the network between them
// can get into is visited, breadth first. The network loses, repeats and reorders; a time-out may come at any moment. Numbers are
// modulo 8 and go round, and each direction begins at a number of its own; the window is 2. What bears the mark of another circuit is not in the
// model: it changes no state.
const (
	modNumbers  = 8
	modThere    = 7 // the number of request 0
	modBack     = 3 // and of the reply to it
	modWindow   = 2
	modRequests = 9 // more than once around
	modRefused  = 4 // this one is refused
	modCapacity = 2 // messages under way in one direction: what is sent beyond is lost
	modLosses   = 2 // besides
	modRepeats  = 1
	modOvertake = 1 // a message is overtaken by so many at most
)

// A parcel is a message under way.
type parcel struct {
	kind      byte // 0: no message; 'q' request, 'r' reply, 'h' all replies before number have arrived
	number    uint8
	is        int8 // which request it really is: nobody looks at this but the assertions
	refused   bool
	overtaken uint8
}

// A direction is one direction of the network, the oldest message first.
type direction [modCapacity]parcel

func (r *direction) put(p parcel) bool {
	for i := range r {
		if r[i].kind == 0 {
			r[i] = p
			return true
		}
	}
	return false
}

// take removes the i-th; false: too many would be overtaken.
func (r *direction) take(i int) (parcel, bool) {
	p := r[i]
	if p.kind == 0 {
		return p, false
	}
	for j := range i {
		if r[j].overtaken == modOvertake {
			return p, false
		}
		r[j].overtaken++
	}
	copy(r[i:], r[i+1:])
	r[modCapacity-1] = parcel{}
	return p, true
}

// world is a state.
type world struct {
	// initiator
	issued, answered int8
	replied          [modWindow]bool // of those in the window, by number modulo the window
	err              int8            // the request whose refusal is kept for the fence, +1
	down             bool            // it has given up
	thanked          int8            // what the target was told has arrived
	// target
	expected int8
	early    [modWindow]int8 // which request waits at this place, +1
	kept     [modWindow]parcel
	// network
	there, back     direction
	losses, repeats uint8
}

// next calls visit for every state that may follow. A violation is an error.
func (w world) next(visit func(string, world)) error {
	if w.down {
		return nil
	}
	if int(w.issued) < modRequests && w.issued-w.answered < modWindow { // a new request
		n := w
		n.replied[n.issued%modWindow] = false
		n.there.put(n.request(n.issued))
		n.issued++
		visit("issue", n)
	}
	for s := w.answered; s < w.issued; s++ { // a time-out, or something that looks like a loss
		if !w.replied[s%modWindow] {
			n := w
			if n.there.put(w.request(s)) {
				visit(fmt.Sprint("again ", s), n)
			}
		}
	}
	if w.answered == w.issued && w.thanked < w.answered { // HAVE
		n := w
		n.thanked = n.answered
		n.there.put(parcel{kind: 'h', number: (modThere + uint8(n.answered)) % modNumbers, is: n.answered})
		visit("have", n)
	}
	if w.answered < w.issued { // silent for too long
		visit("give up", world{down: true})
	}
	for i := range modCapacity {
		n := w
		if p, ok := n.there.take(i); ok {
			if err := n.atTarget(p); err != nil {
				return err
			}
			visit(fmt.Sprint("deliver ", p), n)
		}
		n = w
		if p, ok := n.back.take(i); ok {
			if err := n.atInitiator(p); err != nil {
				return err
			}
			visit(fmt.Sprint("answer ", p), n)
		}
		for _, back := range []bool{false, true} {
			n := w
			r := &n.there
			if back {
				r = &n.back
			}
			if r[i].kind == 0 {
				continue
			}
			if w.repeats < modRepeats {
				m := n
				r := &m.there
				if back {
					r = &m.back
				}
				if m.repeats++; r.put(r[i]) {
					visit("repeat", m)
				}
			}
			if w.losses < modLosses {
				n.losses++
				copy(r[i:], r[i+1:])
				r[modCapacity-1] = parcel{}
				visit("lose", n)
			}
		}
	}
	return nil
}

func (w *world) request(s int8) parcel {
	return parcel{kind: 'q', number: (modThere + uint8(s)) % modNumbers, is: s}
}

// atTarget is target.receive.
func (w *world) atTarget(p parcel) error {
	if p.kind == 'h' {
		behind := (modThere + uint8(w.expected) - p.number) % modNumbers
		if behind > modWindow || int8(behind) > w.expected {
			return nil
		}
		for s := max(0, w.expected-modWindow); s < w.expected-int8(behind); s++ {
			w.kept[s%modWindow] = parcel{}
		}
		return nil
	}
	switch ahead := (p.number - modThere - uint8(w.expected)) % modNumbers; {
	case ahead == 0:
		for {
			if err := w.serve(p.is); err != nil {
				return err
			}
			e := &w.early[w.expected%modWindow]
			if *e == 0 {
				return nil
			}
			p.is = *e - 1
			*e = 0
		}
	case ahead < modWindow:
		w.early[(w.expected+int8(ahead))%modWindow] = p.is + 1
	default:
		behind := int8(modNumbers - ahead)
		if behind <= modWindow && behind <= w.expected {
			if k := w.kept[(w.expected-behind)%modWindow]; k.kind != 0 {
				w.back.put(k)
			}
		}
	}
	return nil
}

// serve carries out the request that is expected; it must be that one, which is what exactly once and in order means.
func (w *world) serve(is int8) error {
	if is != w.expected {
		return fmt.Errorf("request %d takes effect in place of %d", is, w.expected)
	}
	k := parcel{kind: 'r', number: (modBack + uint8(is)) % modNumbers, is: is, refused: is == modRefused}
	w.kept[is%modWindow] = k
	w.expected++
	w.back.put(k)
	return nil
}

// atInitiator is initiator.receive.
func (w *world) atInitiator(p parcel) error {
	ahead := int8((p.number - modBack - uint8(w.answered)) % modNumbers)
	if ahead >= w.issued-w.answered || w.replied[(w.answered+ahead)%modWindow] {
		return nil
	}
	if s := w.answered + ahead; p.is != s {
		return fmt.Errorf("the reply to %d was taken for that to %d", p.is, s)
	}
	if w.replied[p.is%modWindow] {
		return fmt.Errorf("the reply to %d was taken twice", p.is)
	}
	w.replied[p.is%modWindow] = true
	if p.refused {
		w.err = p.is + 1
	}
	for w.answered < w.issued && w.replied[w.answered%modWindow] {
		w.answered++
	}
	return nil
}

// check asserts what holds in every state.
func (w *world) check() error {
	switch {
	case w.answered > w.expected:
		return fmt.Errorf("%d requests are answered, %d were carried out", w.answered, w.expected)
	case w.expected > w.issued:
		return fmt.Errorf("%d requests were carried out, %d issued", w.expected, w.issued)
	case w.answered > modRefused && w.err != modRefused+1:
		return fmt.Errorf("the refusal of %d was not reported", modRefused)
	case w.err != 0 && w.expected <= modRefused:
		return fmt.Errorf("a refusal was reported before it was made")
	}
	return nil
}

// over: nothing is left to be done.
func (w *world) over() bool { return w.down || w.answered == modRequests }

// explore visits all states from the first on, and then makes sure that from each of them an end can be reached without giving up: nothing hangs.
func explore[S comparable](t *testing.T, first S, next func(S, func(string, S)) error, check func(S) error, over, failed func(S) bool) {
	t.Helper()
	type origin struct {
		from int
		step string
	}
	states := []S{first}
	index := map[S]int{first: 0}
	origins := []origin{{-1, ""}}
	before := [][]int{nil}
	trace := func(i int) (s string) {
		for ; i > 0; i = origins[i].from {
			s = "\n\t" + origins[i].step + s
		}
		return s
	}
	for i := 0; i < len(states); i++ {
		s := states[i]
		if err := check(s); err != nil {
			t.Fatalf("%v: %v%s", err, s, trace(i))
		}
		err := next(s, func(step string, n S) {
			j, ok := index[n]
			if !ok {
				j = len(states)
				index[n] = j
				states = append(states, n)
				origins = append(origins, origin{i, step})
				before = append(before, nil)
			}
			before[j] = append(before[j], i)
		})
		if err != nil {
			t.Fatalf("%v: %v%s", err, s, trace(i))
		}
	}
	ends := make([]bool, len(states))
	var list []int
	for i, s := range states {
		if over(s) && !failed(s) {
			ends[i] = true
			list = append(list, i)
		}
	}
	for len(list) > 0 {
		i := list[len(list)-1]
		list = list[:len(list)-1]
		for _, j := range before[i] {
			if !ends[j] {
				ends[j] = true
				list = append(list, j)
			}
		}
	}
	for i, s := range states {
		if !ends[i] && !failed(s) {
			t.Fatalf("no end can be reached from %v%s", s, trace(i))
		}
	}
	t.Logf("%d states", len(states))
}

func TestStateSpace(t *testing.T) {
	explore(t, world{},
		func(w world, visit func(string, world)) error { return w.next(visit) },
		func(w world) error { return w.check() },
		func(w world) bool { return w.over() }, func(w world) bool { return w.down })
}
