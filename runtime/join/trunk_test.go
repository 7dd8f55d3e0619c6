package join

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/atm/link"
	"rmemrun/rmem"
)

// names is a directory, and a Site that notes which nodes have left.
type names struct {
	mu      sync.Mutex
	records map[record]rmem.Record
	gone    map[int]bool
	ended   []int // nodes, in the order in which it was told so
	watches map[*watch]bool
	left    func(node int)
}

type watch struct {
	record
	wake func()
}

func newNames() *names {
	return &names{records: map[record]rmem.Record{}, gone: map[int]bool{}, watches: map[*watch]bool{}}
}

func (d *names) Publish(node int, name string, r rmem.Record) rmem.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.records[record{node, name}]; ok {
		return rmem.EEXIST
	}
	d.records[record{node, name}] = r
	d.wake(func(w *watch) bool { return w.record == record{node, name} })
	return rmem.OK
}

func (d *names) wake(match func(*watch) bool) {
	for w := range d.watches {
		if match(w) {
			delete(d.watches, w)
			go w.wake()
		}
	}
}

func (d *names) Withdraw(node int, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, record{node, name})
}

func (d *names) Lookup(node int, name string) (rmem.Record, rmem.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone[node] {
		return rmem.Record{}, rmem.EDOWN
	}
	if r, ok := d.records[record{node, name}]; ok {
		return r, rmem.OK
	}
	return rmem.Record{}, rmem.ENOENT
}

func (d *names) Watch(node int, name string, wake func()) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &watch{record{node, name}, wake}
	if _, ok := d.records[w.record]; ok || d.gone[node] {
		go wake()
		return func() {}
	}
	d.watches[w] = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watches, w)
	}
}

func (d *names) Ended(node int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, node)
}

func (d *names) Left(node int) {
	d.mu.Lock()
	d.gone[node] = true
	d.wake(func(w *watch) bool { return w.node == node })
	d.mu.Unlock()
	d.left(node)
}

// A process is one of two, with its nodes.
type process struct {
	trunk *Trunk
	names *names
	nodes []*rmem.Node
	space []*rmem.Space
}

// A plant is the network within a process: one switch, its nodes numbered from 0, control circuits as the runtime's.
type plant struct {
	mu       sync.Mutex
	sw       *atm.Switch
	circuits map[portVC]portVC
	next     uint16
}

type plantPort struct {
	*plant
	id int
}

func newPlant(t testing.TB, nodes int) *plant {
	p := &plant{sw: atm.NewSwitch(nodes), circuits: map[portVC]portVC{}, next: uint16(atm.FirstUserVCI+nodes+1) &^ 1}
	return p
}

// control sets the control circuits up, when all ports are attached.
func (p *plant) control(t testing.TB) {
	for i := range p.sw.Ports() {
		for j := range p.sw.Ports() {
			if err := p.sw.Connect(i, atm.VC{VCI: rmem.ControlVCI(j)}, j, atm.VC{VCI: rmem.ControlVCI(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (p plantPort) Send(c *atm.Cell) { p.sw.Port(p.id).Receive(c) }

func (p plantPort) Open(peer int) (local, remote atm.VC, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if peer < 0 || peer >= p.sw.Ports() {
		return local, remote, fmt.Errorf("no node %d", peer)
	}
	local, remote = atm.VC{VCI: p.next}, atm.VC{VCI: p.next + 2}
	p.next += 4
	for i := range uint16(2) {
		if err := errors.Join(p.sw.Connect(p.id, next(local, i), peer, next(remote, i)), p.sw.Connect(peer, next(remote, i), p.id, next(local, i))); err != nil {
			return local, remote, err
		}
	}
	p.circuits[portVC{p.id, local}], p.circuits[portVC{peer, remote}] = portVC{peer, remote}, portVC{p.id, local}
	return local, remote, nil
}

func (p plantPort) Close(local atm.VC) {
	p.mu.Lock()
	defer p.mu.Unlock()
	other, ok := p.circuits[portVC{p.id, local}]
	if !ok {
		return
	}
	delete(p.circuits, portVC{p.id, local})
	delete(p.circuits, other)
	for i := range uint16(2) {
		p.sw.Disconnect(p.id, next(local, i))
		p.sw.Disconnect(other.node, next(other.vc, i))
	}
}

func (p plantPort) Peer(local atm.VC) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	other, ok := p.circuits[portVC{p.id, local}]
	return other.node, ok
}

// start gives a trunk its nodes.
func start(t testing.TB, trunk *Trunk, nodes int) *process {
	t.Helper()
	p := &process{trunk: trunk, names: newNames()}
	p.names.left = func(node int) {
		for _, n := range p.nodes {
			n.PeerDown(node)
		}
	}
	directory := trunk.Directory(p.names)
	local := newPlant(t, nodes)
	for i := range nodes {
		id := trunk.First() + i
		port, err := trunk.Port(id, plantPort{local, i})
		if err != nil {
			t.Fatal(err)
		}
		n := rmem.New(rmem.Config{ID: id, Nodes: trunk.Total(), Network: port, Directory: directory, Log: hclog.NewNullLogger()})
		port.Attach(n)
		if err := local.sw.Attach(i, port); err != nil {
			t.Fatal(err)
		}
		p.nodes = append(p.nodes, n)
		p.space = append(p.space, n.NewSpace())
	}
	local.control(t)
	if err := trunk.Start(p.names); err != nil {
		t.Fatal(err)
	}
	return p
}

// end ends a process as one whose guests have ended.
func (p *process) end(t testing.TB) {
	for i, n := range p.nodes {
		p.space[i].Close()
		n.Close()
		p.trunk.Leave(p.trunk.First() + i)
	}
	if err := p.trunk.Close(); err != nil {
		t.Error(err)
	}
}

// config is what both processes have in common.
func config(addr string, nodes int) Config {
	return Config{Address: addr, Secret: []byte("secret"), Nodes: nodes, MaxNodes: 1024, Clock: atm.NewRealClock(), Log: hclog.NewNullLogger()}
}

// join joins two processes of so many nodes.
func join(t testing.TB, form string, here, there int) (a, b *process) {
	t.Helper()
	return joinBy(t, form, here, there, func(addr string) string { return addr })
}

// joinBy is join with a caller who calls the address that by makes of the listener's.
func joinBy(t testing.TB, form string, here, there int, by func(addr string) string) (a, b *process) {
	t.Helper()
	return joinLogged(t, form, here, there, by, hclog.NewNullLogger())
}

// joinLogged is joinBy with a log for the listener.
func joinLogged(t testing.TB, form string, here, there int, by func(addr string) string, log hclog.Logger) (a, b *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at := make(chan string, 1)
	cfg := config(form+"://127.0.0.1:0", here)
	cfg.Listening, cfg.Log = func(addr string) { at <- addr }, log
	listened := make(chan error, 1)
	var listener *Trunk
	go func() {
		var err error
		listener, err = Listen(ctx, cfg)
		listened <- err
	}()
	select {
	case addr := <-at:
		caller, err := Dial(ctx, config(by(addr), there))
		if err != nil {
			t.Fatal(err)
		}
		if err := <-listened; err != nil {
			t.Fatal(err)
		}
		return start(t, listener, here), start(t, caller, there)
	case err := <-listened:
		t.Fatal(err)
	}
	return nil, nil
}

// do begins an operation and waits for its end.
func do(t testing.TB, begin func(o *rmem.Operation)) (rmem.Error, *rmem.Operation) {
	t.Helper()
	woken := make(chan struct{}, 1)
	o := &rmem.Operation{Wake: func() { woken <- struct{}{} }}
	begin(o)
	if !o.Done() {
		select {
		case <-woken:
		case <-time.After(20 * time.Second):
			t.Fatal("an operation has not ended within 20 s")
		}
	}
	return o.Result(), o
}

// memory is a guest's.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// exchange has node from write to, read from and count at node to.
func exchange(t testing.TB, from, to *process, i, j int, size int) {
	t.Helper()
	const all = rmem.Read | rmem.Write | rmem.Atomic
	name := fmt.Sprint("of ", to.trunk.First()+j, " for ", from.trunk.First()+i)
	mem := make([]byte, size)
	imported := make(chan struct{})
	var d rmem.Desc
	go func() { // waits for the name
		defer close(imported)
		e, o := do(t, func(o *rmem.Operation) { from.space[i].Import(o, name, to.trunk.First()+j, all, true) })
		if e != rmem.OK {
			t.Errorf("import: %v", e)
			return
		}
		d = rmem.Desc(o.Handle())
	}()
	seg, e := to.space[j].Export(name, mem, all)
	if e != rmem.OK {
		t.Fatalf("export: %v", e)
	}
	<-imported
	if t.Failed() {
		return
	}
	data := make([]byte, size)
	for k := range data {
		data[k] = byte(rand.IntN(256))
	}
	for _, step := range []struct {
		what  string
		begin func(o *rmem.Operation)
	}{
		{"write", func(o *rmem.Operation) { from.space[i].Write(o, d, 0, memory(data), uint64(size), 1, false) }},
		{"fence", func(o *rmem.Operation) { from.space[i].Fence(o, d) }},
	} {
		if e, _ := do(t, step.begin); e != rmem.OK {
			t.Fatalf("%s: %v", step.what, e)
		}
	}
	back := make(memory, size)
	if e, _ := do(t, func(o *rmem.Operation) { from.space[i].Read(o, d, 0, back, uint64(size), 1, false) }); e != rmem.OK {
		t.Fatalf("read: %v", e)
	}
	if !bytes.Equal(back, data) {
		t.Error("what is there was not read")
	}
	if e, o := do(t, func(o *rmem.Operation) { from.space[i].FAdd(o, d, 0, 8, 1, false) }); e != rmem.OK || o.Old() != binary.LittleEndian.Uint64(data) {
		t.Errorf("fetch and add: %v, found %x", e, o.Old())
	}
	if e, _ := do(t, func(o *rmem.Operation) { from.space[i].Release(o, d) }); e != rmem.OK {
		t.Errorf("release: %v", e)
	}
	if e := to.space[j].Revoke(seg); e != rmem.OK { // from then on the memory is ours alone
		t.Errorf("revoke: %v", e)
	}
	binary.LittleEndian.PutUint64(data, binary.LittleEndian.Uint64(data)+1)
	if !bytes.Equal(mem, data) {
		t.Error("what was written is not there")
	}
}

// Every node of the one process writes, reads and counts at every node of the other, both ways.
func TestJoin(t *testing.T) {
	for _, form := range []string{"udp", "bare", "tcp"} {
		t.Run(form, func(t *testing.T) {
			a, b := join(t, form, 2, 3)
			defer a.end(t)
			defer b.end(t)
			if a.trunk.First() != 0 || b.trunk.First() != 2 || a.trunk.Total() != 5 || b.trunk.Total() != 5 {
				t.Fatalf("nodes from %d and %d of %d and %d", a.trunk.First(), b.trunk.First(), a.trunk.Total(), b.trunk.Total())
			}
			for i := range 2 {
				for j := range 3 {
					exchange(t, a, b, i, j, 40)
					exchange(t, b, a, j, i, 3000)
				}
			}
			for _, p := range []*process{a, b} { // and within each process, to others and to itself
				exchange(t, p, p, 0, 1, 40)
				exchange(t, p, p, 1, 0, 3000)
				exchange(t, p, p, 1, 1, 100)
			}
			for _, p := range []*process{a, b} {
				if c := p.trunk.Link().Counters(); c.Lost+c.Late+c.Malformed+c.BadHEC+c.Overflow+c.Unsent != 0 {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// What a node withdraws is not found, nor is what a node had that left; who waits for it hears EDOWN.
// The end of a guest is told once, by itself or with the end of its node, which until then answers.
func TestEnded(t *testing.T) {
	a, b := join(t, "udp", 1, 2)
	defer a.end(t)
	defer b.end(t)
	if _, e := b.space[0].Export("s", make([]byte, 8), rmem.Read); e != rmem.OK {
		t.Fatal(e)
	}
	_, o := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "s", 1, rmem.Read, true) })
	d := rmem.Desc(o.Handle())
	ended := func() string {
		a.names.mu.Lock()
		defer a.names.mu.Unlock()
		return fmt.Sprint(a.names.ended)
	}
	b.trunk.Ended(1)
	b.trunk.Ended(1)
	eventually(t, "the guest of node 1 has ended", func() bool { return ended() == "[1]" })
	if e, _ := do(t, func(o *rmem.Operation) { a.space[0].Read(o, d, 0, make(memory, 8), 8, 1, false) }); e != rmem.OK {
		t.Errorf("read from a node whose guest has ended, and which has not left: %v", e)
	}
	b.trunk.Leave(2)
	b.trunk.Leave(1)
	eventually(t, "both have ended", func() bool { return ended() == "[1 2]" })
}

func TestLeave(t *testing.T) {
	a, b := join(t, "udp", 1, 2)
	defer a.end(t)
	defer b.end(t)
	seg, e := b.space[0].Export("s", make([]byte, 8), rmem.Read)
	if e != rmem.OK {
		t.Fatal(e)
	}
	_, o := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "s", 1, rmem.Read, true) })
	d := rmem.Desc(o.Handle())
	if e := b.space[0].Revoke(seg); e != rmem.OK {
		t.Fatal(e)
	}
	eventually(t, "the name is unknown", func() bool {
		e, _ := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "s", 1, rmem.Read, false) })
		return e == rmem.ENOENT
	})
	waits := make(chan rmem.Error, 1)
	go func() {
		e, _ := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "t", 1, rmem.Read, true) })
		waits <- e
	}()
	b.space[0].Close()
	b.nodes[0].Close()
	b.trunk.Leave(1)
	if e := <-waits; e != rmem.EDOWN {
		t.Errorf("import from a node that leaves: %v", e)
	}
	e, _ = do(t, func(o *rmem.Operation) { a.space[0].Read(o, d, 0, make(memory, 8), 8, 1, false) })
	if e != rmem.EDOWN && e != rmem.ESTALE {
		t.Errorf("read from a node that has left: %v", e)
	}
	exchange(t, a, b, 0, 1, 100) // its neighbour goes on
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// A process that vanishes: over TCP the connection ends, and every node that was there is down at once.
func TestPeerVanishes(t *testing.T) {
	a, b := join(t, "tcp", 1, 1)
	defer a.end(t)
	if _, e := b.space[0].Export("s", make([]byte, 8), rmem.Read); e != rmem.OK {
		t.Fatal(e)
	}
	_, o := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "s", 1, rmem.Read, true) })
	d := rmem.Desc(o.Handle())
	if err := b.trunk.Link().Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reads are EDOWN", func() bool {
		e, _ := do(t, func(o *rmem.Operation) { a.space[0].Read(o, d, 0, make(memory, 8), 8, 1, false) })
		return e == rmem.EDOWN
	})
	b.end(t)
}

// Circuits that were closed are gone at both ends, and their VCs are free.
func TestCircuitsEnd(t *testing.T) {
	a, b := join(t, "udp", 1, 1)
	defer a.end(t)
	defer b.end(t)
	for range 3 {
		exchange(t, a, b, 0, 0, 100)
		exchange(t, b, a, 0, 0, 100)
	}
	eventually(t, "no circuits are left", func() bool {
		left := 0
		for _, p := range []*process{a, b} {
			p.trunk.mu.Lock()
			left += len(p.trunk.circuits) + len(p.trunk.byPort) + len(p.trunk.trunkVCs.used) + len(p.trunk.ports[0].used) + len(p.trunk.remotes[0].used)
			p.trunk.mu.Unlock()
		}
		return left == 0
	})
}

// A caller of another version is refused, and both sides name both versions.
func TestOtherVersion(t *testing.T) {
	for _, form := range []string{"udp", "tcp"} {
		t.Run(form, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var log bytes.Buffer
			at := make(chan string, 1)
			cfg := config(form+"://127.0.0.1:0", 1)
			cfg.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
			cfg.Listening = func(addr string) { at <- addr }
			done := make(chan error, 1)
			go func() {
				_, err := Listen(ctx, cfg)
				done <- err
			}()
			_, hostPort, _ := strings.Cut(<-at, "://")
			heard := make(chan greeting, 1)
			l, hall := dialRaw(t, form, hostPort, heard)
			g := greeting{version: Version + 41, kind: hello, nodes: 1}
			eventually(t, "an answer", func() bool {
				l.Receive(g.cell(nil))
				select {
				case g = <-heard:
					return true
				case <-time.After(20 * time.Millisecond):
					return false
				}
			})
			if g.version != Version || g.kind != refuse || g.reason != refusedVersion {
				t.Errorf("answer %+v", g)
			}
			_ = hall
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the listener: %v", err)
			}
			if s := log.String(); !strings.Contains(s, fmt.Sprint("its protocol=", Version+41)) || !strings.Contains(s, fmt.Sprint("ours=", Version)) {
				t.Errorf("the listener's log: %s", s)
			}
		})
	}
}

// dialRaw makes a link that hears greetings of any version.
func dialRaw(t *testing.T, form, hostPort string, heard chan<- greeting) (link.Link, *hall) {
	h := &hall{greet: func(c *atm.Cell) {
		if g, ok, _ := readGreeting(c, nil); ok {
			select {
			case heard <- g:
			default:
			}
		}
	}}
	if form == "tcp" {
		conn, err := net.Dial("tcp", hostPort)
		if err != nil {
			t.Fatal(err)
		}
		return link.NewTCP(conn, h), h
	}
	cfg := config("", 1)
	u, peer, err := address{form, hostPort}.udp(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	u.Peer = peer
	l, err := link.DialUDP(u, h)
	if err != nil {
		t.Fatal(err)
	}
	return l, h
}

// A listener of another version: the caller says both versions and stops.
func TestOtherListener(t *testing.T) {
	conn, err := link.ListenUDP(link.UDPConfig{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = conn.Accept(ctx, func(_ netip.AddrPort, c *atm.Cell) link.Verdict {
			g := greeting{version: Version + 1, kind: refuse, reason: refusedVersion}
			*c = *g.cell([]byte("of another version, how should one know"))
			return link.Answer
		}, discard{})
	}()
	_, err = Dial(ctx, config(conn.Local().String(), 1))
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), fmt.Sprint("version ", Version+1)) || !strings.Contains(err.Error(), fmt.Sprint("version ", Version)) {
		t.Errorf("%v", err)
	}
	cancel()
	<-answered
}

type discard struct{}

func (discard) Receive(*atm.Cell) {}

// Who does not know the secret gets no answer.
func TestOtherSecret(t *testing.T) {
	for _, form := range []string{"udp", "tcp"} {
		t.Run(form, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			at := make(chan string, 1)
			cfg := config(form+"://127.0.0.1:0", 1)
			cfg.Listening = func(addr string) { at <- addr }
			done := make(chan error, 1)
			go func() {
				_, err := Listen(ctx, cfg)
				done <- err
			}()
			calls, stop := context.WithTimeout(ctx, 500*time.Millisecond)
			defer stop()
			cfg = config(<-at, 1)
			cfg.Secret = []byte("another")
			if _, err := Dial(calls, cfg); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			} else {
				t.Log(err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the listener: %v", err)
			}
		})
	}
}

func TestTooManyNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	at := make(chan string, 1)
	cfg := config("udp://127.0.0.1:0", 1000)
	cfg.Listening = func(addr string) { at <- addr }
	done := make(chan error, 1)
	go func() {
		_, err := Listen(ctx, cfg)
		done <- err
	}()
	if _, err := Dial(ctx, config(<-at, 25)); !errors.Is(err, ErrNodes) {
		t.Errorf("%v", err)
	} else {
		t.Log(err)
	}
	cancel()
	<-done
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1":             "udp://10.0.0.1:6635",
		"host:7":               "udp://host:7",
		":7":                   "udp://:7",
		"tcp://[::1]:9":        "tcp://[::1]:9",
		"bare://::1":           "bare://[::1]:6635",
		"udp://[fe80::1%eth0]": "udp://[fe80::1%eth0]:6635",
		"":                     "udp://:6635",
	} {
		if got, err := ParseAddress(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"sctp://a", "host:port", "host:65536", "[::1", "host:-1"} {
		if got, err := ParseAddress(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// Messages that no peer sends that keeps to the protocol end the trunk: no panic, nothing left behind.
func TestHostilePeer(t *testing.T) {
	for name, m := range map[string]message{
		"a node of mine":       {kind: publish, node: 0, name: "n"},
		"a node of nobody":     {kind: leave, node: 9},
		"a circuit to himself": {kind: open, node: 1, to: 1, id: 3, trunk: 32, vci: 32},
		"a number of mine":     {kind: open, node: 1, to: 0, id: 2, trunk: 32, vci: 32},
		"an odd VCI":           {kind: open, node: 1, to: 0, id: 3, trunk: 33, vci: 32},
		"a reserved VCI":       {kind: open, node: 1, to: 0, id: 3, trunk: 4, vci: 32},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := join(t, "udp", 1, 1)
			defer a.end(t)
			defer b.end(t)
			b.trunk.tell(m)
			defer b.trunk.channel.close() // its last words would be waited for
			eventually(t, "the peer is given up", func() bool {
				_, e := a.names.Lookup(1, "n")
				return e == rmem.EDOWN
			})
		})
	}
	t.Run("a circuit twice", func(t *testing.T) {
		a, b := join(t, "udp", 1, 1)
		defer a.end(t)
		defer b.end(t)
		m := message{kind: open, node: 1, to: 0, id: 3, trunk: 32, vci: 32}
		defer b.trunk.channel.close() // its last words would be waited for
		b.trunk.tell(m)
		m.id = 5
		b.trunk.tell(m)
		eventually(t, "the peer is given up", func() bool {
			_, e := a.names.Lookup(1, "n")
			return e == rmem.EDOWN
		})
		a.trunk.mu.Lock()
		defer a.trunk.mu.Unlock()
		if len(a.trunk.circuits) != 0 {
			t.Errorf("%d circuits are left", len(a.trunk.circuits))
		}
	})
}

// A badNetwork passes datagrams between a caller and a listener, and loses, doubles and delays some. It returns the address to call.
func badNetwork(t *testing.T, addr string, seed uint64) string {
	to, err := netip.ParseAddrPort(strings.TrimPrefix(addr, "udp://"))
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	var caller netip.AddrPort
	var passing sync.WaitGroup
	pass := func(from *net.UDPConn, send func(b []byte)) func() {
		return func() {
			buf := make([]byte, 1<<16)
			for {
				n, addr, err := from.ReadFromUDPAddrPort(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue
				}
				mu.Lock()
				if from == front {
					caller = addr
				}
				fate := rng.Float64()
				mu.Unlock()
				b := bytes.Clone(buf[:n])
				switch {
				case fate < 0.05: // lost
				case fate < 0.07:
					send(b)
					send(b)
				case fate < 0.09:
					passing.Go(func() { time.Sleep(time.Millisecond); send(b) })
				default:
					send(b)
				}
			}
		}
	}
	passing.Go(pass(front, func(b []byte) { _, _ = back.Write(b) }))
	passing.Go(pass(back, func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = front.WriteToUDPAddrPort(b, caller)
	}))
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
		passing.Wait()
	})
	return "udp://" + front.LocalAddr().String()
}

// A network that loses one datagram of twenty, doubles some and delays others: all is right all the same.
func TestJoinOverBadNetwork(t *testing.T) {
	var lost uint64
	for seed := range uint64(4) {
		a, b := joinBy(t, "udp", 1, 2, func(addr string) string { return badNetwork(t, addr, seed) })
		for j := range 2 {
			exchange(t, a, b, 0, j, 40)
			exchange(t, b, a, j, 0, 20000)
		}
		for _, p := range []*process{a, b} {
			lost += p.trunk.Link().Counters().Lost
		}
		b.end(t)
		a.end(t)
	}
	if lost == 0 {
		t.Error("nothing was lost: nothing was tested")
	}
}
