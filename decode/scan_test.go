package decode

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// image builds an executable with one segment, with no sections and symbols.
func image(machine elf.Machine, addr uint64, code []byte) []byte {
	const headers = 64 + 56
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(elf.ET_EXEC))
	b = le.AppendUint16(b, uint16(machine))
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, addr) // entry
	b = le.AppendUint64(b, 64)   // program headers
	b = le.AppendUint64(b, 0)    // section headers
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, uint32(elf.PT_LOAD))
	b = le.AppendUint32(b, uint32(elf.PF_R|elf.PF_X))
	for _, v := range []uint64{headers, addr, addr, uint64(len(code)), uint64(len(code)), 4096} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}

func listing(sites []Site) string {
	var b strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&b, "%s+%d %v\n", s.Symbol, s.Offset, s.Instruction)
	}
	return b.String()
}

// TestScanWindows puts an instruction, with and without REX, at every place
// about the border of two windows.
func TestScanWindows(t *testing.T) {
	for arch, c := range map[Arch]struct {
		machine elf.Machine
		step    int
		insts   []Instruction
	}{
		ArchAMD64: {elf.EM_X86_64, 1, []Instruction{
			{Op: Write, Width: 1, V: 3, A: 6, P: 7},
			{Op: Write, Width: 1, V: 11, A: 6, P: 7}}},
		ArchARM64: {elf.EM_AARCH64, 4, []Instruction{
			{Op: Write, Width: 1, V: 3, A: 6, P: 7}}},
	} {
		for _, i := range c.insts {
			i.Arch = arch
			encoded, err := Encode(i)
			if err != nil {
				t.Fatal(err)
			}
			for at := window - 2*overlap; at <= window+overlap; at += c.step {
				want, addr := encoded, 0x401000+uint64(at)
				if arch == ArchAMD64 && isREX(encoded[0]) && (at+1)%8 == 0 {
					want, addr = encoded[1:], addr+1 // the reading that is aligned
				}
				code := make([]byte, window+4*overlap)
				copy(code[at:], encoded)
				copy(code[at+16:], encoded)
				sites, err := Scan(bytes.NewReader(image(c.machine, 0x401000, code)))
				if err != nil {
					t.Fatal(err)
				}
				if len(sites) != 2 || !bytes.Equal(sites[0].Bytes, want) || sites[0].Addr != addr ||
					!bytes.Equal(sites[1].Bytes, want) || sites[1].Addr != addr+16 {
					t.Fatalf("%v at %d: found %+v", i, at, sites)
				}
			}
		}
	}
}

// TestScanAlignment: arm64 instructions stand at multiples of 4, wherever the code begins.
func TestScanAlignment(t *testing.T) {
	code, err := Encode(Instruction{Arch: ArchARM64, Op: Node, Width: 1})
	if err != nil {
		t.Fatal(err)
	}
	for before := range 8 {
		file := image(elf.EM_AARCH64, 0x401002, append(make([]byte, before), code...))
		sites, err := Scan(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if want := (2+before)%4 == 0; (len(sites) == 1) != want {
			t.Errorf("%d bytes before: found %+v", before, sites)
		}
	}
}

func TestScanFiles(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the fixtures are x86-64 programs")
	}
	gcc, strip := tool(t, "gcc"), tool(t, "strip")
	const (
		named = "_start+8 write.notify desc=rdi, offset=rsi, source=rbx, length=rcx\n" +
			"helper+0 cas64 desc=rdi, offset=r9, expected=rdx, desired=r10\n" +
			"helper+24 fence desc=rdi\n" +
			"+0 node\n"
		anonymous = "+0 write.notify desc=rdi, offset=rsi, source=rbx, length=rcx\n" +
			"+0 cas64 desc=rdi, offset=r9, expected=rdx, desired=r10\n" +
			"+0 fence desc=rdi\n" +
			"+0 node\n"
	)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args  []string
		strip string
		want  string
	}{
		"object":         {[]string{"-c"}, "", named},
		"static":         {[]string{"-nostdlib", "-static"}, "", named},
		"static-pie":     {[]string{"-nostdlib", "-static-pie"}, "", named},
		"pie":            {[]string{"-nostdlib", "-pie"}, "", named},
		"library":        {[]string{"-nostdlib", "-shared", "-fPIC", "-Wl,-Bsymbolic"}, "", named},
		"stripped":       {[]string{"-nostdlib", "-static", "-s"}, "", anonymous},
		"without header": {[]string{"-nostdlib", "-static", "-s"}, "--strip-section-headers", anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			run(t, exec.Command(gcc, append(c.args, "-o", out, "testdata/site.S")...), "")
			if c.strip != "" {
				if err := exec.Command(strip, c.strip, out).Run(); err != nil {
					t.Skipf("strip has no %s: %v", c.strip, err)
				}
			}
			if got := scanFile(t, out); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestScanGo(t *testing.T) {
	goTool := tool(t, "go")
	for name, c := range map[string]struct{ ldflags, want string }{
		"symbols":  {"", "main.fence.abi0+0 fence desc=rdi\n"},
		"stripped": {"-s -w", "+0 fence desc=rdi\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "gosite")
			cmd := exec.Command(goTool, "build", "-ldflags", c.ldflags, "-o", out, ".")
			cmd.Dir = "testdata/gosite"
			cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
			run(t, cmd, "")
			if got := scanFile(t, out); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func scanFile(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sites, err := Scan(f)
	if err != nil {
		t.Fatal(err)
	}
	return listing(sites)
}

// TestScanHostile cuts a file short at every length and sets every 8-byte field
// of its headers to numbers that wrap.
func TestScanHostile(t *testing.T) {
	code, err := Encode(Instruction{Arch: ArchAMD64, Op: Node, Width: 1})
	if err != nil {
		t.Fatal(err)
	}
	good := image(elf.EM_X86_64, 0x401000, code)
	if sites, err := Scan(bytes.NewReader(good)); err != nil || len(sites) != 1 {
		t.Fatalf("the good file: %+v, %v", sites, err)
	}
	for n := range good {
		if sites, err := Scan(bytes.NewReader(good[:n])); err == nil {
			t.Errorf("%d bytes of %d: no error, %+v", n, len(good), sites)
		}
	}
	refused := 0
	for at := 16; at+8 <= 64+56; at += 4 {
		for _, v := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxInt64 - 7, 1 << 63} {
			bad := bytes.Clone(good)
			binary.LittleEndian.PutUint64(bad[at:], v)
			if _, err := Scan(bytes.NewReader(bad)); err != nil {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("no field with a number that wraps was refused")
	}
	// Two segments with the same bytes: what makes much work of a small file.
	twice := bytes.Clone(good)
	twice = append(twice[:64+56], append(bytes.Clone(twice[64:64+56]), twice[64+56:]...)...)
	twice[56] = 2 // program headers
	if sites, err := Scan(bytes.NewReader(twice)); err == nil {
		t.Errorf("overlapping segments: no error, %+v", sites)
	}
	if _, err := Scan(bytes.NewReader(image(elf.EM_386, 0, code))); err == nil {
		t.Error("another machine: no error")
	}
	if _, err := Scan(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

var errBroken = errors.New("broken disk")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func FuzzScan(f *testing.F) {
	code := []byte{0x44, 0x0f, 0xb9, 0x84, 0x3e, 0, 6, 0x0d, 0x5a, 0x0f, 0xb9, 0x84, 0, 0, 0x0e, 0x0d, 0x5a}
	f.Add(image(elf.EM_X86_64, 0x401000, code))
	f.Add(image(elf.EM_AARCH64, 0x401000, []byte{0x30, 0xb5, 0, 0, 0xa3, 0x90, 0, 0}))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, file []byte) {
		sites, err := Scan(bytes.NewReader(file))
		if err != nil && sites != nil {
			t.Errorf("an error and sites: %v, %v", err, sites)
		}
		for _, s := range sites {
			if i, err := decoders[s.Instruction.Arch](s.Bytes); err != nil || i != s.Instruction {
				t.Errorf("% x listed as %v, decodes as %v (%v)", s.Bytes, s.Instruction, i, err)
			}
			if !bytes.Contains(file, s.Bytes) {
				t.Errorf("% x is not in the file", s.Bytes)
			}
		}
	})
}
