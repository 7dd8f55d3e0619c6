package runtime

import (
	"math"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/trap"
)

// testNodes makes the nodes of a job without guests: the tests play the engines.
func testNodes(t testing.TB, count int) []*node {
	t.Helper()
	network, err := newFabric(fabricConfig{topology: DefaultTopology(count), memory: true})
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectory(count)
	nodes := make([]*node, count)
	for id := range nodes {
		nodes[id] = newNode(id, count, network, d, nil, nil, hclog.NewNullLogger())
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.rmem.Close()
		}
	})
	return nodes
}

// A player plays the engine for one guest thread. It has no process: every access to the guest's memory fails.
type player struct {
	node *node
	call trap.Call
	woke chan struct{} // receives when the operation it sleeps in has woken it
}

// newPlayer makes a thread in a new address space, or in that of another.
func newPlayer(n *node, with *player) *player {
	p := &player{node: n, woke: make(chan struct{}, 16)}
	x := new(execution)
	x.op.Wake = func() { p.woke <- struct{}{} }
	p.call = trap.Call{Thread: new(trap.Thread), State: x}
	if with != nil {
		p.call.Space = with.call.Space
		return p
	}
	p.call.Space = new(trap.Space)
	n.Begin(p.call.Space)
	return p
}

// undecided is in a call's result until the handler returns one.
const undecided = math.MinInt64

// first executes an instruction that has just trapped. It returns undecided if the thread is put to sleep.
func (p *player) first(op decode.Op, v, a, pe, c, d uint64, flags decode.Flags, width uint8) int64 {
	p.call.Inst = decode.Instruction{Arch: decode.ArchAMD64, Op: op, Flags: flags, Width: width, Len: 8}
	p.call.V, p.call.A, p.call.P, p.call.C, p.call.D = v, a, pe, c, d
	p.call.Deadline = time.Time{}
	return p.again(trap.First)
}

// again goes on with the instruction for a cause.
func (p *player) again(cause trap.Cause) int64 {
	p.call.Cause, p.call.Result = cause, undecided
	p.node.Execute(&p.call)
	return p.call.Result
}

func (p *player) space() *space { return p.call.Space.User.(*space) }

// segment makes a segment without a guest's memory.
func (p *player) segment(t testing.TB, name string, length int) rmem.Seg {
	t.Helper()
	seg, e := p.space().Export(name, make([]byte, length), rmem.Read|rmem.Write|rmem.Atomic)
	if e != rmem.OK {
		t.Fatalf("export: %v", e)
	}
	return seg
}

// descriptor imports a segment.
func (p *player) descriptor(t testing.TB, name string, node int) rmem.Desc {
	t.Helper()
	var o rmem.Operation
	p.space().Import(&o, name, node, rmem.Read|rmem.Write|rmem.Atomic, false)
	if !o.Done() || o.Result() != rmem.OK {
		t.Fatalf("import: done %v, %v", o.Done(), o.Result())
	}
	return rmem.Desc(o.Handle())
}

// Every instruction gives its operands to the operation it names, and its result back: seen by what only the right one does.
func TestExecute(t *testing.T) {
	nodes := testNodes(t, 2)
	target := newPlayer(nodes[1], nil)
	seg := target.segment(t, "box", 64)
	p := newPlayer(nodes[0], nil)
	desc := uint64(p.descriptor(t, "box", 1))
	forged := uint64(desc + 1)
	word := func(offset uint64) uint64 {
		var o rmem.Operation
		p.space().FAdd(&o, rmem.Desc(desc), offset, 8, 0, false)
		return o.Old()
	}
	high := uint64(0xdead) << 32 // above a 32-bit operand: ignored

	tests := []struct {
		name          string
		op            decode.Op
		v, a, p, c, d uint64
		flags         decode.Flags
		width         uint8
		want          rmem.Error
		old           uint64
	}{
		{name: "node", op: decode.Node, width: 1, want: 0},
		{name: "nodes", op: decode.Nodes, width: 1, want: 2},
		{name: "poll", op: decode.Poll, width: 1, want: 0},
		{name: "fadd", op: decode.FAdd, v: 5, a: 8, p: desc, width: 8, old: 0},
		{name: "fadd again", op: decode.FAdd, v: 1 << 32, a: 8, p: desc | high, width: 8, old: 5},
		{name: "fadd of 4 bytes", op: decode.FAdd, v: 3, a: 8, p: desc, width: 4, old: 5},
		{name: "swap", op: decode.Swap, v: 7, a: 8, p: desc, width: 8, old: 1<<32 + 8},
		{name: "cas that finds another", op: decode.CAS, v: 1, a: 8, p: desc, d: 6, width: 8, old: 7},
		{name: "cas", op: decode.CAS, v: 9, a: 8, p: desc, d: 7, width: 8, old: 7},
		{name: "and what it left", op: decode.FAdd, v: 0, a: 8, p: desc, width: 8, old: 9},
		{name: "fadd off its alignment", op: decode.FAdd, a: 4, p: desc, width: 8, want: rmem.EALIGN},
		{name: "fadd outside", op: decode.FAdd, a: 64, p: desc, width: 8, want: rmem.ERANGE},
		{name: "fadd forged", op: decode.FAdd, p: forged, width: 8, want: rmem.EDESC},
		{name: "swap forged", op: decode.Swap, p: forged, width: 8, want: rmem.EDESC},
		{name: "cas forged", op: decode.CAS, p: forged, width: 8, want: rmem.EDESC},
		{name: "write forged", op: decode.Write, p: forged, c: 8, width: 1, want: rmem.EDESC},
		{name: "read forged", op: decode.Read, p: forged, c: 8, width: 1, want: rmem.EDESC},
		{name: "notify forged", op: decode.Notify, p: forged, width: 1, want: rmem.EDESC},
		{name: "fence forged", op: decode.Fence, p: forged, width: 1, want: rmem.EDESC},
		{name: "release forged", op: decode.Release, p: forged, width: 1, want: rmem.EDESC},
		{name: "revoke forged", op: decode.Revoke, p: forged, width: 1, want: rmem.EDESC},
		{name: "inhibit forged", op: decode.Inhibit, p: forged, width: 1, want: rmem.EDESC},
		{name: "wait forged", op: decode.Wait, p: forged, width: 1, want: rmem.EDESC},
		{name: "write of nothing", op: decode.Write, p: desc, c: 0, width: 1},
		{name: "read of nothing", op: decode.Read, p: desc, c: 0, width: 1},
		{name: "write outside", op: decode.Write, a: 60, p: desc, c: 8, width: 1, want: rmem.ERANGE},
		{name: "write of half a word", op: decode.Write, p: desc, c: 7, width: 8, want: rmem.EALIGN},
		{name: "write from nowhere", op: decode.Write, p: desc, c: 8, width: 1, want: rmem.EFAULT},
		{name: "read to nowhere", op: decode.Read, p: desc, c: 8, width: 1, want: rmem.EFAULT},
		{name: "fence", op: decode.Fence, p: desc | high, width: 1},
		{name: "fence of everything", op: decode.Fence, p: decode.Every, width: 1},
		{name: "import without a name", op: decode.Import, c: 0, d: 1, width: 1, want: rmem.EINVAL},
		{name: "import by too long a name", op: decode.Import, c: 256, d: 1, width: 1, want: rmem.EINVAL},
		{name: "import by a name of any length", op: decode.Import, c: 1 << 63, d: 1, width: 1, want: rmem.EINVAL},
		{name: "import by a name nowhere", op: decode.Import, c: 3, d: 1, width: 1, want: rmem.EFAULT},
		{name: "export without a name", op: decode.Export, a: 8, d: 1, width: 1, want: rmem.EINVAL},
		{name: "export by a name nowhere", op: decode.Export, a: 8, c: 3, d: 1, width: 1, want: rmem.EFAULT},
		{name: "notify", op: decode.Notify, a: 3, p: desc, width: 1},
		{name: "release", op: decode.Release, p: desc | high, width: 1},
		{name: "what is released", op: decode.FAdd, p: desc, width: 8, want: rmem.EDESC},
	}
	for _, test := range tests {
		if got := p.first(test.op, test.v, test.a, test.p, test.c, test.d, test.flags, test.width); got != int64(test.want) {
			t.Errorf("%s: %s, want %s", test.name, rmem.Error(got).Name(), test.want.Name())
		}
		if test.op.Atomic() && test.want == rmem.OK && p.call.Old != test.old {
			t.Errorf("%s found %#x, want %#x", test.name, p.call.Old, test.old)
		}
	}
	if word(8) != 0 {
		t.Error("a released descriptor still reads")
	}

	// The owner's instructions, and what they mean to the importer.
	desc = uint64(p.descriptor(t, "box", 1))
	own := func(op decode.Op, v uint64) rmem.Error {
		return rmem.Error(target.first(op, v, 0, uint64(seg)|high, 0, 0, 0, 1))
	}
	add := func() rmem.Error { return rmem.Error(p.first(decode.FAdd, 1, 0, desc, 0, 0, 0, 8)) }
	for _, test := range []struct {
		name      string
		got, want rmem.Error
	}{
		{"inhibit", own(decode.Inhibit, 1|high), rmem.OK},
		{"fadd while inhibited", add(), rmem.EINHIBIT},
		{"inhibit no more", own(decode.Inhibit, high), rmem.OK},
		{"fadd", add(), rmem.OK},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", test.name, test.got.Name(), test.want.Name())
		}
	}
	if got, want := nodes[0].instructions, uint64(len(tests)+2); got != want {
		t.Errorf("%d instructions were counted, want %d", got, want)
	}
}

// waiter is a thread that sleeps in wait at node 1, with one at node 0 that can notify it.
func waiter(t *testing.T, timeout int32) (w, notifier *player, desc uint64) {
	t.Helper()
	nodes := testNodes(t, 2)
	w = newPlayer(nodes[1], nil)
	seg := w.segment(t, "box", 64)
	notifier = newPlayer(nodes[0], nil)
	desc = uint64(notifier.descriptor(t, "box", 1))
	if got := w.first(decode.Wait, 0, uint64(uint32(timeout)), uint64(seg), 0, 0, 0, 1); got != undecided {
		t.Fatalf("wait without an event returned %s", rmem.Error(got).Name())
	}
	return w, notifier, desc
}

func (p *player) notify(t *testing.T, desc uint64) {
	t.Helper()
	if got := p.first(decode.Notify, 0, 8, desc, 0, 0, 0, 1); got != 0 {
		t.Fatalf("notify: %s", rmem.Error(got).Name())
	}
}

// delivered checks that an event was taken. The players have no memory to write it to, which shows as EFAULT.
func delivered(t *testing.T, what string, result int64) {
	t.Helper()
	if result != int64(rmem.EFAULT) {
		t.Errorf("%s: %d, want EFAULT, as there was an event and no memory for it", what, result)
	}
}

func TestWaitIsWoken(t *testing.T) {
	w, notifier, desc := waiter(t, -1)
	if !w.call.Deadline.IsZero() {
		t.Error("a wait for ever has a deadline")
	}
	if got := w.again(trap.Woken); got != undecided {
		t.Errorf("woken for nothing, wait returned %d", got)
	}
	notifier.notify(t, desc)
	<-w.woke
	delivered(t, "woken", w.again(trap.Woken))
	// The event could not be delivered: it is still there, and there are no others.
	delivered(t, "the next wait", w.first(decode.Wait, 0, 0, w.call.P, 0, 0, 0, 1))
	w.space().undelivered = nil
	if got := w.first(decode.Wait, 0, 0, w.call.P, 0, 0, 0, 1); got != int64(rmem.ETIMEDOUT) {
		t.Errorf("a wait that does not sleep, without an event, returned %d", got)
	}
}

func TestWaitExpires(t *testing.T) {
	before := time.Now()
	w, _, _ := waiter(t, 20)
	if d := w.call.Deadline; d.Before(before.Add(20*time.Millisecond)) || d.After(time.Now().Add(20*time.Millisecond)) {
		t.Errorf("the deadline is %v after the wait began", d.Sub(before))
	}
	if got := w.again(trap.Expired); got != int64(rmem.ETIMEDOUT) {
		t.Errorf("the expired wait returned %d", got)
	}

	// An event that comes before the deadline counts, though the thread hears of the deadline first.
	w, notifier, desc := waiter(t, 20)
	notifier.notify(t, desc)
	delivered(t, "expired after an event", w.again(trap.Expired))
}

func TestWaitIsInterrupted(t *testing.T) {
	w, notifier, desc := waiter(t, 1000)
	deadline := w.call.Deadline
	if got := w.again(trap.Interrupted); got != undecided {
		t.Errorf("the interrupted wait returned %d", got)
	}
	notifier.notify(t, desc) // nobody sleeps: it is kept
	w.call.Deadline = deadline
	delivered(t, "after the signal", w.again(trap.First))
	if w.node.instructions != 1 {
		t.Errorf("one instruction, interrupted once, was counted %d times", w.node.instructions)
	}

	// The deadline is that of the first time.
	w, notifier, desc = waiter(t, 1000)
	deadline = w.call.Deadline
	w.again(trap.Interrupted)
	if got := w.again(trap.First); got != undecided || !w.call.Deadline.Equal(deadline) {
		t.Errorf("run again, wait returned %d with the deadline moved by %v", got, w.call.Deadline.Sub(deadline))
	}
	// A signal that comes after the event does not take it.
	notifier.notify(t, desc)
	delivered(t, "interrupted after an event", w.again(trap.Interrupted))
}

func TestWaiterDies(t *testing.T) {
	w, notifier, desc := waiter(t, -1)
	w.again(trap.Gone)
	notifier.notify(t, desc)
	other := newPlayer(w.node, w)
	delivered(t, "the wait of another thread", other.first(decode.Wait, 0, 0, w.call.P, 0, 0, 0, 1))
	select {
	case <-w.woke:
		t.Error("the dead thread was woken")
	default:
	}
}

// A thread that sleeps does not keep another of its process, on the same engine, from executing.
func TestThreadsOfOneSpace(t *testing.T) {
	nodes := testNodes(t, 1)
	sleeper := newPlayer(nodes[0], nil)
	seg := sleeper.segment(t, "box", 64)
	if got := sleeper.first(decode.Wait, 0, math.MaxUint32, uint64(seg), 0, 0, 0, 1); got != undecided {
		t.Fatalf("wait returned %d", got)
	}
	other := newPlayer(nodes[0], sleeper)
	desc := uint64(other.descriptor(t, "box", 0))
	if got := other.first(decode.FAdd, 1, 8, desc, 0, 0, decode.FlagNotify, 8); got != 0 {
		t.Fatalf("fadd: %d", got)
	}
	<-sleeper.woke
	delivered(t, "woken by the other thread", sleeper.again(trap.Woken))
}

// What ends a sleep from the far side.
func TestWaitEnds(t *testing.T) {
	t.Run("revoked", func(t *testing.T) {
		w, _, _ := waiter(t, -1)
		if e := w.space().Revoke(rmem.Seg(w.call.P)); e != rmem.OK {
			t.Fatal(e)
		}
		<-w.woke
		if got := w.again(trap.Woken); got != int64(rmem.ESTALE) {
			t.Errorf("wait returned %d, want ESTALE", got)
		}
	})
	t.Run("alone", func(t *testing.T) {
		w, notifier, _ := waiter(t, -1)
		r := &run{directory: newDirectory(2), nodes: []*node{notifier.node, w.node}}
		r.leave(notifier.node)
		<-w.woke
		if got := w.again(trap.Woken); got != int64(rmem.EDOWN) {
			t.Errorf("wait returned %d, want EDOWN", got)
		}
	})
}

// An observerFunc is an rmem.Observer.
type observerFunc func(*rmem.Event)

func (f observerFunc) Observe(e *rmem.Event) { f(e) }

// A node that leaves as soon as it has been notified does so after the answer: what has taken effect is not reported as
// failed.
func TestLeaveAfterTheAnswer(t *testing.T) {
	network, err := newFabric(fabricConfig{topology: DefaultTopology(2), memory: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{directory: newDirectory(2)}
	for id := range 2 {
		r.nodes = append(r.nodes, newNode(id, 2, network, r.directory, nil, nil, hclog.NewNullLogger()))
	}
	left := make(chan struct{})
	leaver := r.nodes[1]
	leaver.rmem = rmem.New(rmem.Config{ID: 1, Nodes: 2, Network: network.ports[1], Directory: r.directory, Observer: observerFunc(func(e *rmem.Event) {
		if e.Kind != rmem.Notified {
			return
		}
		go func() {
			r.leave(leaver)
			close(left)
		}()
		select { // time enough to leave too early; one that leaves in time does not get to it
		case <-left:
		case <-time.After(100 * time.Millisecond):
		}
	})})
	network.attach(1, leaver.rmem)

	owner, p := newPlayer(leaver, nil), newPlayer(r.nodes[0], nil)
	owner.segment(t, "box", 64)
	desc := uint64(p.descriptor(t, "box", 1))
	p.notify(t, desc)
	<-left
	if got := p.first(decode.Fence, 0, 0, desc, 0, 0, 0, 1); got != 0 {
		t.Errorf("fence: %s", rmem.Error(got).Name())
	}
	r.leave(r.nodes[0])
}

// The end of an address space revokes what it exported.
func TestEnd(t *testing.T) {
	nodes := testNodes(t, 2)
	owner, p := newPlayer(nodes[1], nil), newPlayer(nodes[0], nil)
	owner.segment(t, "box", 64)
	desc := uint64(p.descriptor(t, "box", 1))
	nodes[1].End(owner.call.Space)
	if got := p.first(decode.FAdd, 1, 8, desc, 0, 0, 0, 8); got != int64(rmem.ESTALE) {
		t.Errorf("fadd to a segment whose owner has ended: %d, want ESTALE", got)
	}
	// The name is free for the next address space of the node.
	newPlayer(nodes[1], nil).segment(t, "box", 64)
}

// An instruction costs the handler no allocation, nor does all that lies under it: memory, adaptation layer, network.
func TestExecuteAllocations(t *testing.T) {
	for _, count := range []int{1, 2, 3} {
		nodes := testNodes(t, count)
		target, p := newPlayer(nodes[count-1], nil), newPlayer(nodes[0], nil)
		target.segment(t, "box", 64)
		desc := uint64(p.descriptor(t, "box", count-1))
		if n := testing.AllocsPerRun(1000, func() { p.first(decode.FAdd, 1, 8, desc, 0, 0, 0, 8) }); n != 0 {
			t.Errorf("%d nodes: an instruction costs %v allocations", count, n)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	nodes := testNodes(b, 2)
	target, p := newPlayer(nodes[1], nil), newPlayer(nodes[0], nil)
	target.segment(b, "box", 64)
	desc := uint64(p.descriptor(b, "box", 1))
	b.ReportAllocs()
	for b.Loop() {
		if got := p.first(decode.FAdd, 1, 8, desc, 0, 0, 0, 8); got != 0 {
			b.Fatal(got)
		}
	}
}
