package decode

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
)

// Site is an instruction in an ELF file.
type Site struct {
	Addr        uint64 // the virtual address in the file (a PIE is loaded elsewhere); in an object file, from its section
	Symbol      string // the function that contains it; "" if the file does not say
	Offset      uint64 // from the function's address; 0 if there is none
	Instruction Instruction
	Bytes       []byte
}

// Scan lists the instructions in the executable sections of an ELF file, in the
// order in which they stand in it. The file may be an executable of any kind, a
// library or an object file, with symbols or without.
//
// It looks for encodings, at every address where one may begin, and does not
// follow the program: data between functions that happens to be an instruction is listed
// too. On x86-64 a byte 40 to 47 before an instruction may be its REX prefix or
// the end of what stands before it: the reading that begins on an 8-byte boundary is
// taken, for compilers are asked to align instructions, and the longer
// one if neither does.
//
// The file is not trusted: one that contradicts itself gives an error.
func Scan(r io.ReaderAt) (sites []Site, err error) {
	// debug/elf says of itself that it is not hardened against hostile files.
	defer func() {
		if p := recover(); p != nil {
			sites, err = nil, fmt.Errorf("malformed ELF file: %v", p)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the ELF file: %w", err)
	}
	next, err := finder(f)
	if err != nil {
		return nil, err
	}
	codes, err := executable(f)
	if err != nil {
		return nil, err
	}
	functions, err := functions(f)
	if err != nil {
		return nil, err
	}
	for _, c := range codes {
		found, err := c.scan(r, next)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].in(functions[c.section])
		}
		sites = append(sites, found...)
	}
	return sites, nil
}

// A code is a range of a file that is mapped executable.
type code struct {
	offset, addr, size uint64
	section            elf.SectionIndex // SHN_UNDEF if it is not a section
}

// executable lists the code by the section headers, or by the program headers if
// the file has no sections, in the order of the file. No two overlap: a small file
// cannot make much work.
func executable(f *elf.File) ([]code, error) {
	var all []code
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && s.Flags&elf.SHF_COMPRESSED == 0 && s.Type != elf.SHT_NOBITS && s.FileSize > 0 {
			all = append(all, code{s.Offset, s.Addr, s.FileSize, elf.SectionIndex(i)})
		}
	}
	if len(f.Sections) == 0 {
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && p.Filesz > 0 {
				all = append(all, code{p.Off, p.Vaddr, p.Filesz, elf.SHN_UNDEF})
			}
		}
	}
	slices.SortFunc(all, func(a, b code) int { return cmp.Compare(a.offset, b.offset) })
	for i, c := range all {
		if c.offset > math.MaxInt64-c.size || c.size > math.MaxInt64 || c.addr+c.size < c.addr {
			return nil, errors.New("malformed ELF file: executable code beyond the end of the address space")
		}
		if i > 0 && c.offset < all[i-1].offset+all[i-1].size {
			return nil, fmt.Errorf("malformed ELF file: executable sections overlap at file offset %#x", c.offset)
		}
	}
	return all, nil
}

// A finderFunc returns the first instruction in code, which is loaded at addr, and
// where in code it begins; false if there is none.
type finderFunc func(code []byte, addr uint64) (i Instruction, at int, ok bool)

func finder(f *elf.File) (finderFunc, error) {
	switch {
	case f.Machine == elf.EM_X86_64 && f.Class == elf.ELFCLASS64:
		return findAMD64, nil
	case f.Machine == elf.EM_AARCH64 && f.Class == elf.ELFCLASS64 && f.Data == elf.ELFDATA2LSB:
		return findARM64, nil
	}
	return nil, fmt.Errorf("%v %v %v files have no remote-memory instructions; 64-bit x86-64 and little-endian arm64 have",
		f.Machine, f.Class, f.Data)
}

func findAMD64(code []byte, addr uint64) (Instruction, int, bool) {
	opcode := []byte{0x0f, 0xb9}
	for from := 0; ; {
		n := bytes.Index(code[from:], opcode)
		if n < 0 {
			return Instruction{}, 0, false
		}
		n += from
		from = n + 1
		if n > 0 && isREX(code[n-1]) && (addr+uint64(n))%8 != 0 {
			if i, err := AMD64(code[n-1:]); err == nil {
				return i, n - 1, true
			}
		}
		if i, err := AMD64(code[n:]); err == nil {
			return i, n, true
		}
	}
}

func findARM64(code []byte, addr uint64) (Instruction, int, bool) {
	for n := int(-addr & 3); n < len(code); n += 4 {
		if i, err := ARM64(code[n:]); err == nil {
			return i, n, true
		}
	}
	return Instruction{}, 0, false
}

const (
	window  = 1 << 20 // how much of a file is read at once
	overlap = 16      // of consecutive windows: no instruction is cut in two, nor cut from its prefix
)

func (c code) scan(r io.ReaderAt, next finderFunc) ([]Site, error) {
	var sites []Site
	buffer := make([]byte, min(c.size, window))
	for at := uint64(0); ; {
		b := buffer[:min(c.size-at, window)]
		if n, err := r.ReadAt(b, int64(c.offset+at)); n < len(b) {
			return nil, fmt.Errorf("malformed ELF file: code at file offset %#x: %w", c.offset+at, err)
		}
		done := 0
		for {
			i, n, ok := next(b[done:], c.addr+at+uint64(done))
			if !ok {
				break
			}
			n += done
			done = n + int(i.Len)
			sites = append(sites, Site{Addr: c.addr + at + uint64(n), Instruction: i, Bytes: bytes.Clone(b[n:done])})
		}
		if at+uint64(len(b)) == c.size {
			return sites, nil
		}
		at += uint64(max(done, len(b)-overlap))
	}
}

// functions returns the symbols of each section that may be functions, by
// address. A hidden function is better than none: of several at one address the
// last is the one that the table calls a function.
func functions(f *elf.File) (map[elf.SectionIndex][]elf.Symbol, error) {
	bySection := map[elf.SectionIndex][]elf.Symbol{}
	for _, table := range []func() ([]elf.Symbol, error){f.DynamicSymbols, f.Symbols} {
		symbols, err := table()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			return nil, fmt.Errorf("malformed ELF file: %w", err)
		}
		for _, s := range symbols {
			switch elf.ST_TYPE(s.Info) {
			case elf.STT_FUNC, elf.STT_GNU_IFUNC, elf.STT_NOTYPE: // no type: written in assembly
				if s.Name != "" && !strings.HasPrefix(s.Name, "$") { // $x, $d: arm64's marks of code and data
					bySection[s.Section] = append(bySection[s.Section], s)
				}
			}
		}
	}
	for _, symbols := range bySection {
		slices.SortStableFunc(symbols, func(a, b elf.Symbol) int {
			return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(elf.ST_TYPE(a.Info), elf.ST_TYPE(b.Info)))
		})
	}
	return bySection, nil
}

// nesting is how many symbols that end before a site are skipped in search of
// one around it.
const nesting = 32

// in finds the function of the site.
func (s *Site) in(functions []elf.Symbol) {
	n := sort.Search(len(functions), func(n int) bool { return functions[n].Value > s.Addr })
	for last := max(0, n-nesting); n > last; n-- {
		if f := functions[n-1]; f.Size == 0 || s.Addr-f.Value < f.Size {
			s.Symbol, s.Offset = f.Name, s.Addr-f.Value
			return
		}
	}
}
