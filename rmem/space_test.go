package rmem

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// pattern is n bytes that differ from their neighbours and from zero.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8) | 1
	}
	return b
}

func TestWriteAndReadLengths(t *testing.T) {
	const size = 3*MaxBlock + 100
	p := newPair(t, size, access)
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 31, 39, 40, 41, 44, 64, 4096, MaxBlock - 1, MaxBlock, MaxBlock + 1, 2*MaxBlock + 40, size - 9} {
		for _, off := range []int{0, 1, 4, 9} {
			clear(p.mem)
			src := pattern(n)
			if e := written(p.a, p.d, uint64(off), src); e != OK {
				t.Fatalf("write of %d bytes at %d: %v", n, off, e)
			}
			if e := fenced(p.a, p.d); e != OK {
				t.Fatalf("fence after a write of %d bytes at %d: %v", n, off, e)
			}
			want := make([]byte, size)
			copy(want[off:], src)
			if !bytes.Equal(p.mem, want) {
				t.Fatalf("write of %d bytes at %d left something else in the segment", n, off)
			}
			dst := make([]byte, n)
			if e := readBack(p.a, p.d, uint64(off), dst); e != OK || !bytes.Equal(dst, src) {
				t.Fatalf("read of %d bytes at %d: %v, equal: %v", n, off, e, bytes.Equal(dst, src))
			}
		}
	}
}

func TestOneCell(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(p *pair, o *Operation)
		cells int
	}{
		{"write 40", func(p *pair, o *Operation) { p.a.Write(o, p.d, 3, mem(pattern(40)), 40, 1, true) }, 1},
		{"write 41", func(p *pair, o *Operation) { p.a.Write(o, p.d, 3, mem(pattern(41)), 41, 1, true) }, 2},
		{"write 1", func(p *pair, o *Operation) { p.a.Write(o, p.d, 3, mem(pattern(1)), 1, 1, false) }, 1},
		{"read 40", func(p *pair, o *Operation) { p.a.Read(o, p.d, 3, make(mem, 40), 40, 1, false) }, 1},
		{"read 4096", func(p *pair, o *Operation) { p.a.Read(o, p.d, 3, make(mem, 4096), 4096, 1, false) }, 1},
		{"cas", func(p *pair, o *Operation) { p.a.CAS(o, p.d, 8, 8, 1, 2, true) }, 1},
		{"fadd", func(p *pair, o *Operation) { p.a.FAdd(o, p.d, 8, 4, 1, true) }, 1},
		{"swap", func(p *pair, o *Operation) { p.a.Swap(o, p.d, 8, 8, 1, true) }, 1},
		{"notify", func(p *pair, o *Operation) { p.a.Notify(o, p.d, 8) }, 1},
		{"block", func(p *pair, o *Operation) { p.a.Write(o, p.d, 0, mem(pattern(MaxBlock)), MaxBlock, 1, false) }, 1364},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			p := newPair(t, MaxBlock, access, observed(r))
			r.reset()
			if e, _ := do(func(o *Operation) { c.begin(p, o) }); e != OK {
				t.Fatal(e)
			}
			if n := r.count(func(e *Event) bool { return e.Kind == Sent && e.Node == 0 && e.Op != OpHave }); n != c.cells {
				t.Errorf("%d cells were sent, want %d", n, c.cells)
			}
		})
	}
}

func TestLocalChecks(t *testing.T) {
	const size = 2 * MaxBlock
	p := newPair(t, size, access)
	only := func(r Rights) Desc { return mustImport(t, p.a, "seg", 1, r) }
	reader, writer, atomic := only(Read), only(Write), only(Atomic)
	released := only(access)
	if e, _ := do(func(o *Operation) { p.a.Release(o, released) }); e != OK {
		t.Fatal(e)
	}
	quiet := make([]byte, 64)
	mustExport(t, p.b, "quiet", quiet, access|Quiet)
	hush := mustImport(t, p.a, "quiet", 1, access)

	src, none := mem(make([]byte, size)), mem(nil)
	w := func(d Desc, off uint64, m io.ReaderAt, n uint64, width uint8, notify bool) func(*Operation) {
		return func(o *Operation) { p.a.Write(o, d, off, m, n, width, notify) }
	}
	r := func(d Desc, off uint64, m io.WriterAt, n uint64, width uint8) func(*Operation) {
		return func(o *Operation) { p.a.Read(o, d, off, m, n, width, false) }
	}
	add := func(d Desc, off uint64, width uint8, notify bool) func(*Operation) {
		return func(o *Operation) { p.a.FAdd(o, d, off, width, 1, notify) }
	}
	for _, c := range []struct {
		name  string
		begin func(*Operation)
		want  Error
	}{
		{"write, released", w(released, 0, src, 8, 1, false), EDESC},
		{"write, negative", w(-1, 0, src, 8, 1, false), EDESC},
		{"write, forged", w(p.d+77, 0, src, 8, 1, false), EDESC},
		{"write, forged generation", w(p.d|1<<16, 0, src, 8, 1, false), EDESC},
		{"write, every", w(Every, 0, src, 8, 1, false), EDESC},
		{"write, length 0, forged", w(p.d+77, 0, src, 0, 1, false), EDESC},
		{"write, length 0, no right", w(reader, 0, src, 0, 1, false), EPERM},
		{"write, length 0, far outside", w(p.d, math.MaxUint64, none, 0, 1, true), OK},
		{"write, no right", w(reader, math.MaxUint64, none, 7, 2, false), EPERM},
		{"write, no right but atomic", w(atomic, 0, src, 8, 1, false), EPERM},
		{"write, notify quiet", w(hush, 0, src, 8, 1, true), EPERM},
		{"write, half a word", w(writer, math.MaxUint64, none, 7, 2, false), EALIGN},
		{"write, no such word", w(writer, 0, src, 9, 3, false), EINVAL},
		{"write, one behind the end", w(writer, size, none, 1, 1, false), ERANGE},
		{"write, over the end", w(writer, size-7, none, 8, 1, false), ERANGE},
		{"write, offset wraps", w(writer, math.MaxUint64-3, src, 8, 1, false), ERANGE},
		{"write, length wraps", w(writer, 8, src, math.MaxUint64-7, 1, false), ERANGE},
		{"write, long and over the end", w(writer, 1, src, size, 1, false), ERANGE},
		{"write, fault", w(writer, 0, none, 8, 1, false), EFAULT},
		{"write, block, fault at its end", w(writer, 0, src[:99], 100, 1, false), EFAULT},
		{"write, long, fault at its end", w(writer, 0, src[:size-1], size, 1, false), EFAULT},
		{"read, no right", r(writer, 0, src, 8, 1), EPERM},
		{"read, half a word", r(reader, 0, src, 12, 8), EALIGN},
		{"read, over the end", r(reader, size-7, src, 8, 1), ERANGE},
		{"read, fault", r(reader, 0, none, 8, 1), EFAULT},
		{"read, block, fault", r(reader, 0, none, 800, 1), EFAULT},
		{"read, length 0", r(reader, math.MaxUint64, none, 0, 1), OK},
		{"atomic, no right", add(writer, 3, 8, false), EPERM},
		{"atomic, unaligned", add(p.d, 12, 8, false), EALIGN},
		{"atomic, unaligned outside", add(p.d, size+3, 4, false), EALIGN},
		{"atomic, outside", add(p.d, size, 8, false), ERANGE},
		{"atomic, wraps", add(p.d, math.MaxUint64-7, 8, false), ERANGE},
		{"atomic, no such width", add(p.d, 0, 2, false), EINVAL},
		{"atomic, notify quiet", add(hush, 0, 8, true), EPERM},
		{"atomic on quiet", add(hush, 0, 8, false), OK},
		{"notify, forged", func(o *Operation) { p.a.Notify(o, 1234, 0) }, EDESC},
		{"notify, quiet", func(o *Operation) { p.a.Notify(o, hush, 0) }, EPERM},
		{"notify, at the end", func(o *Operation) { p.a.Notify(o, reader, size) }, OK},
		{"notify, behind the end", func(o *Operation) { p.a.Notify(o, reader, size+1) }, ERANGE},
		{"fence, forged", func(o *Operation) { p.a.Fence(o, 1234) }, EDESC},
		{"fence, all is well", func(o *Operation) { p.a.Fence(o, Every) }, OK},
		{"release, twice", func(o *Operation) { p.a.Release(o, released) }, EDESC},
		{"wait, forged", func(o *Operation) { p.b.Wait(o, p.seg+1000) }, EDESC},
		{"wait, another's", func(o *Operation) { p.a.Wait(o, p.seg) }, EDESC},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(p.mem)
			clear(quiet)
			e, _ := do(c.begin)
			if e != c.want {
				t.Errorf("result %v, want %v", e.Name(), c.want.Name())
			}
			if e := fenced(p.a, Every); e != OK {
				t.Errorf("a refusal that was reported already came again: %v", e)
			}
			if e != OK && (!bytes.Equal(p.mem, make([]byte, size)) || !bytes.Equal(quiet, make([]byte, 64))) {
				t.Error("memory was changed by what was refused")
			}
		})
	}
}

func TestExportChecks(t *testing.T) {
	p := newPair(t, 64, access)
	long := strings.Repeat("n", 255)
	for _, c := range []struct {
		name   string
		mem    []byte
		rights Rights
		want   Error
	}{
		{"", p.mem, Read, EINVAL},
		{long + "n", p.mem, Read, EINVAL},
		{long, p.mem, Read, OK},
		{"empty", nil, Read, EINVAL},
		{"no right", p.mem, 0, EINVAL},
		{"only quiet", p.mem, Quiet, EINVAL},
		{"unknown bit", p.mem, Read | 16, EINVAL},
		{"seg", p.mem, Read, EEXIST},
		{"\x00\xff\n/../%s", p.mem, Read, OK},
	} {
		if _, e := p.b.Export(c.name, c.mem, c.rights); e != c.want {
			t.Errorf("export %q with rights %d: %v, want %v", c.name, c.rights, e.Name(), c.want.Name())
		}
	}
	// A refused export leaves no segment behind: its number is the next one's.
	if len(p.f.nodes[1].live()) != 3 {
		t.Errorf("%d segments are left, want 3", len(p.f.nodes[1].live()))
	}
	mustImport(t, p.a, "\x00\xff\n/../%s", 1, Read)
}

func TestImportChecks(t *testing.T) {
	p := newPair(t, 64, Read|Quiet)
	for _, c := range []struct {
		name   string
		seg    string
		node   int
		rights Rights
		wait   bool
		want   Error
	}{
		{"no such node", "seg", 2, Read, true, EINVAL},
		{"negative node", "seg", -1, Read, true, EINVAL},
		{"no name", "", 1, Read, false, EINVAL},
		{"long name", strings.Repeat("n", 256), 1, Read, true, EINVAL},
		{"no right", "seg", 1, 0, true, EINVAL},
		{"quiet", "seg", 1, Read | Quiet, true, EINVAL},
		{"absent", "gone", 1, Read, false, ENOENT},
		{"absent here", "seg", 0, Read, false, ENOENT},
		{"not granted", "seg", 1, Write, true, EPERM},
		{"not all granted", "seg", 1, Read | Atomic, true, EPERM},
		{"granted", "seg", 1, Read, true, OK},
	} {
		before := len(p.a.descriptors.all())
		e, _ := do(func(o *Operation) { p.a.Import(o, c.seg, c.node, c.rights, c.wait) })
		if e != c.want {
			t.Errorf("%s: %v, want %v", c.name, e.Name(), c.want.Name())
		}
		if made := len(p.a.descriptors.all()) - before; made != 0 != (e == OK) {
			t.Errorf("%s: %d descriptors were made", c.name, made)
		}
	}
	if n := len(p.f.nodes[0].initiators); n != 2 {
		t.Errorf("%d circuits are left, want 2", n)
	}
}

func TestCircuitsAreGivenBack(t *testing.T) {
	p := newPair(t, 64, access)
	for range 5000 { // more than there are VCs
		d := mustImport(t, p.a, "seg", 1, Read)
		if e, _ := do(func(o *Operation) { p.a.Release(o, d) }); e != OK {
			t.Fatal(e)
		}
		if e, _ := do(func(o *Operation) { p.a.Import(o, "seg", 1, Read|Quiet, false) }); e != EINVAL {
			t.Fatal(e)
		}
		if e, _ := do(func(o *Operation) { p.a.Import(o, "seg2", 1, Read, false) }); e != ENOENT {
			t.Fatal(e)
		}
	}
	if n, m := len(p.f.nodes[0].initiators), len(p.f.nodes[1].targets); n != 1 || m != 1 {
		t.Errorf("%d and %d ends of circuits are left, want 1 and 1", n, m)
	}
	p.f.ports[0].limit = 0
	var ds []Desc
	for {
		e, o := do(func(o *Operation) { p.a.Import(o, "seg", 1, Read, false) })
		if e == ENOSPC {
			break
		}
		if e != OK || len(ds) > 5000 {
			t.Fatal(e, len(ds))
		}
		ds = append(ds, Desc(o.Handle()))
	}
}

func TestRevoke(t *testing.T) {
	p := newPair(t, 64, access)
	if e := p.b.Revoke(p.seg); e != OK {
		t.Fatal(e)
	}
	if e := p.b.Revoke(p.seg); e != EDESC {
		t.Errorf("second revoke: %v", e)
	}
	if e := written(p.a, p.d, 0, pattern(40)); e != OK {
		t.Errorf("write behind a revoke: %v, the importer cannot know", e)
	}
	// The same memory under the same name: a new generation, the old descriptor stays dead.
	seg := mustExport(t, p.b, "seg", p.mem, access)
	if seg == p.seg {
		t.Error("the number of a revoked segment was given out again at once")
	}
	if e := fenced(p.a, p.d); e != ESTALE {
		t.Errorf("fence: %v, want ESTALE", e)
	}
	if e := fenced(p.a, p.d); e != OK {
		t.Errorf("the error was reported twice: %v", e)
	}
	if e := readBack(p.a, p.d, 0, make([]byte, 8)); e != ESTALE {
		t.Errorf("read: %v, want ESTALE", e)
	}
	if e, _ := do(func(o *Operation) { p.a.FAdd(o, p.d, 0, 8, 1, true) }); e != ESTALE {
		t.Errorf("fadd: %v, want ESTALE", e)
	}
	if !bytes.Equal(p.mem, make([]byte, 64)) {
		t.Error("memory of a revoked segment was changed")
	}
	d := mustImport(t, p.a, "seg", 1, access)
	if e := written(p.a, d, 0, pattern(8)); e != OK || fenced(p.a, d) != OK || !bytes.Equal(p.mem[:8], pattern(8)) {
		t.Errorf("write through a new descriptor: %v, memory % x", e, p.mem[:8])
	}
}

func TestInhibit(t *testing.T) {
	p := newPair(t, 3*MaxBlock, access)
	if e := p.b.Inhibit(p.seg, true); e != OK {
		t.Fatal(e)
	}
	// The write is refused as a whole, though it is permitted again when its last PDU comes.
	cells := 0
	p.f.ports[0].tamper = func(*atmCell) bool {
		if cells++; cells == 2000 {
			p.b.Inhibit(p.seg, false)
		}
		return true
	}
	e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, mem(pattern(3*MaxBlock)), 3*MaxBlock, 1, true) })
	if e != OK || fenced(p.a, p.d) != EINHIBIT || !bytes.Equal(p.mem, make([]byte, 3*MaxBlock)) {
		t.Error("a block was deposited in part, or not refused")
	}
	p.f.ports[0].tamper = nil
	p.b.Inhibit(p.seg, true)
	if e, _ := do(func(o *Operation) { p.a.Swap(o, p.d, 0, 8, 1, true) }); e != EINHIBIT {
		t.Errorf("swap: %v", e)
	}
	if e := readBack(p.a, p.d, 0, make([]byte, 8)); e != OK {
		t.Errorf("read: %v", e)
	}
	if p.b.segments.get(int32(p.seg)).first != nil {
		t.Error("something refused has notified")
	}
	p.b.Inhibit(p.seg, false)
	if e := written(p.a, p.d, 0, pattern(8)); e != OK || fenced(p.a, p.d) != OK {
		t.Error("still inhibited")
	}
	if e := p.b.Inhibit(p.seg+1, true); e != EDESC {
		t.Errorf("inhibit of no segment: %v", e)
	}
}

func TestFenceKeepsTheFirstError(t *testing.T) {
	p := newPair(t, 64, access)
	d2 := mustImport(t, p.a, "seg", 1, access)
	p.b.Inhibit(p.seg, true)
	written(p.a, d2, 0, pattern(8)) // the first: EINHIBIT
	written(p.a, p.d, 0, pattern(8))
	p.b.Revoke(p.seg)
	written(p.a, p.d, 0, pattern(8)) // ESTALE comes second
	if e := readBack(p.a, p.d, 0, make([]byte, 8)); e != ESTALE {
		t.Errorf("read: %v", e)
	}
	if e := fenced(p.a, p.d); e != EINHIBIT {
		t.Errorf("fence: %v, want the first error", e)
	}
	written(p.a, p.d, 0, pattern(8))
	for i, want := range []Error{EINHIBIT, ESTALE, OK} { // oldest first, one a fence
		if e := fenced(p.a, Every); e != want {
			t.Errorf("fence %d of every descriptor: %v, want %v", i, e, want)
		}
	}
	written(p.a, p.d, 0, pattern(8))
	if e, _ := do(func(o *Operation) { p.a.Release(o, p.d) }); e != ESTALE {
		t.Errorf("release: %v, want ESTALE", e)
	}
}

func TestUnreportedErrorIsLogged(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Warn})
	p := newPair(t, 64, access, logged(log))
	mustImport(t, p.a, "seg", 1, access)
	p.b.Revoke(p.seg)
	written(p.a, p.d, 0, pattern(8))
	p.a.Close()
	if s := out.String(); strings.Count(s, "ESTALE") != 1 {
		t.Errorf("log: %q", s)
	}
}

func TestAtomics(t *testing.T) {
	p := newPair(t, 64, access)
	word := func(width uint8) uint64 {
		b := make([]byte, width)
		readBack(p.a, p.d, 8, b)
		swab(b, width) // little endian memory, a big endian number
		return number(b)
	}
	for _, width := range []uint8{4, 8} {
		top := uint64(math.MaxUint64)
		if width == 4 {
			top = math.MaxUint32
		}
		for i, c := range []struct {
			begin func(*Operation)
			old   uint64
			now   uint64
		}{
			{func(o *Operation) { p.a.Swap(o, p.d, 8, width, top-1, false) }, 0, top - 1},
			{func(o *Operation) { p.a.FAdd(o, p.d, 8, width, 1, false) }, top - 1, top},
			{func(o *Operation) { p.a.FAdd(o, p.d, 8, width, 6, false) }, top, 5},
			{func(o *Operation) { p.a.FAdd(o, p.d, 8, width, math.MaxUint64, false) }, 5, 4},
			{func(o *Operation) { p.a.CAS(o, p.d, 8, width, 5, 7, false) }, 4, 4},
			{func(o *Operation) { p.a.CAS(o, p.d, 8, width, 4, 7, false) }, 4, 7},
			{func(o *Operation) { p.a.Swap(o, p.d, 8, width, 0, false) }, 7, 0},
		} {
			e, o := do(c.begin)
			if e != OK || o.Old() != c.old || word(width) != c.now {
				t.Errorf("width %d, step %d: %v, old %#x, now %#x, want %#x, %#x", width, i, e, o.Old(), word(width), c.old, c.now)
			}
		}
	}
	for i, b := range p.mem {
		if (i < 8 || i >= 16) && b != 0 {
			t.Fatalf("byte %d was changed", i)
		}
	}
	// The address at the owner counts, not the offset alone.
	odd := make([]byte, 65)
	mustExport(t, p.b, "odd", odd[1:], access)
	d := mustImport(t, p.a, "odd", 1, access)
	if e, _ := do(func(o *Operation) { p.a.FAdd(o, d, 0, 8, 1, false) }); e != EALIGN {
		t.Errorf("atomic at an odd address: %v", e)
	}
}

func TestSwab(t *testing.T) {
	const n = 2*MaxBlock + 16
	p := newPair(t, n, access)
	for _, width := range []uint8{1, 2, 4, 8} {
		for _, n := range []int{8, 40, 48, n} {
			src := pattern(n)
			want := make([]byte, n)
			for i := range want {
				w := int(width)
				want[i] = src[i/w*w+w-1-i%w]
			}
			if e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, mem(src), uint64(n), width, false) }); e != OK {
				t.Fatal(e)
			}
			if !bytes.Equal(p.mem[:n], want) || !bytes.Equal(src, pattern(n)) {
				t.Fatalf("write of %d bytes in words of %d: wrong bytes, or the source was changed", n, width)
			}
			dst := make(mem, n)
			if e, _ := do(func(o *Operation) { p.a.Read(o, p.d, 0, dst, uint64(n), width, false) }); e != OK || !bytes.Equal(dst, src) {
				t.Fatalf("read of %d bytes in words of %d: %v", n, width, e)
			}
		}
	}
}

// Offsets from 128 MiB on do not fit a cell's operation word.
func TestHighOffsets(t *testing.T) {
	const size = 1<<27 + 4096
	r := &recorder{}
	f := newFabric(t, 1, observed(r))
	s := f.nodes[0].NewSpace()
	m := anonymous(t, size)
	mustExport(t, s, "big", m, access)
	d := mustImport(t, s, "big", 0, access)
	for _, off := range []uint64{1<<27 - 8, 1 << 27, 1<<27 + 8} {
		for _, n := range []int{1, 3, 8, 40, 100} {
			src, dst := pattern(n), make([]byte, n)
			if e := written(s, d, off, src); e != OK || fenced(s, d) != OK {
				t.Fatal(e)
			}
			if e := readBack(s, d, off, dst); e != OK || !bytes.Equal(dst, src) || !bytes.Equal(m[off:][:n], src) {
				t.Fatalf("%d bytes at %#x: %v", n, off, e)
			}
		}
		clear(m[off:][:16])
		for want := range uint64(2) {
			e, o := do(func(o *Operation) { s.FAdd(o, d, off, 8, 1, false) })
			if e != OK || o.Old() != want {
				t.Fatalf("fadd at %#x: %v, old %d", off, e, o.Old())
			}
			e, o = do(func(o *Operation) { s.CAS(o, d, off+8, 4, want, want+1, false) })
			if e != OK || o.Old() != want {
				t.Fatalf("cas at %#x: %v, old %d", off, e, o.Old())
			}
		}
		if e, _ := do(func(o *Operation) { s.Notify(o, d, off) }); e != OK || fenced(s, d) != OK {
			t.Fatal(e)
		}
	}
	if n := r.count(func(e *Event) bool { return e.Kind == Dropped || e.Kind == Refused }); n != 0 {
		t.Errorf("%d requests were dropped or refused", n)
	}
}

func TestSequenceWraps(t *testing.T) {
	p := newPair(t, 64, access)
	for i := range uint64(3 << seqBits) {
		if e, o := do(func(o *Operation) { p.a.FAdd(o, p.d, 0, 8, 1, false) }); e != OK || o.Old() != i {
			t.Fatalf("number %d: %v, old %d", i, e, o.Old())
		}
	}
}

// [X12] [M13] The tables of segments and of descriptors hold 65,535 each.
func TestHandlesAreNotReused(t *testing.T) {
	var h handles[int]
	seen := map[int32]bool{}
	var thing int
	for range 1000 {
		n, ok := h.add(&thing)
		if !ok || seen[n] || n < 0 {
			t.Fatalf("%d was given out twice", n)
		}
		seen[n] = true
		if h.remove(n) == nil || h.remove(n) != nil || h.get(n) != nil {
			t.Fatal("not taken back once")
		}
	}
	for range 65535 {
		if n, ok := h.add(&thing); !ok || Desc(n) == Every {
			t.Fatalf("add: %d, %v", n, ok)
		}
	}
	if _, ok := h.add(&thing); ok {
		t.Error("the table has no end")
	}
	for range 100 {
		if n := rand.Int32(); h.get(n) != nil && n&maxPlaces != 0 && n>>placeBits != 0 {
			t.Errorf("%#x was never given out", n)
		}
	}
}

func TestErrorsHaveNamesAndTexts(t *testing.T) {
	seen := map[string]bool{}
	for e := OK; e >= lastError; e-- {
		if seen[e.Name()] || seen[e.Error()] || statusError(e.status()) != e {
			t.Errorf("%d: %s: %s", e, e.Name(), e.Error())
		}
		seen[e.Name()], seen[e.Error()] = true, true
	}
	for _, e := range []Error{1, lastError - 1, math.MinInt32} {
		if !strings.Contains(e.Error(), fmt.Sprint(int(e))) {
			t.Errorf("%d: %s", e, e.Error())
		}
	}
	if statusError(200) != EDOWN {
		t.Error("a status there is none of does not mean that the peer has failed")
	}
}
