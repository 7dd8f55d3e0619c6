package runtime

import (
	"slices"
	"sync"

	"rmemrun/rmem"
	"rmemrun/trap"
)

// Commons are the segments of nodes that can map each other's memory: those of one rmemrun whose links take no time. A node
// that has a network that is emulated, or another rmemrun, between it and the others, has commons of its own.
//
// What a segment's owner does and what its importers do happens on the threads of different engines. None of them ever waits for
// another: the owner that revokes a segment has its mappings revoked, and sleeps until they are.
//
//	       Map begins          Map ends
//	(none) ──────────▶ made ─────────────▶ live ──┬─ unmap, release, end of the importer ──▶ (none)
//	                     │                        │
//	                     └── revoked meanwhile ───┴─ revoke ──▶ being revoked ──▶ (none)
type commons struct {
	mu       sync.Mutex
	members  map[int]bool // nodes
	segments map[address]*common
}

// An address is where a segment is: by what its importers know it.
type address struct {
	node   int
	record rmem.Record
}

// A common is a segment that can be mapped. Its fields but shared are guarded by commons.mu.
type common struct {
	shared    *trap.Shared
	inhibited bool
	revoked   bool
	views     map[*view]struct{}
	empty     func() // called when it is revoked and the last view is gone
}

// A view is a mapping of a common in an importer.
type view struct {
	of      *common
	desc    rmem.Desc
	mapping *trap.Mapping // nil while it is made
}

func newCommons() *commons {
	return &commons{members: map[int]bool{}, segments: map[address]*common{}}
}

// join makes a node a member.
func (k *commons) join(node int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.members[node] = true
}

// add makes a segment one that can be mapped. k.mu is held.
func (k *commons) add(p address, shared *trap.Shared) {
	k.segments[p] = &common{shared: shared, views: map[*view]struct{}{}}
}

// inhibit refuses mappings to be written from now on, or not. Those that there are stay.
func (k *commons) inhibit(p address, on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.segments[p]; c != nil {
		c.inhibited = on
	}
}

// begin begins a mapping of length bytes at an offset of a segment.
func (k *commons) begin(p address, d rmem.Desc, off, length uint64, write bool) (*view, rmem.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.segments[p]
	switch {
	case !k.members[p.node]:
		return nil, rmem.EINVAL
	case c == nil:
		return nil, rmem.ESTALE
	case write && c.inhibited:
		return nil, rmem.EINHIBIT
	case (c.shared.Addr()+off)%mappingUnit != 0:
		return nil, rmem.EALIGN
	}
	v := &view{of: c, desc: d}
	c.views[v] = struct{}{}
	return v, rmem.OK
}

// made ends the making of a mapping, nil if it could not be made. It returns false if the segment was revoked meanwhile:
// then the mapping has to be taken away again, and end called.
func (k *commons) made(v *view, m *trap.Mapping) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	v.mapping = m
	return !v.of.revoked
}

// end takes note that nobody can reach the segment by a view any more.
func (k *commons) end(v *view) {
	k.mu.Lock()
	c := v.of
	_, there := c.views[v]
	delete(c.views, v)
	empty := c.empty
	last := there && c.revoked && len(c.views) == 0
	k.mu.Unlock()
	if last && empty != nil {
		empty()
	}
}

// revoke takes a segment away from whoever has mapped it. Empty is called when that is done, unless none returns true: that
// nobody has.
func (k *commons) revoke(p address, empty func()) (none bool) {
	k.mu.Lock()
	c := k.segments[p]
	if c == nil {
		k.mu.Unlock()
		return true
	}
	delete(k.segments, p)
	c.revoked, c.empty = true, empty
	none = len(c.views) == 0
	var live []*view
	for v := range c.views {
		if v.mapping != nil { // else who makes it sees that it is revoked
			live = append(live, v)
		}
	}
	k.mu.Unlock()
	for _, v := range live {
		v.mapping.Revoke(func() { k.end(v) })
	}
	return none
}

// without returns views without one.
func without(views []*view, v *view) []*view {
	return slices.DeleteFunc(views, func(w *view) bool { return w == v })
}
