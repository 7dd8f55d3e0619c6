package rmem

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// networks are the ways in which cells arrive: before Send returns, or later on another goroutine; or, as the first, with blocks that stay whole.
func networks(t *testing.T, f func(*testing.T, ...func(*fabric, *Config))) {
	t.Run("direct", func(t *testing.T) { f(t) })
	t.Run("queued", func(t *testing.T) { f(t, queued) })
	t.Run("whole", func(t *testing.T) { f(t, whole) })
}

func at8(m []byte, off int) *uint64 { return (*uint64)(unsafe.Pointer(&m[off])) }

// All nodes write to all, themselves included, from several threads each; each thread
// through its own descriptor, in order. None waits for ever, nothing is lost or overtaken.
func TestAllToAll(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		const nodes, threads, rounds = 4, 2, 300
		f := newFabric(t, nodes, options...)
		const cell, slot = 48, 48 * nodes * threads
		var spaces []*Space
		var mems [][]byte
		for i, n := range f.nodes {
			s := n.NewSpace()
			mems = append(mems, anonymous(t, slot))
			mustExport(t, s, "box", mems[i], access)
			mustExport(t, s, "counter", anonymous(t, 4096), access)
			spaces = append(spaces, s)
		}
		var wg sync.WaitGroup
		for i := range nodes {
			for k := range threads {
				wg.Go(func() {
					s := spaces[i]
					var boxes, counters [nodes]Desc
					for j := range nodes { // imports cross each other too
						boxes[j] = mustImport(t, s, "box", j, access)
						counters[j] = mustImport(t, s, "counter", j, access)
					}
					off := uint64(i*threads+k) * cell
					block := pattern(200)
					for r := range uint64(rounds) {
						for j := range nodes {
							var b [40]byte
							binary.NativeEndian.PutUint64(b[:], r+1)
							written(s, boxes[j], off, b[:])
							written(s, counters[j], 512+uint64(rand.IntN(3000)), block)
							if e, _ := do(func(o *Operation) { s.FAdd(o, counters[j], 0, 8, 1, false) }); e != OK {
								t.Errorf("fadd: %v", e)
							}
							var back [8]byte
							if e := readBack(s, boxes[j], off, back[:]); e != OK || binary.NativeEndian.Uint64(back[:]) != r+1 {
								t.Errorf("read %v after the write of %d: %v", back, r+1, e)
							}
						}
					}
					if e := fenced(s, Every); e != OK {
						t.Errorf("fence: %v", e)
					}
					for j := range nodes {
						if e, _ := do(func(o *Operation) { s.Release(o, boxes[j]) }); e != OK {
							t.Errorf("release: %v", e)
						}
					}
				})
			}
		}
		wg.Wait()
		for j := range nodes {
			for i := range nodes * threads {
				if v := binary.NativeEndian.Uint64(mems[j][i*cell:]); v != rounds {
					t.Errorf("node %d, slot %d: %d", j, i, v)
				}
			}
			var sum [8]byte
			d := mustImport(t, spaces[0], "counter", j, access)
			readBack(spaces[0], d, 0, sum[:])
			if n := binary.NativeEndian.Uint64(sum[:]); n != nodes*threads*rounds {
				t.Errorf("node %d: counter %d, want %d", j, n, nodes*threads*rounds)
			}
		}
		for i, n := range f.nodes {
			d := n.Drops()
			d[Duplicate], d[Unasked] = 0, 0 // a busy machine answers late, and some is sent twice
			if d != [ReasonCount]uint64{} {
				t.Errorf("node %d dropped %v", i, d)
			}
		}
	})
}

// Several threads share one descriptor. Each message gets its own number, in whatever order.
func TestSharedDescriptor(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		const threads, rounds = 8, 400
		p := newPair(t, 1<<20, access, options...)
		var wg sync.WaitGroup
		for k := range threads {
			wg.Go(func() {
				m := make([]byte, 2000+k)
				for r := range rounds {
					for i := range m {
						m[i] = byte(r)
					}
					written(p.a, p.d, uint64(4096*(k+1)), m)
					if e, _ := do(func(o *Operation) { p.a.FAdd(o, p.d, 0, 8, 1, false) }); e != OK {
						t.Error(e)
					}
					back := make([]byte, len(m))
					if e := readBack(p.a, p.d, uint64(4096*(k+1)), back); e != OK || string(back) != string(m) {
						t.Errorf("thread %d, round %d: %v", k, r, e)
					}
					if e := fenced(p.a, p.d); e != OK {
						t.Error(e)
					}
				}
			})
		}
		wg.Wait()
		if n := *at8(p.mem, 0); n != threads*rounds {
			t.Errorf("counter %d", n)
		}
	})
}

// A flag that is written after data is never seen before them, whichever of the two is a block or a cell.
func TestDataThenFlag(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		for _, size := range []int{8, 40, 4096, MaxBlock + 8} {
			m := anonymous(t, 1<<18)
			f := newFabric(t, 2, options...)
			a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
			mustExport(t, b, "seg", m, access)
			d := mustImport(t, a, "seg", 1, access)
			const rounds = 100
			flag, last, back := at8(m, 0), at8(m, 64+size-8), at8(m, 1<<17)
			var wg sync.WaitGroup
			wg.Go(func() { // the owner, who spins
				for r := uint64(1); r <= rounds; r++ {
					for atomic.LoadUint64(flag) < r {
						runtime.Gosched()
					}
					if v := atomic.LoadUint64(last); v < r {
						t.Errorf("size %d: flag %d, data %d", size, r, v)
					}
					atomic.StoreUint64(back, r)
				}
			})
			data := make([]byte, size)
			for r := uint64(1); r <= rounds; r++ {
				binary.NativeEndian.PutUint64(data[size-8:], r)
				written(a, d, 64, data)
				written(a, d, 0, binary.NativeEndian.AppendUint64(nil, r))
				for atomic.LoadUint64(back) < r {
					runtime.Gosched()
				}
			}
			wg.Wait()
		}
	})
}

// Aligned words are seen whole: the owner sees one of the values written, never
// half of each.
func TestWordsAreWhole(t *testing.T) {
	m := anonymous(t, 4096)
	f := newFabric(t, 2)
	a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
	mustExport(t, b, "seg", m, access)
	d := mustImport(t, a, "seg", 1, access)
	const zero, ones = uint64(0), ^uint64(0)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			for off := 8; off < 4000; off += 8 {
				if v := atomic.LoadUint64(at8(m, off)); v != zero && v != ones {
					t.Errorf("torn word at %d: %#x", off, v)
					return
				}
				if v := atomic.LoadUint32((*uint32)(unsafe.Pointer(&m[4]))); v != 0 && v != 1<<32-1 {
					t.Errorf("torn half word: %#x", v)
					return
				}
			}
		}
	})
	wg.Go(func() { // and by a reader on the network
		s := f.nodes[0].NewSpace()
		d := mustImport(t, s, "seg", 1, access)
		buf := make([]byte, 3992)
		for !stop.Load() {
			readBack(s, d, 8, buf)
			for i := 0; i < len(buf); i += 8 {
				if v := binary.NativeEndian.Uint64(buf[i:]); v != zero && v != ones {
					t.Errorf("read a torn word: %#x", v)
					return
				}
			}
			runtime.Gosched()
		}
	})
	for r := range 3000 {
		fill := make([]byte, 4000)
		if r%2 == 0 {
			for i := range fill {
				fill[i] = 0xff
			}
		}
		written(a, d, 4, fill[:36]) // a half word, four words
		written(a, d, 8, fill[:40])
		written(a, d, 4, fill[:3996])
	}
	stop.Store(true)
	wg.Wait()
}

// The same where nothing but the words and their reader is in the way.
func TestCollectsWholeWords(t *testing.T) {
	m := anonymous(t, 4096)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := uint64(0); !stop.Load(); v = ^v {
			for off := 0; off < 32; off += 8 {
				atomic.StoreUint64(at8(m, off), v)
			}
		}
	})
	buf := make([]byte, 32)
	for range 300_000 {
		collect(buf, m)
		for i := 0; i < len(buf); i += 8 {
			if v := binary.NativeEndian.Uint64(buf[i:]); v != 0 && v != ^uint64(0) {
				t.Errorf("torn word: %#x", v)
				stop.Store(true)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

// A reply opens the window while somebody is sending: he then sends what waits for it.
func TestWindowOpensWhileSending(t *testing.T) {
	e := newEnemy(t)
	for range window {
		if r := written(e.space, e.d, 0, pattern(8)); r != OK {
			t.Fatal(r)
		}
	}
	waiting := newOp()
	e.space.FAdd(&waiting.Operation, e.d, 0, 8, 1, false)
	if n := len(e.answers); n != window {
		t.Fatalf("%d requests are under way, want %d", n, window)
	}
	c := e.space.descriptors.get(int32(e.d))
	c.send.Lock()
	e.reply(0, OpAck, OK, 0, window, 1, 0)
	if n := len(e.answers); n != window {
		t.Fatalf("a request was sent by another than who was sending")
	}
	c.leave()
	if n := len(e.answers); n != window+1 {
		t.Fatalf("%d requests were sent, want %d", n, window+1)
	}
	for seq := uint64(1); seq < window; seq++ {
		e.reply(seq, OpAck, OK, 0, window, 1, 0)
	}
	e.reply(window, OpOld, OK, make([]byte, 8)...)
	if r := waiting.result(); r != OK {
		t.Error(r)
	}
}

// Remote atomics are atomic against each other, from several nodes, and against the
// owner's own locked instructions.
func TestAtomicsAgainstTheOwner(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		m := anonymous(t, 4096)
		f := newFabric(t, 3, options...)
		mustExport(t, f.nodes[2].NewSpace(), "seg", m, access)
		const rounds = 1000
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				s := f.nodes[i].NewSpace()
				d := mustImport(t, s, "seg", 2, access)
				for range rounds {
					do(func(o *Operation) { s.FAdd(o, d, 8, 8, 1, false) })
					do(func(o *Operation) { s.FAdd(o, d, 16, 4, 1, false) })
					for old := uint64(0); ; { // a counter by compare and swap
						_, o := do(func(o *Operation) { s.CAS(o, d, 24, 8, old, old+1, false) })
						if o.Old() == old {
							break
						}
						old = o.Old()
					}
				}
			})
		}
		wg.Go(func() {
			for range rounds {
				atomic.AddUint64(at8(m, 8), 1)
				atomic.AddUint32((*uint32)(unsafe.Pointer(&m[16])), 1)
				for {
					old := atomic.LoadUint64(at8(m, 24))
					if atomic.CompareAndSwapUint64(at8(m, 24), old, old+1) {
						break
					}
				}
				runtime.Gosched()
			}
		})
		wg.Wait()
		for _, off := range []int{8, 16, 24} {
			if n := *at8(m, off); n != 3*rounds {
				t.Errorf("counter at %d: %d, want %d", off, n, 3*rounds)
			}
		}
	})
}

// When Revoke has returned, no deposit touches the memory, whatever is under way.
func TestRevokeAgainstWrites(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		f := newFabric(t, 3, options...)
		owner := f.nodes[2].NewSpace()
		var stop atomic.Bool
		var wg sync.WaitGroup
		for i := range 2 {
			s := f.nodes[i].NewSpace()
			wg.Go(func() {
				block := pattern(MaxBlock + 1000)
				for !stop.Load() {
					e, o := do(func(o *Operation) { s.Import(o, "seg", 2, access, false) })
					if e == ENOENT {
						runtime.Gosched()
						continue
					}
					if e != OK {
						t.Errorf("import: %v", e)
						return
					}
					d := Desc(o.Handle())
					for fenced(s, d) == OK && !stop.Load() {
						written(s, d, 1, block)
						written(s, d, 8, block[:40])
						do(func(o *Operation) { s.FAdd(o, d, 0, 8, 1, true) })
					}
					if e, _ := do(func(o *Operation) { s.Release(o, d) }); e != OK && e != ESTALE {
						t.Errorf("release: %v", e)
					}
				}
			})
		}
		m := anonymous(t, MaxBlock+4096)
		for range 25 {
			seg := mustExport(t, owner, "seg", m, access)
			for *(*byte)(unsafe.Pointer(&m[100])) == 0 { // until somebody has written
				runtime.Gosched()
			}
			if e := owner.Revoke(seg); e != OK {
				t.Fatal(e)
			}
			clear(m)
			for range 20 {
				runtime.Gosched()
			}
			for i := range m {
				if m[i] != 0 {
					t.Fatalf("byte %d was written behind the revoke", i)
				}
			}
		}
		stop.Store(true)
		wg.Wait()
	})
}

// Every notification is waited for exactly once, though waits are cancelled all the time.
func TestWaitLosesNothing(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		const senders, rounds = 3, 2000
		f := newFabric(t, senders+1, options...)
		owner := f.nodes[senders].NewSpace()
		seg := mustExport(t, owner, "seg", make([]byte, 64), access)
		var sending sync.WaitGroup
		for i := range senders {
			sending.Go(func() {
				s := f.nodes[i].NewSpace()
				d := mustImport(t, s, "seg", senders, access)
				for range rounds {
					do(func(o *Operation) { s.Notify(o, d, 0) })
				}
				if e := fenced(s, d); e != OK {
					t.Error(e)
				}
			})
		}
		var got atomic.Uint64
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				for got.Load() < senders*rounds {
					o := newOp()
					owner.Wait(&o.Operation, seg)
					for range rand.IntN(3) {
						runtime.Gosched()
					}
					if !o.Done() && o.Cancel(ETIMEDOUT) {
						if len(o.woken) != 0 {
							t.Error("woken though cancelled")
						}
						continue
					}
					if e := o.result(); e != OK {
						t.Errorf("wait: %v", e)
					}
					got.Add(o.Event().Count)
				}
			})
		}
		sending.Wait()
		waiting.Wait()
		if n := got.Load(); n != senders*rounds {
			t.Errorf("%d notifications, want %d", n, senders*rounds)
		}
	})
}

// An operation that is cancelled is either done, with its data, or never
// touches its buffer again; and it can be used for the next thing at once.
func TestCancelAgainstCompletion(t *testing.T) {
	p := newPair(t, 3*MaxBlock, access, queued)
	for i := range p.mem {
		p.mem[i] = 0x77
	}
	o := newOp()
	cancelled, completed := 0, 0
	for round := 0; round < 3000 || cancelled == 0 || completed == 0; round++ {
		n := []int{8, 40, 4096, 2*MaxBlock + 5}[round%4]
		if n > MaxBlock && round%64 != 3 {
			n = 41
		}
		buf := make(mem, n)
		p.a.Read(&o.Operation, p.d, 0, buf, uint64(n), 1, false)
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		if o.Cancel(ETIMEDOUT) {
			cancelled++
			clear(buf)
			runtime.Gosched()
			for i := range buf {
				if buf[i] != 0 {
					t.Fatal("the buffer was written after Cancel had returned")
				}
			}
			if e := fenced(p.a, p.d); e != OK { // what was under way is over, so that the queue does not grow
				t.Fatal(e)
			}
			for i := range buf {
				if buf[i] != 0 {
					t.Fatal("the buffer was written after Cancel had returned")
				}
			}
			continue
		}
		completed++
		if e := o.result(); e != OK || buf[0] != 0x77 || buf[n-1] != 0x77 {
			t.Fatalf("%d bytes: %v, % x", n, e, buf[0])
		}
		select { // Cancel came between Done and Wake, which is due
		case <-o.woken:
		default:
		}
		o = newOp()
	}
	t.Logf("%d cancelled, %d completed", cancelled, completed)
}

// Asynchronous reads are complete at the fence.
func TestAsynchronousReads(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		p := newPair(t, 1<<20, access, options...)
		copy(p.mem, pattern(1<<20))
		bufs := make([]mem, 0, 300)
		for i := range 300 { // more than the window
			n := []int{1, 8, 40, 1000, 70000}[i%5]
			b := make(mem, n)
			if e, _ := do(func(o *Operation) { p.a.Read(o, p.d, uint64(i), b, uint64(n), 1, true) }); e != OK {
				t.Fatal(e)
			}
			bufs = append(bufs, b)
		}
		if e := fenced(p.a, Every); e != OK {
			t.Fatal(e)
		}
		for i, b := range bufs {
			if string(b) != string(p.mem[i:i+len(b)]) {
				t.Errorf("read %d of %d bytes is not complete", i, len(b))
			}
		}
		// Errors too: the far side's, and the buffer's.
		do(func(o *Operation) { p.a.Read(o, p.d, 0, mem(nil), 8, 1, true) })
		if e := fenced(p.a, p.d); e != EFAULT {
			t.Errorf("fence: %v, want EFAULT", e)
		}
		p.b.Revoke(p.seg)
		if e, _ := do(func(o *Operation) { p.a.Read(o, p.d, 0, bufs[1], 8, 1, true) }); e != OK {
			t.Errorf("posting: %v", e)
		}
		if e := fenced(p.a, p.d); e != ESTALE {
			t.Errorf("fence: %v, want ESTALE", e)
		}
	})
}

// A space that ends in the middle of things leaves nothing behind.
func TestCloseAgainstEverything(t *testing.T) {
	networks(t, func(t *testing.T, options ...func(*fabric, *Config)) {
		f := newFabric(t, 3, options...)
		owner := f.nodes[0].NewSpace()
		mustExport(t, owner, "seg", anonymous(t, 1<<18), access)
		for round := range 6 {
			var wg sync.WaitGroup
			for i := range 3 {
				s := f.nodes[i].NewSpace()
				for k := range 2 {
					wg.Go(func() {
						seg, e := s.Export(fmt.Sprint("own ", round, k), make([]byte, 64), access)
						if e != OK && e != ENOSPC {
							t.Error(e)
						}
						for range 20 {
							e, o := do(func(o *Operation) { s.Import(o, "seg", 0, access, true) })
							if e != OK {
								return
							}
							d := Desc(o.Handle())
							written(s, d, 0, pattern(70000))
							do(func(o *Operation) { s.FAdd(o, d, 0, 8, 1, true) })
							readBack(s, d, 0, make([]byte, 300))
							fenced(s, d)
						}
						o := newOp()
						s.Wait(&o.Operation, seg)
						o.result() // ESTALE or EDESC: the space is closed
					})
				}
				wg.Go(func() {
					for range rand.IntN(200) {
						runtime.Gosched()
					}
					s.Close()
				})
			}
			wg.Wait()
		}
		for _, n := range f.nodes { // whatever is still queued is delivered when this is
			do(func(o *Operation) { n.NewSpace().Import(o, "nothing", 0, Read, false) })
			fenced(owner, Every)
		}
		for i, n := range f.nodes {
			for { // queued farewells
				n.mu.Lock()
				a, b, c := len(n.initiators), len(n.targets), len(n.calls)
				n.mu.Unlock()
				if a == 0 && b == 0 && c == 0 {
					break
				}
				runtime.Gosched()
				_ = i
			}
		}
	})
}
