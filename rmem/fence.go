package rmem

import "slices"

// A fence waits, in the list of one circuit, for the answers to what was issued before it.
type fence struct {
	waiting
	target uint64
}

// fence lets w wait for what has been issued so far; false: all of that is answered.
func (c *initiator) fence(w waiting) bool {
	c.replies.Lock()
	defer c.replies.Unlock()
	if c.answered == c.issued {
		return false
	}
	c.fences = append(c.fences, fence{w, c.issued})
	return true
}

// release lets those go on who waited for what has been answered meanwhile.
// It takes locks of other circuits and is called without this one's.
func (c *initiator) release() {
	for {
		c.replies.Lock()
		if len(c.fences) == 0 || c.fences[0].target > c.answered {
			c.replies.Unlock()
			return
		}
		w := c.fences[0].waiting
		c.fences = slices.Delete(c.fences, 0, 1)
		c.replies.Unlock()
		c.space.reached(w)
	}
}

// record keeps the error of request seq for the next fence, or of an earlier one that is there already. c.replies is held.
func (c *initiator) record(e Error, seq uint64) {
	switch {
	case e == OK:
	case c.err == OK:
		c.err, c.errSeq, c.errTime = e, seq, c.space.clock.Add(1)
	case seq < c.errSeq: // its reply was overtaken
		c.err, c.errSeq = e, seq
	}
	c.tell()
}

// take takes the error that is to be reported.
func (c *initiator) take() Error {
	c.replies.Lock()
	defer c.replies.Unlock()
	e := c.err
	c.err = OK
	c.tell()
	return e
}

// putBack keeps an error that was taken and could not be reported.
func (c *initiator) putBack(e Error) {
	c.replies.Lock()
	defer c.replies.Unlock()
	c.record(e, 0)
}

// quiet reports whether all that was issued is answered, and takes the error to be reported if so.
func (c *initiator) quiet() (Error, bool) {
	c.replies.Lock()
	defer c.replies.Unlock()
	if c.answered < c.issued {
		return OK, false
	}
	e := c.err
	c.err = OK
	c.tell()
	return e, true
}

// await lets o, a fence or a release, which has begun, wait for what the circuits have issued.
func (s *Space) await(o *Operation, use uint64, circuits ...*initiator) {
	w := waiting{o, use}
	o.parked = s
	o.left = len(circuits) + 1 // one for this call, so that it does not end before all are asked
	for _, c := range circuits {
		if !c.fence(w) {
			s.reached(w)
		}
	}
	s.reached(w)
	o.settle(use)
}

// reached says that one of the circuits that w waits for has answered.
func (s *Space) reached(w waiting) {
	w.o.mu.Lock()
	if !w.o.is(w.use) {
		w.o.mu.Unlock()
		return
	}
	w.o.left--
	left, b := w.o.left, w.o.barrier
	w.o.mu.Unlock()
	switch {
	case left > 0:
	case b.release:
		s.released(w, b.d)
	default:
		s.fenced(w, b.d)
	}
}

// A barrier is what a fence or a release is for.
type barrier struct {
	d       Desc
	release bool
}

// fenced finishes a fence with the error that has waited longest.
func (s *Space) fenced(w waiting, d Desc) {
	circuits := s.circuits()
	if d != Every {
		c := s.descriptors.get(int32(d))
		if c == nil { // released meanwhile: who did so gets the error
			w.o.complete(w.use, EDESC, nil)
			return
		}
		circuits = []*initiator{c}
	}
	var oldest *initiator
	var first uint64
	for _, c := range circuits {
		if e, time := c.pending(); e != OK && (oldest == nil || time < first) {
			oldest, first = c, time
		}
	}
	e := OK
	if oldest != nil {
		e = oldest.take()
	}
	if !w.o.complete(w.use, e, nil) && e != OK {
		oldest.putBack(e)
	}
}

// pending is the error that is to be reported, and when it came.
func (c *initiator) pending() (Error, uint64) {
	c.replies.Lock()
	defer c.replies.Unlock()
	return c.err, c.errTime
}

// released gives a descriptor back and finishes its release.
func (s *Space) released(w waiting, d Desc) {
	c := s.descriptors.remove(int32(d))
	if c == nil { // somebody else was faster
		w.o.complete(w.use, EDESC, nil)
		return
	}
	if e := c.discard(); !w.o.complete(w.use, e, nil) {
		s.unreported(c, e)
	}
}

// discard ends a circuit that has no descriptor any more, and returns the error that no fence has reported.
func (c *initiator) discard() Error {
	c.shut(EDESC, closed)
	e := c.take()
	c.node.hangUp(c)
	return e
}

// unreported says in the log what nobody can be told any more.
func (s *Space) unreported(c *initiator, e Error) {
	if e != OK {
		s.node.log.Warn("an error that no fence asked for: something sent through this descriptor was refused or lost",
			"node", s.node.id, "segment", c.name, "of", c.peer.number, "error", e.Name(), "meaning", e.Error())
	}
}

// forget is a parker's.
func (s *Space) forget(o *Operation, use uint64) {
	for _, c := range s.circuits() {
		c.forget(o, use)
	}
}

func (s *Space) circuits() (list []*initiator) {
	for _, h := range s.descriptors.all() {
		list = append(list, h.thing)
	}
	return list
}
