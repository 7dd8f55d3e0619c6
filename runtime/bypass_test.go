//go:build linux && amd64

package runtime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	guest "rmemrun/guest/go/rmem"
	"rmemrun/rmem"
)

func init() {
	guests["order"] = orderGuest
	guests["refusals"] = refusalsGuest
	guests["circuits"] = circuitsGuest
	guests["leaver"] = leaverGuest
	guests["pair"] = pairGuest
	guests["last"] = lastGuest
}

// patched has a job run with stubs and rings, and who waits do so in a certain way.
func patched(p Poll, cpus int) func(*Job) {
	return func(j *Job) { j.Engine, j.Poll, j.CPUs = patchEngine, p, cpus }
}

// ways are how agent and guests may wait.
var ways = []struct {
	name string
	poll Poll
	cpus int
}{{"auto", PollAuto, 0}, {"polling", PollYes, 0}, {"asleep", PollNo, 1}}

// TestGuestsPastTheirNodes runs guests that other tests run under ptrace.
func TestGuestsPastTheirNodes(t *testing.T) {
	for _, w := range ways {
		for _, g := range []struct {
			name  string
			nodes int
		}{{"hello", 3}, {"ring", 1}, {"ring", 2}, {"ring", 8}, {"threads", 1}, {"timeouts", 1}, {"signal", 1}, {"refused", 1}, {"quitter", 2}, {"exec", 1}, {"many", 2}} {
			t.Run(fmt.Sprint(w.name, "/", g.name, g.nodes), func(t *testing.T) {
				succeed(t, g.name, g.nodes, patched(w.poll, w.cpus))
			})
		}
	}
}

// orderGuest: what is written in cells, in blocks and by atomics through one descriptor takes effect in the order in which it was asked for, whichever of it traps.
func orderGuest() error {
	const size = 4096
	buf := make([]byte, size)
	seg, err := guest.Export("order", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d, err := guest.Import("order", (guest.Node()+1)%guest.Nodes(), everyRight, guest.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	want := make([]byte, size)
	for i := range 400 {
		at, n := i*37%(size-600), 1+i*13%40
		if i%5 == 4 {
			n = 41 + i%500 // a block, which traps
		}
		p := bytes.Repeat([]byte{byte(i)}, n)
		copy(want[at:], p)
		if err := d.Write(uint64(at), p, 0); err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
		if i%7 == 0 {
			at &^= 7
			old, err := d.FAdd(uint64(at), 1)
			if err != nil {
				return fmt.Errorf("fadd %d: %w", i, err)
			}
			if have := binary.LittleEndian.Uint64(want[at:]); old != have {
				return fmt.Errorf("fadd %d found %#x, want %#x", i, old, have)
			}
			binary.LittleEndian.PutUint64(want[at:], old+1)
		}
		if i%11 == 0 {
			got := make([]byte, n)
			if err := d.Read(uint64(i*37%(size-600)), got, 0); err != nil || !bytes.Equal(got, want[i*37%(size-600):][:n]) {
				return fmt.Errorf("read %d: % x, %v", i, got, err)
			}
		}
	}
	if err := d.Fence(); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	got := make([]byte, size)
	if err := d.Read(0, got, 0); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("in the end %v, and the memory is right: %v", err, bytes.Equal(got, want))
	}
	if err := d.Notify(0); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	_, err = seg.Wait(guest.Forever)
	return err
}

func TestOrderOfRingsAndTraps(t *testing.T) {
	for _, w := range ways {
		for _, nodes := range []int{1, 2, 4} {
			t.Run(fmt.Sprint(w.name, nodes), func(t *testing.T) {
				result, _ := succeed(t, "order", nodes, patched(w.poll, w.cpus))
				// Imports and the like, and each operation once, whichever way it went; fences and waits that did not trap are not counted.
				operations := uint64(400 + 58 + 37 + 1 + 1)
				if n := result.Instructions / uint64(nodes); n < operations || n > operations+20 {
					t.Errorf("%d instructions were counted on each node, which has executed %d operations", n, operations)
				}
			})
		}
	}
}

// refusalsGuest: refusals of what was posted are reported by the next fence, once, the first first; what is refused changes nothing.
func refusalsGuest() error {
	buf := make([]byte, 64)
	seg, err := guest.Export("box", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d, err := guest.Import("box", 0, everyRight, 0)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	fence := func(when string, want error) error {
		if err := d.Fence(); !errors.Is(err, want) {
			return fmt.Errorf("fence %s: %v, want %v", when, err, want)
		}
		return nil
	}
	for i := range 50 {
		on := i%3 == 1
		if err := seg.Inhibit(on); err != nil {
			return fmt.Errorf("inhibit: %w", err)
		}
		before := buf[3]
		for range 1 + i%5 {
			if err := d.Write(3, []byte{byte(i + 1)}, 0); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		_, errAdd := d.FAdd(8, 1)
		want := error(nil)
		if on {
			want = guest.EINHIBIT
		}
		if !errors.Is(errAdd, want) {
			return fmt.Errorf("fadd, inhibited %v: %v", on, errAdd)
		}
		if err := fence("after writes", want); err != nil {
			return err
		}
		if err := fence("again", nil); err != nil {
			return err
		}
		if now := buf[3]; on && now != before || !on && now != byte(i+1) {
			return fmt.Errorf("inhibited %v, and the byte was %d and is %d", on, before, now)
		}
	}
	if err := seg.Inhibit(false); err != nil {
		return fmt.Errorf("inhibit: %w", err)
	}
	for range 20 {
		if err := d.Write(0, []byte("last"), 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := seg.Revoke(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	copy(buf, "mine")
	for range 20 {
		if err := d.Write(0, []byte("none"), 0); err != nil {
			return fmt.Errorf("write to a segment that was revoked: %w", err)
		}
	}
	if _, err := d.FAdd(8, 1); !errors.Is(err, guest.ESTALE) {
		return fmt.Errorf("fadd at a segment that was revoked: %v", err)
	}
	if err := fence("after revoke", guest.ESTALE); err != nil {
		return err
	}
	if string(buf[:4]) != "mine" {
		return fmt.Errorf("after revoke the memory holds %q", buf[:4])
	}
	if err := d.Write(0, []byte("none"), 0); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := d.Release(); !errors.Is(err, guest.ESTALE) {
		return fmt.Errorf("release: %v, want the error that no fence has reported", err)
	}
	if err := d.Write(0, []byte("none"), 0); !errors.Is(err, guest.EDESC) {
		return fmt.Errorf("write after release: %v", err)
	}
	return nil
}

func TestRefusalsPastTheNode(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { succeed(t, "refusals", 1, patched(w.poll, w.cpus)) })
	}
}

// circuitsGuest: descriptors come and go, more than there are rings in a batch, and each reaches its own segment.
func circuitsGuest() error {
	const segments = 9
	bufs := make([][]byte, segments)
	var segs []guest.Segment
	for i := range bufs {
		bufs[i] = make([]byte, 64)
		seg, err := guest.Export(fmt.Sprint("box", i), bufs[i], everyRight)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		segs = append(segs, seg)
	}
	peer := (guest.Node() + 1) % guest.Nodes()
	for round := range uint64(6) {
		var descriptors []guest.Desc
		for i := range segments {
			d, err := guest.Import(fmt.Sprint("box", i), peer, everyRight, guest.Forever)
			if err != nil {
				return fmt.Errorf("import: %w", err)
			}
			descriptors = append(descriptors, d)
		}
		for range 20 {
			for i, d := range descriptors {
				if _, err := d.FAdd(8, uint64(i)+1); err != nil {
					return fmt.Errorf("fadd: %w", err)
				}
				if err := d.Write(16, []byte{byte(i), byte(round)}, 0); err != nil {
					return fmt.Errorf("write: %w", err)
				}
			}
		}
		for i, d := range descriptors {
			got := make([]byte, 32)
			if err := d.Read(0, got, 0); err != nil {
				return fmt.Errorf("read: %w", err)
			}
			if n := binary.LittleEndian.Uint64(got[8:]); n != (round+1)*20*uint64(i+1) || got[16] != byte(i) || got[17] != byte(round) {
				return fmt.Errorf("round %d, segment %d: % x", round, i, got)
			}
			if err := d.Release(); err != nil {
				return fmt.Errorf("release: %w", err)
			}
		}
	}
	d, err := guest.Import("box0", peer, everyRight, guest.Forever)
	if err != nil {
		return err
	}
	if err := d.Notify(0); err != nil {
		return err
	}
	if _, err := segs[0].Wait(guest.Forever); err != nil {
		return err
	}
	return nil
}

func TestCircuitsComeAndGo(t *testing.T) {
	for _, w := range ways {
		for _, nodes := range []int{1, 2} {
			t.Run(fmt.Sprint(w.name, nodes), func(t *testing.T) { succeed(t, "circuits", nodes, patched(w.poll, w.cpus)) })
		}
	}
}

// leaverGuest: node 1 ends while node 0 writes to it; node 0 is told, and what node 0 has posted before it ends arrives.
func leaverGuest() error {
	buf := make([]byte, 4096)
	seg, err := guest.Export("box", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() == 1 {
		if _, err := seg.Wait(guest.Forever); err != nil {
			return err
		}
		return nil // in the midst of it
	}
	d, err := guest.Import("box", 1, everyRight, guest.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := d.Write(0, []byte("go"), guest.Notify); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		for range 50 {
			if err := d.Write(0, []byte("more"), 0); err != nil {
				if errors.Is(err, guest.EDOWN) {
					return nil
				}
				return fmt.Errorf("write: %w", err)
			}
		}
		switch err := d.Fence(); {
		case err == nil:
		case errors.Is(err, guest.EDOWN), errors.Is(err, guest.ESTALE):
			if _, err := d.FAdd(0, 1); !errors.Is(err, guest.EDOWN) && !errors.Is(err, guest.ESTALE) {
				return fmt.Errorf("fadd at a node that has left: %v", err)
			}
			return nil
		default:
			return fmt.Errorf("fence: %w", err)
		}
	}
	return errors.New("nobody says that node 1 has left")
}

func TestExporterEndsWhileRingsAreUsed(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for range 5 {
				succeed(t, "leaver", 2, patched(w.poll, w.cpus))
			}
		})
	}
}

// pairGuest: node 0 posts and ends at once, without a fence; node 1 finds all of it.
func pairGuest() error {
	const last = 5000
	buf := make([]byte, 64)
	seg, err := guest.Export("box", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() == 1 {
		if _, err := seg.Wait(guest.Forever); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if n := binary.LittleEndian.Uint64(buf); n != last {
			return fmt.Errorf("the last write was %d, want %d", n, last)
		}
		return nil
	}
	d, err := guest.Import("box", 1, everyRight, guest.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for i := range uint64(last) {
		if err := d.Write(0, binary.LittleEndian.AppendUint64(nil, i+1), 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := d.Notify(0); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	unix.Exit(0)
	return nil
}

func TestWhatWasPostedArrives(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for range 5 {
				succeed(t, "pair", 2, patched(w.poll, w.cpus))
			}
		})
	}
}

// lastGuest: who waits for what it has itself posted gets it, though nobody else is left who could send anything.
func lastGuest() error {
	seg, err := guest.Export("box", make([]byte, 64), everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() == 1 {
		return nil
	}
	d, err := guest.Import("box", 0, everyRight, 0)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for err == nil || errors.Is(err, guest.ETIMEDOUT) {
		_, err = seg.Wait(time.Millisecond)
	}
	if !errors.Is(err, guest.EDOWN) {
		return fmt.Errorf("wait when all others are gone: %w", err)
	}
	for i := range 300 {
		if err := d.Notify(uint64(i % 64)); err != nil {
			return fmt.Errorf("notify %d: %w", i, err)
		}
		if e, err := seg.Wait(guest.Forever); err != nil || e.Offset != uint64(i%64) || e.Count != 1 {
			return fmt.Errorf("wait for what was notified, %d: %+v, %w", i, e, err)
		}
		if _, err := seg.Wait(0); !errors.Is(err, guest.ETIMEDOUT) && !errors.Is(err, guest.EDOWN) {
			return fmt.Errorf("another wait, %d: %w", i, err)
		}
	}
	return nil
}

func TestWaitForWhatWasPosted(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { succeed(t, "last", 2, patched(w.poll, w.cpus)) })
	}
	t.Run("by the agent", func(t *testing.T) {
		succeed(t, "last", 2, func(j *Job) { j.Witness = &Witness{Tell: func(*rmem.Effect) {}, AgentServes: true} })
	})
}

// A stuckServer takes its time to fail.
type stuckServer struct {
	server
	begun, release chan struct{}
	failed         atomic.Bool
}

func (s *stuckServer) Fail() {
	close(s.begun)
	<-s.release
	s.failed.Store(true)
}

// TestBrokenOnce: of two who find a ring broken, the second goes on when the circuit has failed, not before: it may be a fence.
func TestBrokenOnce(t *testing.T) {
	s := &stuckServer{begun: make(chan struct{}), release: make(chan struct{})}
	b := &bypass{of: &bypasses{log: hclog.NewNullLogger()}, server: s}
	var wg sync.WaitGroup
	wg.Go(b.broken)
	<-s.begun
	for range 4 {
		wg.Go(func() {
			b.broken()
			if !s.failed.Load() {
				t.Error("the ring is said to be broken, and its circuit has not failed yet")
			}
		})
	}
	for range 1000 {
		goruntime.Gosched()
	}
	close(s.release)
	wg.Wait()
}
