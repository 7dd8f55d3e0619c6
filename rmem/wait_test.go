package rmem

import (
	"testing"
)

func TestNotifications(t *testing.T) {
	const size = 2*MaxBlock + 100
	f := newFabric(t, 3)
	a, b, owner := f.nodes[0].NewSpace(), f.nodes[1].NewSpace(), f.nodes[2].NewSpace()
	seg := mustExport(t, owner, "seg", make([]byte, size), access)
	da, db := mustImport(t, a, "seg", 2, access), mustImport(t, b, "seg", 2, access)
	write := func(s *Space, d Desc, off uint64, n int) func(*Operation) {
		return func(o *Operation) { s.Write(o, d, off, mem(pattern(n)), uint64(n), 1, true) }
	}
	for _, c := range []struct {
		name  string
		begin []func(*Operation)
		want  []Notification
	}{
		{"write", []func(*Operation){write(a, da, 24, 40)}, []Notification{{0, 6, 24, 40, 1}}},
		{"short", []func(*Operation){write(b, db, 24, 3)}, []Notification{{1, 6, 24, 3, 1}}},
		{"long", []func(*Operation){write(a, da, 8, size-9)}, []Notification{{0, 6, 8, size - 9, 1}}},
		{"cas", []func(*Operation){func(o *Operation) { a.CAS(o, da, 8, 8, 99, 1, true) }}, []Notification{{0, 8, 8, 8, 1}}},
		{"fadd", []func(*Operation){func(o *Operation) { a.FAdd(o, da, 8, 4, 99, true) }}, []Notification{{0, 9, 8, 4, 1}}},
		{"swap", []func(*Operation){func(o *Operation) { a.Swap(o, da, 8, 8, 99, true) }}, []Notification{{0, 10, 8, 8, 1}}},
		{"notify", []func(*Operation){func(o *Operation) { a.Notify(o, da, 77) }}, []Notification{{0, 12, 77, 0, 1}}},
		{"merged", []func(*Operation){write(a, da, 100, 8), write(a, da, 20, 10), write(a, da, 50, 1)}, []Notification{{0, 6, 20, 88, 3}}},
		{"two circuits, in order of the first", []func(*Operation){write(b, db, 1, 8), write(a, da, 2, 8), write(b, db, 0, 1)},
			[]Notification{{1, 6, 0, 9, 2}, {0, 6, 2, 8, 1}}},
		{"not asked for", []func(*Operation){func(o *Operation) { a.FAdd(o, da, 8, 4, 99, false) }}, nil},
	} {
		for _, before := range []bool{false, true} {
			if before && len(c.begin) != 1 {
				continue // the first would be handed to who waits, and not be merged
			}
			var waiter *op
			if before {
				waiter = newOp()
				owner.Wait(&waiter.Operation, seg)
				if waiter.Done() {
					t.Fatalf("%s: done before anything happened", c.name)
				}
			}
			for _, begin := range c.begin {
				if e, _ := do(begin); e != OK {
					t.Fatalf("%s: %v", c.name, e)
				}
			}
			for _, want := range c.want {
				if waiter == nil {
					waiter = newOp()
					owner.Wait(&waiter.Operation, seg)
				}
				if e := waiter.result(); e != OK || waiter.Event() != want {
					t.Errorf("%s: %v, %+v, want %+v", c.name, e, waiter.Event(), want)
				}
				waiter = nil
			}
			if waiter == nil {
				waiter = newOp()
				owner.Wait(&waiter.Operation, seg)
			}
			if waiter.Done() {
				t.Errorf("%s: one more notification: %+v", c.name, waiter.Event())
			}
			if !waiter.Cancel(ETIMEDOUT) || waiter.Result() != ETIMEDOUT || waiter.Cancel(OK) {
				t.Errorf("%s: cancel", c.name)
			}
		}
	}
}

// A notification outlives the circuit it came on, and many circuits take no more room than one.
func TestNotificationsOfCircuitsThatAreGone(t *testing.T) {
	p := newPair(t, 64, access)
	for i := range uint64(50) {
		d := mustImport(t, p.a, "seg", 1, Read)
		if e, _ := do(func(o *Operation) { p.a.Notify(o, d, i) }); e != OK {
			t.Fatal(e)
		}
		if e, _ := do(func(o *Operation) { p.a.Release(o, d) }); e != OK {
			t.Fatal(e)
		}
	}
	g := p.b.segments.get(int32(p.seg))
	if len(g.orphans) != 1 || g.first != g.last {
		t.Errorf("%d are kept", len(g.orphans))
	}
	e, o := do(func(o *Operation) { p.b.Wait(o, p.seg) })
	if want := (Notification{0, 12, 0, 49, 50}); e != OK || o.Event() != want {
		t.Errorf("%v, %+v, want %+v", e, o.Event(), want)
	}
	if len(g.orphans) != 0 || g.first != nil || g.last != nil && g.last.queued {
		t.Error("something is left")
	}
	if e, _ := do(func(o *Operation) { p.a.Notify(o, p.d, 3) }); e != OK {
		t.Fatal(e)
	}
	if e, o := do(func(o *Operation) { p.b.Wait(o, p.seg) }); e != OK || o.Event().Offset != 3 {
		t.Errorf("%v, %+v", e, o.Event())
	}
}

func TestWaitEnds(t *testing.T) {
	t.Run("revoked", func(t *testing.T) {
		p := newPair(t, 64, access)
		o := newOp()
		p.b.Wait(&o.Operation, p.seg)
		if e := p.b.Revoke(p.seg); e != OK || o.result() != ESTALE {
			t.Errorf("%v, %v", e, o.result())
		}
	})
	t.Run("all others gone", func(t *testing.T) {
		f := newFabric(t, 3)
		s := f.nodes[0].NewSpace()
		seg := mustExport(t, s, "seg", make([]byte, 64), access)
		d := mustImport(t, s, "seg", 0, access)
		o := newOp()
		s.Wait(&o.Operation, seg)
		f.down(1)
		if o.Done() {
			t.Fatal("node 2 is still there")
		}
		f.down(2)
		if e := o.result(); e != EDOWN {
			t.Errorf("%v, want EDOWN", e)
		}
		if e, _ := do(func(o *Operation) { s.Wait(o, seg) }); e != EDOWN {
			t.Errorf("%v, want EDOWN", e)
		}
		if e, _ := do(func(o *Operation) { s.Notify(o, d, 1) }); e != OK {
			t.Fatal(e)
		}
		if e, o := do(func(o *Operation) { s.Wait(o, seg) }); e != OK || o.Event().Offset != 1 {
			t.Errorf("%v, %+v: what is there already is lost", e, o.Event())
		}
	})
	t.Run("alone from the start", func(t *testing.T) {
		f := newFabric(t, 1)
		s := f.nodes[0].NewSpace()
		seg := mustExport(t, s, "seg", make([]byte, 64), access)
		d := mustImport(t, s, "seg", 0, access)
		o := newOp()
		s.Wait(&o.Operation, seg)
		if o.Done() {
			t.Fatal("a job of one node has threads")
		}
		if e, _ := do(func(o *Operation) { s.Notify(o, d, 1) }); e != OK || o.result() != OK {
			t.Errorf("%v, %v", e, o.result())
		}
	})
	t.Run("many wait, first come first served", func(t *testing.T) {
		p := newPair(t, 64, access)
		var os []*op
		for range 5 {
			os = append(os, newOp())
			p.b.Wait(&os[len(os)-1].Operation, p.seg)
		}
		os[1].Cancel(ETIMEDOUT)
		for i := range uint64(4) {
			p.a.Notify(&newOp().Operation, p.d, i)
		}
		for i, at := range map[int]uint64{0: 0, 2: 1, 3: 2, 4: 3} {
			if e := os[i].result(); e != OK || os[i].Event().Offset != at {
				t.Errorf("waiter %d: %v, %+v", i, e, os[i].Event())
			}
		}
	})
}

func TestImportWaits(t *testing.T) {
	f := newFabric(t, 3)
	a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
	o, gone, cancelled := newOp(), newOp(), newOp()
	a.Import(&o.Operation, "late", 1, Read, true)
	a.Import(&gone.Operation, "never", 2, Read, true)
	a.Import(&cancelled.Operation, "never", 1, Read, true)
	if o.Done() || gone.Done() || cancelled.Done() {
		t.Fatal("done before anything happened")
	}
	mustExport(t, b, "late", make([]byte, 8), Read)
	if e := o.result(); e != OK {
		t.Errorf("%v", e)
	}
	f.down(2)
	if e := gone.result(); e != EDOWN {
		t.Errorf("%v, want EDOWN", e)
	}
	if e, _ := do(func(o *Operation) { a.Import(o, "never", 2, Read, true) }); e != EDOWN {
		t.Errorf("%v, want EDOWN", e)
	}
	if !cancelled.Cancel(ETIMEDOUT) || cancelled.Result() != ETIMEDOUT {
		t.Error("not cancelled")
	}
	if n := len(f.names.watches); n != 0 {
		t.Errorf("%d watches are left", n)
	}
	mustExport(t, b, "never", make([]byte, 8), Read)
	if len(a.descriptors.all()) != 1 {
		t.Error("an import that was cancelled has made a descriptor")
	}
}

func TestPeerDown(t *testing.T) {
	p := newPair(t, 64, access)
	back := make([]byte, 64)
	seg := mustExport(t, p.a, "back", back, access)
	db := mustImport(t, p.b, "back", 0, access)
	p.f.down(1)
	if e := written(p.a, p.d, 0, pattern(8)); e != EDOWN {
		t.Errorf("write: %v", e)
	}
	if e := written(p.a, p.d, 0, pattern(60)); e != EDOWN {
		t.Errorf("block: %v", e)
	}
	if e := readBack(p.a, p.d, 0, make([]byte, 8)); e != EDOWN {
		t.Errorf("read: %v", e)
	}
	if e := fenced(p.a, p.d); e != OK {
		t.Errorf("fence: %v, all that was sent had been answered", e)
	}
	if e, _ := do(func(o *Operation) { p.a.Release(o, p.d) }); e != OK {
		t.Errorf("release: %v", e)
	}
	if e, _ := do(func(o *Operation) { p.a.Import(o, "seg", 1, Read, true) }); e != EDOWN {
		t.Errorf("import: %v", e)
	}
	if e, _ := do(func(o *Operation) { p.a.Wait(o, seg) }); e != EDOWN {
		t.Errorf("wait: %v", e)
	}
	// What the dead node still sends reaches nothing.
	written(p.b, db, 0, pattern(8))
	if string(back) != string(make([]byte, 64)) {
		t.Error("a node that is down has written")
	}
	if n := p.f.nodes[0]; len(n.initiators) != 0 || len(n.targets) != 0 || len(n.calls) != 0 {
		t.Errorf("%d, %d, %d are left", len(n.initiators), len(n.targets), len(n.calls))
	}
}

// Requests that are never answered, because the peer is silent, end when it is known to be down.
func TestSilentPeer(t *testing.T) {
	p := newPair(t, 1<<20, access)
	d2 := mustImport(t, p.a, "seg", 1, access)
	p.f.ports[1].tamper = func(*atmCell) bool { return false }
	dst := make(mem, 8)
	reading, block, adding, fencing, all, releasing, importing := newOp(), newOp(), newOp(), newOp(), newOp(), newOp(), newOp()
	written(p.a, p.d, 0, pattern(8))
	p.a.Read(&newOp().Operation, p.d, 0, dst, 8, 1, true)
	p.a.Read(&reading.Operation, p.d, 0, dst, 8, 1, false)
	p.a.FAdd(&adding.Operation, p.d, 0, 8, 1, false)
	p.a.Fence(&fencing.Operation, p.d)
	for range window - 4 {
		if e := written(p.a, p.d, 0, pattern(8)); e != OK {
			t.Fatal(e)
		}
	}
	p.a.Write(&block.Operation, p.d, 0, mem(pattern(1<<20)), 1<<20, 1, false)
	written(p.a, d2, 0, pattern(8))
	p.a.Release(&releasing.Operation, d2)
	p.a.Fence(&all.Operation, Every)
	p.a.Import(&importing.Operation, "seg", 1, Read, true)
	ops := []*op{reading, block, adding, fencing, all, releasing, importing}
	for i, o := range ops {
		if o.Done() {
			t.Fatalf("operation %d is done: %v", i, o.Result())
		}
	}
	p.f.down(1)
	for i, o := range ops {
		if e := o.result(); e != EDOWN && o != all {
			t.Errorf("operation %d: %v, want EDOWN", i, e)
		}
	}
	// The fence of every descriptor may find that both errors were reported to others.
	if e := all.result(); e != EDOWN && e != OK {
		t.Errorf("fence of every descriptor: %v", e)
	}
}

// What the directory knows may be out of date by the time CONNECT arrives.
func TestImportOfStaleRecord(t *testing.T) {
	p := newPair(t, 64, access)
	fresh := p.f.names.records[nameKey(1, "seg")]
	stale := Record{fresh.Segment, fresh.Generation + 1}
	set := func(r Record) {
		p.f.names.mu.Lock()
		defer p.f.names.mu.Unlock()
		p.f.names.records[nameKey(1, "seg")] = r
	}
	set(stale)
	if e, _ := do(func(o *Operation) { p.a.Import(o, "seg", 1, Read, false) }); e != ENOENT {
		t.Errorf("%v, want ENOENT", e)
	}
	o := newOp()
	p.a.Import(&o.Operation, "seg", 1, Read, true)
	if o.Done() {
		t.Fatalf("%v", o.Result())
	}
	set(fresh)
	if e := o.result(); e != OK {
		t.Error(e)
	}
}

// A fence that is cancelled in the moment in which it has found an error does not take it along.
func TestErrorOfCancelledFence(t *testing.T) {
	p := newPair(t, 64, access)
	for _, d := range []Desc{p.d, Every} {
		p.b.Inhibit(p.seg, true)
		written(p.a, p.d, 0, pattern(8))
		var o Operation
		use := o.begin()
		if !o.Cancel(ETIMEDOUT) {
			t.Fatal("not cancelled")
		}
		p.a.fenced(waiting{&o, use}, d)
		if e := fenced(p.a, d); e != EINHIBIT {
			t.Errorf("fence: %v, want EINHIBIT", e)
		}
	}
}
