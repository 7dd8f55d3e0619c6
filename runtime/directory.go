package runtime

import (
	"sync"

	"rmemrun/rmem"
)

// A directory finds segments by node and name. It is the rmem.Directory of nodes that run in this process.
type directory struct {
	mu       sync.Mutex
	gone     []bool // by node
	records  map[key]rmem.Record
	watchers map[*watcher]struct{}
}

// A key is what a segment is found by.
type key struct {
	node int
	name string
}

// A watcher waits for one segment to be published, or its node to leave.
type watcher struct {
	key
	wake func()
}

func newDirectory(nodes int) *directory {
	return &directory{
		gone:     make([]bool, nodes),
		records:  make(map[key]rmem.Record),
		watchers: make(map[*watcher]struct{}),
	}
}

// Publish makes a segment known. It returns EEXIST if the node has one of that name, EDOWN if the node has left.
func (d *directory) Publish(node int, name string, r rmem.Record) rmem.Error {
	d.mu.Lock()
	k := key{node, name}
	if d.gone[node] {
		d.mu.Unlock()
		return rmem.EDOWN
	}
	if _, taken := d.records[k]; taken {
		d.mu.Unlock()
		return rmem.EEXIST
	}
	d.records[k] = r
	woken := d.take(func(w *watcher) bool { return w.key == k })
	d.mu.Unlock()
	wake(woken)
	return rmem.OK
}

// Withdraw makes a segment unknown. Those who imported it are not told.
func (d *directory) Withdraw(node int, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, key{node, name})
}

// Lookup finds a segment. It returns EDOWN if the node has left, ENOENT if it has none of that name.
func (d *directory) Lookup(node int, name string) (rmem.Record, rmem.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone[node] {
		return rmem.Record{}, rmem.EDOWN
	}
	r, ok := d.records[key{node, name}]
	if !ok {
		return rmem.Record{}, rmem.ENOENT
	}
	return r, rmem.OK
}

// Watch calls fn once, from any goroutine, when the node has published a segment of that name or has left: at once if that
// is so already. It does not call fn after cancel has returned, unless the call had begun.
func (d *directory) Watch(node int, name string, fn func()) (cancel func()) {
	w := &watcher{key{node, name}, fn}
	d.mu.Lock()
	_, published := d.records[w.key]
	if published || d.gone[node] {
		d.mu.Unlock()
		fn()
		return func() {}
	}
	d.watchers[w] = struct{}{}
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, w)
	}
}

// Leave takes a node out, with all that it published. It can be called again.
func (d *directory) Leave(node int) {
	d.mu.Lock()
	if d.gone[node] {
		d.mu.Unlock()
		return
	}
	d.gone[node] = true
	for k := range d.records {
		if k.node == node {
			delete(d.records, k)
		}
	}
	woken := d.take(func(w *watcher) bool { return w.node == node })
	d.mu.Unlock()
	wake(woken)
}

// take removes and returns the watchers that match. d.mu is held.
func (d *directory) take(match func(*watcher) bool) []*watcher {
	var taken []*watcher
	for w := range d.watchers {
		if match(w) {
			taken = append(taken, w)
			delete(d.watchers, w)
		}
	}
	return taken
}

// wake calls the watchers. It must be called without the directory's lock: they look things up again.
func wake(ws []*watcher) {
	for _, w := range ws {
		w.wake()
	}
}
