//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"rmemrun/decode"
	"rmemrun/ring/stub"
)

// testRegion is a region at an address, with one trampoline, of a write at pc.
func testRegion(t *testing.T, addr, pc uint64) (*region, *site) {
	t.Helper()
	r, fd, err := newRegion()
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	t.Cleanup(r.drop)
	r.addr = addr
	inst := decode.Instruction{Arch: decode.ArchAMD64, Op: decode.Write, Width: 1, V: 6, A: 8, P: 7}
	code, err := decode.Encode(inst)
	if err != nil {
		t.Fatal(err)
	}
	inst.Len = uint8(len(code))
	st := &site{inst: inst}
	copy(st.code[:], code)
	if got, ok := r.add(pc, st, stub.Text, 0x1234_5000); !ok || got != addr+uint64(first) {
		t.Fatalf("add: %#x, %v", got, ok)
	}
	return r, st
}

// TestTrampoline disassembles a trampoline: what it does, and that it leads where it shall.
func TestTrampoline(t *testing.T) {
	const addr, pc = 0x7f00_0000_0000, 0x7f00_1234_5678 &^ 7
	r, st := testRegion(t, addr, pc)
	b := r.mapping[first:]
	down := -stub.Frame
	record := fmt.Sprintf("lea %#x(%%rip),%%rax", atRecord-atEnter)
	for _, want := range []struct {
		at   int
		text string
		to   uint64 // of a jump
	}{
		{0, fmt.Sprintf("lea %#x(%%rsp),%%rsp", uint32(down)) /* negative */, 0},
		{atSaveRAX, "mov %rax,(%rsp)", 0},
		{atSite, record, 0},
		{atEnter, "JMP", addr + stub.Enter},
		{atFast, fmt.Sprintf("lea %#x(%%rsp),%%rsp", stub.Frame), 0},
		{atBack, "JMP", pc + uint64(st.inst.Len)},
		{atSlow, fmt.Sprintf("lea %#x(%%rsp),%%rsp", stub.Frame), 0},
	} {
		inst, err := x86asm.Decode(b[want.at:], 64)
		if err != nil {
			t.Errorf("at %d: %v", want.at, err)
			continue
		}
		if rel, ok := inst.Args[0].(x86asm.Rel); ok && want.to != 0 {
			from := addr + uint64(first+want.at+inst.Len)
			if to := from + uint64(int64(rel)); inst.Op != x86asm.JMP || to != want.to {
				t.Errorf("at %d: %v leads to %#x, want a jump to %#x", want.at, inst, to, want.to)
			}
			continue
		}
		if got := x86asm.GNUSyntax(inst, 0, nil); got != want.text {
			t.Errorf("at %d: %s, want %s", want.at, got, want.text)
		}
	}
	for _, at := range []int{atTrap, atTaken} {
		if got, err := decode.AMD64(b[at:]); err != nil || got != st.inst {
			t.Errorf("at %d: the trap is %v, %v; want %v", at, got, err, st.inst)
		}
	}
	rec := b[atRecord:]
	for _, f := range []struct {
		name string
		off  int
		want uint64
	}{
		{"stub", stub.SiteStub, addr + stub.Text},
		{"fast", stub.SiteFast, addr + uint64(first+atFast)},
		{"slow", stub.SiteSlow, addr + uint64(first+atSlow)},
		{"staged", stub.SiteStaged, addr + uint64(first+atStaged)},
		{"board", stub.SiteBoard, 0x1234_5000},
	} {
		if got := binary.LittleEndian.Uint64(rec[f.off:]); got != f.want {
			t.Errorf("site.%s is %#x, want %#x", f.name, got, f.want)
		}
	}
	if rec[stub.SiteV] != 6 || rec[stub.SiteA] != 8 || rec[stub.SiteP] != 7 || rec[stub.SiteOp] != byte(decode.Write) {
		t.Errorf("the operands in the site are not the instruction's: % x", rec[stub.SiteOp:stub.SiteP+1])
	}
}

// TestRegionFull: a region says when it has no room left, and never writes behind itself.
func TestRegionFull(t *testing.T) {
	r, st := testRegion(t, 0x10000000, 0x20000000)
	for n := 1; ; n++ {
		if _, ok := r.add(0x20000000+uint64(8*n), st, stub.Text, 0); !ok {
			if n != capacity() {
				t.Errorf("full after %d trampolines, want %d", n, capacity())
			}
			return
		}
	}
}

// TestPlace: where a region goes, among the mappings of programs of all kinds.
func TestPlace(t *testing.T) {
	m := func(start, end uint64, name string) mapping { return mapping{start: start, end: end, name: name} }
	pie := []mapping{
		m(0x555555554000, 0x555555600000, "/bin/pie"),
		m(0x555555601000, 0x555555622000, "[heap]"),
		m(0x7ffff7000000, 0x7ffff7200000, "/lib/libc.so"),
		m(0x7ffff7f00000, 0x7ffff7fff000, "/lib/ld.so"),
		m(0x7ffffffde000, 0x7ffffffff000, "[stack]"),
		m(0xffffffffff600000, 0xffffffffff601000, "[vsyscall]"),
	}
	static := []mapping{
		m(0x400000, 0x500000, "/bin/static"),
		m(0x501000, 0x522000, "[heap]"),
		m(0x7ffff7ff9000, 0x7ffff7fff000, "[vvar]"),
		m(0x7ffffffde000, 0x7ffffffff000, "[stack]"),
	}
	full := []mapping{m(0x10000, 1<<46, "all of it")}
	for _, c := range []struct {
		name string
		all  []mapping
		pc   uint64
		none bool
	}{
		{"code of a PIE", pie, 0x555555560000, false},
		{"code of a library", pie, 0x7ffff7100000, false},
		{"code of a static program", static, 0x401000, false},
		{"no gap in reach", full, 1 << 40, true},
	} {
		at := place(c.all, c.pc)
		if c.none {
			if at != 0 {
				t.Errorf("%s: %#x, want none", c.name, at)
			}
			continue
		}
		switch {
		case at == 0 || !reaches(at, c.pc):
			t.Errorf("%s: %#x is not within reach of %#x", c.name, at, c.pc)
		case at%pageSize != 0:
			t.Errorf("%s: %#x is no page", c.name, at)
		}
		for _, x := range c.all {
			if at < x.end+pageSize && x.start < at+regionSize+pageSize {
				t.Errorf("%s: %#x touches %v", c.name, at, x)
			}
			if x.name == "[heap]" && at >= x.end && at < x.end+1<<29 {
				t.Errorf("%s: %#x is in the way of the heap", c.name, at)
			}
			if x.name == "[stack]" && at < x.start && at+regionSize > x.start-8<<20 {
				t.Errorf("%s: %#x is in the way of the stack", c.name, at)
			}
		}
	}
}

// TestOffTrampoline: from each instruction of a trampoline a thread gets back to the
// instruction, or behind it, with the registers that it has there.
func TestOffTrampoline(t *testing.T) {
	const pc = 0x20000000
	r, st := testRegion(t, 0x10000000, pc)
	behind := uint64(pc + uint64(st.inst.Len))
	e := newEngine(Config{})
	s := e.newSpace()
	s.regions = []*region{r}
	for _, c := range []struct {
		at      int
		lowered bool // sp is
		rip     uint64
	}{
		{0, false, pc}, {atSaveRAX, true, pc}, {atSite, true, pc},
		{atFast, true, behind}, {atBack, false, behind}, {atSlow, true, pc}, {atTrap, false, pc},
		{atStaged, true, pc}, {atHop, false, pc}, {atTaken, false, pc},
	} {
		const sp = 0x7fff0000
		th := &Thread{space: s}
		th.regs.Rsp = sp
		if c.lowered {
			th.regs.Rsp -= stub.Frame
		}
		e.offTrampoline(th, r.sites[0], c.at)
		if th.regs.Rsp != sp || th.regs.Rip != c.rip {
			t.Errorf("at %d: rip %#x, rsp %#x; want %#x, %#x", c.at, th.regs.Rip, th.regs.Rsp, c.rip, sp)
		}
	}
}
