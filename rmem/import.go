package rmem

import "sync"

// An importing is an Import under way.
//
//	         ENOENT                 found                  granted
//	look up --------> watch    --------------> connecting ---------> (descriptor)
//	   ^                |         look up           |
//	   |   published,   |                           |  ESTALE: revoked since it was looked up
//	   |   node left    |                           |
//	   +----------------+---------------------------+
type importing struct {
	space  *Space
	o      *Operation
	use    uint64
	name   string
	node   int
	rights Rights
	wait   bool

	mu         sync.Mutex
	connecting bool
	over       bool
	unwatch    func()     // nil: not watching
	circuit    *initiator // while connecting
	handle     int32      // the result
}

// try looks the segment up and connects to it, or waits for it.
func (im *importing) try() {
	im.mu.Lock()
	if im.over || im.connecting {
		im.mu.Unlock()
		return
	}
	im.stopWatching()
	d := im.space.node.directory
	r, e := d.Lookup(im.node, im.name)
	if e == ENOENT && im.wait {
		// It may call wake at once: not on this goroutine, which holds the lock.
		im.unwatch = d.Watch(im.node, im.name, func() { go im.try() })
		im.mu.Unlock()
		return
	}
	if e == OK {
		im.circuit, e = im.space.newInitiator(im)
	}
	if e != OK {
		im.mu.Unlock()
		im.finish(e)
		return
	}
	im.connecting = true
	c := im.circuit
	c.reaches = r
	im.mu.Unlock()
	im.space.node.call(im, message{
		op: OpConnect, segment: r.Segment, generation: r.Generation,
		rights: im.rights, remote: c.remote, origin: c.vc, mark: c.mine,
	})
}

// to is a call's.
func (im *importing) to() int { return im.node }

// replied is a call's.
func (im *importing) replied(m *message, e Error) {
	im.mu.Lock()
	c := im.circuit
	im.circuit, im.connecting = nil, false
	im.mu.Unlock()
	if e != OK {
		im.space.node.forgo(c)
		switch {
		case e != ESTALE:
			im.finish(e)
		case im.wait:
			go im.try() // not here: the next reply would come within this one
		default:
			im.finish(ENOENT)
		}
		return
	}
	c.rights, c.size = m.rights, m.length
	c.replies.Lock() // a misinserted cell may be looked at just now
	c.theirs = m.mark
	c.replies.Unlock()
	if c.rights&im.rights != im.rights || c.size == 0 || c.size > MaxSegment {
		im.space.node.hangUp(c)
		im.finish(EDOWN)
		return
	}
	handle, ok := im.space.descriptors.add(c)
	if !ok {
		im.space.node.hangUp(c)
		im.finish(ENOSPC)
		return
	}
	im.handle = handle
	if !im.finish(OK) { // cancelled
		im.space.descriptors.remove(handle)
		im.space.node.hangUp(c)
	}
}

// give is a giver's.
func (im *importing) give(o *Operation) { o.handle = im.handle }

// finish ends the import; false: it was cancelled before.
func (im *importing) finish(e Error) bool {
	im.mu.Lock()
	im.over = true
	im.stopWatching()
	im.mu.Unlock()
	return im.o.complete(im.use, e, im)
}

// forget is a parker's: nobody waits for the import any more.
func (im *importing) forget(*Operation, uint64) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.over = true
	im.stopWatching()
}

// stopWatching. im.mu is held.
func (im *importing) stopWatching() {
	if im.unwatch != nil {
		im.unwatch()
		im.unwatch = nil
	}
}
