//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"rmemrun/ring/stub"
)

// A region is a memory file with the stubs' image and trampolines into it, mapped into
// a guest, read-only and executable, within reach of the code whose instructions jump
// there; and into this process, writable. The file is sealed: nobody else will ever
// write it. A forked child inherits the mapping, so that one region serves several
// address spaces, at the same address in each.
//
//	 0                    first                                  regionSize
//	+---------------------+------------+------------+------ - - -+
//	| image (ring/stub)   | trampoline | trampoline |            |
//	+---------------------+------------+------------+------ - - -+
type region struct {
	addr    uint64    // in the guests
	mapping []byte    // here
	users   int       // address spaces
	sites   []*placed // what the trampolines stand for
}

// A placed is the instruction of a trampoline.
type placed struct {
	site
	pc uint64
}

// behind is the address behind it.
func (i *placed) behind() uint64 { return i.pc + uint64(i.inst.Len) }

const (
	regionSize     = 1 << 20
	trampolineSize = 128

	// reach is how far a jump with a 32-bit displacement goes, less what a region and
	// an instruction take.
	reach = 1<<31 - 2*regionSize
)

// A trampoline, at a multiple of its size behind the image:
//
//	 0   lea   -frame(%rsp), %rsp
//	 8   mov   %rax, (%rsp)
//	12   lea   site(%rip), %rax
//	19   jmp   enter
//	24   fast: lea frame(%rsp), %rsp
//	32         jmp behind the instruction
//	37   slow: lea frame(%rsp), %rsp
//	45         the instruction itself, which traps
//	54   staged: lea frame(%rsp), %rsp
//	62         jmp 112
//	64   site: struct site (ring/stub/layout.h)
//	112        the instruction itself: it traps, and its source is staged
const (
	atSaveRAX = 8
	atSite    = 12
	atEnter   = 19
	atFast    = 24
	atBack    = 32
	atSlow    = 37
	atTrap    = 45
	atStaged  = 54
	atHop     = 62
	atRecord  = 64
	atTaken   = 112
)

// first is the offset of the first trampoline.
var first = (len(stub.Image) + trampolineSize - 1) &^ (trampolineSize - 1)

// capacity is how many trampolines a region has.
func capacity() int { return (regionSize - first) / trampolineSize }

// newRegion makes a region. Its file is good for mapping only.
func newRegion() (r *region, fd int, err error) {
	fd, err = unix.MemfdCreate("rmemrun stubs", memfdFlags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("rmemrun stubs", memfdFlags)
	}
	if err != nil {
		return nil, -1, fmt.Errorf("make a memory file for stubs: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = unix.Ftruncate(fd, regionSize); err != nil {
		return nil, -1, fmt.Errorf("ftruncate the memory file for stubs: %w", err)
	}
	mapping, err := unix.Mmap(fd, 0, regionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, -1, fmt.Errorf("map the memory file for stubs: %w", err)
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Munmap(mapping)
		return nil, -1, fmt.Errorf("seal the memory file for stubs: %w", err)
	}
	copy(mapping, stub.Image)
	return &region{mapping: mapping, users: 1}, fd, nil
}

func (r *region) drop() {
	if r.users--; r.users == 0 {
		_ = unix.Munmap(r.mapping)
	}
}

// contains tells whether an address of the guest is in the region.
func (r *region) contains(addr uint64) bool { return addr-r.addr < regionSize }

// reaches tells whether a jump from an address to anywhere in a region, and back, is
// possible.
func reaches(region, from uint64) bool {
	d := int64(region - from)
	return d > -reach && d < reach
}

// trampoline returns the number of the trampoline that an address is in, and how far.
func (r *region) trampoline(addr uint64) (n, at int, ok bool) {
	off := int(addr-r.addr) - first
	if off < 0 {
		return 0, 0, false
	}
	n, at = off/trampolineSize, off%trampolineSize
	return n, at, n < len(r.sites)
}

// add writes a trampoline for an instruction and returns its address; false: the region
// is full. Nobody runs it before the jump is written.
func (r *region) add(pc uint64, st *site, entry uint32, board uint64) (uint64, bool) {
	n := len(r.sites)
	if n >= capacity() {
		return 0, false
	}
	off := first + n*trampolineSize
	addr := r.addr + uint64(off)
	b := r.mapping[off : off+trampolineSize]
	clear(b)
	lea := func(at int, by int32) { // lea by(%rsp), %rsp
		copy(b[at:], []byte{0x48, 0x8d, 0xa4, 0x24})
		binary.LittleEndian.PutUint32(b[at+4:], uint32(by))
	}
	lea(0, -stub.Frame)
	copy(b[atSaveRAX:], []byte{0x48, 0x89, 0x04, 0x24}) // mov %rax, (%rsp)
	copy(b[atSite:], []byte{0x48, 0x8d, 0x05})          // lea site(%rip), %rax
	binary.LittleEndian.PutUint32(b[atSite+3:], atRecord-atEnter)
	jump(b[atEnter:], addr+atEnter, r.addr+stub.Enter)
	lea(atFast, stub.Frame)
	jump(b[atBack:], addr+atBack, pc+uint64(st.inst.Len))
	lea(atSlow, stub.Frame)
	copy(b[atTrap:], st.code[:st.inst.Len])
	lea(atStaged, stub.Frame)
	b[atHop], b[atHop+1] = 0xeb, atTaken-atHop-2 // jmp rel8
	copy(b[atTaken:], st.code[:st.inst.Len])

	rec := b[atRecord:]
	put := binary.LittleEndian.PutUint64
	put(rec[stub.SiteStub:], r.addr+uint64(entry))
	put(rec[stub.SiteFast:], addr+atFast)
	put(rec[stub.SiteSlow:], addr+atSlow)
	put(rec[stub.SiteStaged:], addr+atStaged)
	put(rec[stub.SiteBoard:], board)
	rec[stub.SiteOp] = byte(st.inst.Op)
	rec[stub.SiteFlags] = byte(st.inst.Flags)
	rec[stub.SiteWidth] = st.inst.Width
	rec[stub.SiteV], rec[stub.SiteA], rec[stub.SiteP] = byte(st.inst.V), byte(st.inst.A), byte(st.inst.P)
	r.sites = append(r.sites, &placed{*st, pc})
	return addr, true
}

// jump writes jmp rel32.
func jump(b []byte, from, to uint64) {
	b[0] = 0xe9
	binary.LittleEndian.PutUint32(b[1:], uint32(to-from-jumpSize))
}

const jumpSize = 5

// place chooses an address for a region within reach of the instruction at pc, among
// all the guest's mappings: as near as possible, away from where a stack or the heap
// grows, with unmapped pages on both sides. 0: there is none.
func place(all []mapping, pc uint64) uint64 {
	const (
		guard   = 16 << 12
		lowest  = 1 << 20 // what is below is for null pointers to fault in
		highest = 1 << 47
		heap    = 1 << 30 // that the heap may grow by
		stack   = 64 << 20
	)
	var best uint64
	try := func(at uint64) {
		if reaches(at, pc) && (best == 0 || distance(at, pc) < distance(best, pc)) {
			best = at
		}
	}
	from := uint64(lowest)
	last := len(all)
	for i := 0; i <= last; i++ {
		to := uint64(highest - guard)
		if i < last {
			if all[i].start >= highest {
				break // the vsyscall page
			}
			to = all[i].start
			if all[i].name == "[stack]" {
				to -= min(to, stack)
			}
		}
		if i > 0 && all[i-1].name == "[heap]" {
			from += heap
		}
		if to > from && to-from >= regionSize+2*guard {
			try(from + guard)
			try(to - guard - regionSize)
		}
		if i < last {
			from = max(from, all[i].end)
		}
	}
	return best
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// regionAt returns the region that an address is in, or nil.
func (s *Space) regionAt(addr uint64) *region {
	for _, r := range s.regions {
		if r.contains(addr) {
			return r
		}
	}
	return nil
}

// regionFor returns a region with room within reach of pc: one that there is, or a new
// one. The thread is the one that trapped.
func (e *engine) regionFor(t *Thread, pc uint64) (*region, error) {
	s := t.space
	if i := slices.IndexFunc(s.regions, func(r *region) bool { return reaches(r.addr, pc) && len(r.sites) < capacity() }); i >= 0 {
		return s.regions[i], nil
	}
	all, err := mappings(s.PID(), 0, ^uint64(0))
	if err != nil {
		return nil, fmt.Errorf("look at the guest's mappings: %w", err)
	}
	at := place(all, pc)
	if at == 0 {
		return nil, fmt.Errorf("no room for stubs within 2 GiB of %#x", pc)
	}
	r, fd, err := newRegion()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if r.addr, err = e.mapFile(t, fd, 0, regionSize, at, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		r.drop()
		return nil, fmt.Errorf("map stubs into process %d: %w", s.PID(), err)
	}
	s.regions = append(s.regions, r)
	return r, nil
}
