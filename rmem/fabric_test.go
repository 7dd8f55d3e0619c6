package rmem

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"rmemrun/atm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fabric joins nodes by memory: what is sent is received before Send
// returns, or, if it is queued, later on a goroutine of its own.
type fabric struct {
	nodes  []*Node
	ports  []*port
	names  *names
	queued bool
	whole  bool // blocks stay whole
	stop   sync.WaitGroup
}

// A port is one node's Network.
type port struct {
	f      *fabric
	id     int
	routes [4096]atomic.Pointer[route] // by VCI
	mu     sync.Mutex
	free   []uint16
	next   uint16
	// tamper, if set, sees every cell that leaves; false: it is lost.
	tamper func(c *atm.Cell) bool
	// sight, if set, sees every frame that leaves; false: it is lost.
	sight func(f *atm.Frame) bool
	limit uint16
	// carry, if set, carries the cells in place of the fabric, by calling deliver.
	carry func(c *atm.Cell)

	queue  []atm.Cell // however many there are
	more   *sync.Cond // on mu
	closed bool
}

type route struct {
	to   *port
	peer int
	vc   uint16
	user bool
}

func newFabric(t testing.TB, nodes int, options ...func(*fabric, *Config)) *fabric {
	f := &fabric{names: newNames()}
	for i := range nodes {
		f.ports = append(f.ports, &port{f: f, id: i, next: uint16(atm.FirstUserVCI + nodes), limit: 4094})
		f.ports[i].more = sync.NewCond(&f.ports[i].mu)
	}
	for i, p := range f.ports {
		for j, q := range f.ports {
			p.routes[ControlVCI(j)].Store(&route{to: q, peer: j, vc: ControlVCI(i)})
		}
	}
	for i := range nodes {
		cfg := Config{ID: i, Nodes: nodes, Network: f.ports[i], Directory: f.names}
		for _, o := range options {
			o(f, &cfg)
		}
		f.nodes = append(f.nodes, New(cfg))
	}
	if f.queued {
		for _, p := range f.ports {
			f.stop.Go(p.run)
		}
	}
	if t != nil { // else the caller closes it
		t.Helper()
		t.Cleanup(f.close)
	}
	return f
}

func (f *fabric) close() {
	for _, n := range f.nodes {
		n.Close()
	}
	if f.queued {
		for _, p := range f.ports {
			p.mu.Lock()
			p.closed = true
			p.more.Signal()
			p.mu.Unlock()
		}
		f.stop.Wait()
	}
}

func queued(f *fabric, _ *Config) { f.queued = true }

func whole(f *fabric, _ *Config) { f.whole = true }

func observed(o Observer) func(*fabric, *Config) {
	return func(_ *fabric, c *Config) { c.Observer = o }
}

func logged(l hclog.Logger) func(*fabric, *Config) {
	return func(_ *fabric, c *Config) { c.Log = l }
}

func (p *port) take() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next < p.limit {
		p.next += 2
		return p.next - 2, true
	}
	if len(p.free) == 0 {
		return 0, false
	}
	v := p.free[0] // the one that has rested longest: cells of its last circuit may be under way
	p.free = p.free[1:]
	return v, true
}

func (p *port) give(v uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, v)
}

func (p *port) Open(peer int) (local, remote atm.VC, err error) {
	q := p.f.ports[peer]
	l, ok := p.take()
	if !ok {
		return local, remote, fmt.Errorf("no VCs left")
	}
	r, ok := q.take()
	if !ok {
		p.give(l)
		return local, remote, fmt.Errorf("no VCs left")
	}
	for i := range uint16(2) {
		p.routes[l+i].Store(&route{q, peer, r + i, i == 0})
		q.routes[r+i].Store(&route{p, p.id, l + i, i == 0})
	}
	return atm.VC{VCI: l}, atm.VC{VCI: r}, nil
}

func (p *port) Close(local atm.VC) {
	r := p.routes[local.VCI].Load()
	for i := range uint16(2) {
		p.routes[local.VCI+i].Store(nil)
		r.to.routes[r.vc+i].Store(nil)
	}
	p.give(local.VCI)
	r.to.give(r.vc)
}

func (p *port) Peer(local atm.VC) (int, bool) {
	if local.VPI != 0 || int(local.VCI) >= len(p.routes) {
		return 0, false
	}
	if r := p.routes[local.VCI].Load(); r != nil && r.user {
		return r.peer, true
	}
	return 0, false
}

func (p *port) Send(c *atm.Cell) {
	if p.tamper != nil && !p.tamper(c) {
		return
	}
	if p.carry != nil {
		p.carry(c)
		return
	}
	if !p.f.queued {
		p.deliver(c)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, *c)
	p.more.Signal()
}

// Frames is a FrameNetwork's.
func (p *port) Frames(atm.VC) bool { return p.f.whole }

func (p *port) SendFrame(f *atm.Frame) {
	if p.sight != nil && !p.sight(f) {
		return
	}
	if r := p.routes[f.VC.VCI].Load(); r != nil {
		f.VC.VCI = r.vc
		p.f.nodes[r.to.id].ReceiveFrame(f)
	}
}

// run delivers what is queued.
func (p *port) run() {
	var cells []atm.Cell
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.more.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return
		}
		cells, p.queue = p.queue, cells[:0]
		p.mu.Unlock()
		for i := range cells {
			p.deliver(&cells[i])
		}
	}
}

func (p *port) deliver(c *atm.Cell) {
	h, ok := c.Header()
	r := p.routes[h.VC.VCI].Load()
	if r == nil {
		return
	}
	h.VC.VCI = r.vc
	hec := c[4]
	c.SetHeader(h)
	if !ok {
		c[4] = hec ^ c[4] | 1 // still wrong
	}
	p.f.nodes[r.to.id].Receive(c)
}

// names is a Directory in memory.
type names struct {
	mu      sync.Mutex
	records map[string]Record
	watches map[*watch]struct{}
	left    map[int]bool
}

type watch struct {
	node int
	name string
	wake func()
}

func newNames() *names {
	return &names{records: map[string]Record{}, watches: map[*watch]struct{}{}, left: map[int]bool{}}
}

func nameKey(node int, name string) string { return fmt.Sprint(node, "/", name) }

func (d *names) Publish(node int, name string, r Record) Error {
	d.mu.Lock()
	k := nameKey(node, name)
	if _, ok := d.records[k]; ok {
		d.mu.Unlock()
		return EEXIST
	}
	d.records[k] = r
	woken := d.match(func(w *watch) bool { return w.node == node && w.name == name })
	d.mu.Unlock()
	for _, w := range woken {
		w.wake()
	}
	return OK
}

func (d *names) Withdraw(node int, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, nameKey(node, name))
}

func (d *names) Lookup(node int, name string) (Record, Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left[node] {
		return Record{}, EDOWN
	}
	if r, ok := d.records[nameKey(node, name)]; ok {
		return r, OK
	}
	return Record{}, ENOENT
}

func (d *names) Watch(node int, name string, wake func()) func() {
	w := &watch{node, name, wake}
	if _, e := d.Lookup(node, name); e != ENOENT {
		wake()
		return func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.records[nameKey(node, name)]; ok || d.left[node] {
		wake()
	}
	d.watches[w] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watches, w)
	}
}

func (d *names) leave(node int) {
	d.mu.Lock()
	d.left[node] = true
	woken := d.match(func(w *watch) bool { return w.node == node })
	d.mu.Unlock()
	for _, w := range woken {
		w.wake()
	}
}

func (d *names) match(f func(*watch) bool) (list []*watch) {
	for w := range d.watches {
		if f(w) {
			list = append(list, w)
			delete(d.watches, w)
		}
	}
	return list
}

// down takes a node out of the fabric.
func (f *fabric) down(node int) {
	f.names.leave(node)
	for i, n := range f.nodes {
		if i != node {
			n.PeerDown(node)
		}
	}
}

// mem is a guest's buffer: a source, a destination, or a fault.
type mem []byte

func (m mem) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) {
		return 0, errFault
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, errFault
	}
	return n, nil
}

func (m mem) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) || len(p) > len(m)-int(off) {
		return 0, errFault
	}
	return copy(m[off:], p), nil
}

var errFault = fmt.Errorf("not mapped")

// An op is an Operation whose test can wait for it.
type op struct {
	Operation
	woken chan struct{}
}

func newOp() *op {
	o := &op{woken: make(chan struct{}, 1)}
	o.Wake = func() { o.woken <- struct{}{} }
	return o
}

// result waits for the operation.
func (o *op) result() Error {
	if !o.Done() {
		<-o.woken
	}
	return o.Result()
}

// do runs an operation to its end.
func do(begin func(*Operation)) (Error, *op) {
	o := newOp()
	begin(&o.Operation)
	return o.result(), o
}

func mustExport(t testing.TB, s *Space, name string, m []byte, r Rights) Seg {
	t.Helper()
	seg, e := s.Export(name, m, r)
	if e != OK {
		t.Fatalf("export %q: %v", name, e)
	}
	return seg
}

func mustImport(t testing.TB, s *Space, name string, node int, r Rights) Desc {
	t.Helper()
	e, o := do(func(o *Operation) { s.Import(o, name, node, r, true) })
	if e != OK {
		t.Fatalf("import %q of node %d: %v", name, node, e)
	}
	return Desc(o.Handle())
}

func written(s *Space, d Desc, off uint64, data []byte) Error {
	e, _ := do(func(o *Operation) { s.Write(o, d, off, mem(data), uint64(len(data)), 1, false) })
	return e
}

func readBack(s *Space, d Desc, off uint64, data []byte) Error {
	e, _ := do(func(o *Operation) { s.Read(o, d, off, mem(data), uint64(len(data)), 1, false) })
	return e
}

func fenced(s *Space, d Desc) Error {
	e, _ := do(func(o *Operation) { s.Fence(o, d) })
	return e
}

// A pair is two nodes, each with a space; a exports nothing, b exports "seg".
type pair struct {
	f    *fabric
	a, b *Space
	mem  []byte
	seg  Seg
	d    Desc
}

func newPair(t testing.TB, size int, r Rights, options ...func(*fabric, *Config)) *pair {
	t.Helper()
	f := newFabric(t, 2, options...)
	p := &pair{f: f, a: f.nodes[0].NewSpace(), b: f.nodes[1].NewSpace(), mem: make([]byte, size)}
	p.seg = mustExport(t, p.b, "seg", p.mem, r)
	p.d = mustImport(t, p.a, "seg", 1, r&access)
	return p
}
