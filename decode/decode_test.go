package decode

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

var decoders = map[Arch]func([]byte) (Instruction, error){ArchAMD64: AMD64, ArchARM64: ARM64}

// golden is one line of testdata/decode.txt.
type golden struct {
	line int
	arch Arch
	code []byte // the bytes before the bar
	rest []byte
	want string
	asm  string // "" if none is given
}

func readGolden(t testing.TB) []golden {
	t.Helper()
	text, err := os.ReadFile("testdata/decode.txt")
	if err != nil {
		t.Fatal(err)
	}
	unhex := func(line int, s string) []byte {
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", "-", "").Replace(s))
		if err != nil {
			t.Fatalf("testdata/decode.txt:%d: %v", line, err)
		}
		return b
	}
	var all []golden
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.SplitN(line, "\t", 3)
		arch, code, _ := strings.Cut(fields[0], " ")
		if len(fields) < 2 {
			t.Fatalf("testdata/decode.txt:%d: no result", n+1)
		}
		g := golden{line: n + 1, want: fields[1]}
		switch arch {
		case "amd64":
			g.arch = ArchAMD64
		case "arm64":
			g.arch = ArchARM64
		default:
			t.Fatalf("testdata/decode.txt:%d: architecture %q", n+1, arch)
		}
		code, rest, _ := strings.Cut(code, "|")
		g.code, g.rest = unhex(n+1, code), unhex(n+1, rest)
		if len(fields) == 3 {
			g.asm = strings.TrimPrefix(fields[2], "; ")
		}
		all = append(all, g)
	}
	return all
}

// result writes what a decoder returned in the notation of the golden table.
func result(i Instruction, err error) string {
	var reason foreign
	switch {
	case err == ErrTruncated:
		return "truncated"
	case errors.As(err, &reason) && errors.Is(err, ErrForeign):
		return "foreign: " + string(reason)
	case err != nil:
		return "error: " + err.Error()
	}
	return i.String()
}

func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range readGolden(t) {
		i, err := decoders[g.arch](append(bytes.Clone(g.code), g.rest...))
		if got := result(i, err); got != g.want {
			t.Errorf("line %d: % x: got %q, want %q", g.line, g.code, got, g.want)
			continue
		}
		if err != nil {
			if i != (Instruction{}) {
				t.Errorf("line %d: an error and an instruction: %+v", g.line, i)
			}
			continue
		}
		seen[g.arch.String()+i.Op.String()] = true
		if int(i.Len) != len(g.code) {
			t.Errorf("line %d: length %d, want %d", g.line, i.Len, len(g.code))
		}
		if code, err := Encode(i); err != nil || !bytes.Equal(code, g.code) {
			t.Errorf("line %d: encodes as % x (%v), want % x", g.line, code, err, g.code)
		}
	}
	for arch := range decoders {
		for _, op := range Ops() {
			if !seen[arch.String()+op.String()] {
				t.Errorf("no %v line in the table has the operation %v", arch, op)
			}
		}
	}
}

// TestGoldenAssembled assembles the texts of the golden table with GNU as.
func TestGoldenAssembled(t *testing.T) {
	for arch, command := range map[Arch]string{ArchAMD64: "as", ArchARM64: "aarch64-linux-gnu-as"} {
		t.Run(arch.String(), func(t *testing.T) {
			as, objcopy := tool(t, command), tool(t, strings.TrimSuffix(command, "as")+"objcopy")
			if arch == ArchAMD64 && !assembles(t, as, "ud1l 8(%rax,%rdi,1),%eax") {
				t.Skipf("%s does not assemble x86-64", command)
			}
			// Each line gets 16 bytes of its own.
			var source strings.Builder
			var lines []golden
			for _, g := range readGolden(t) {
				if g.arch == arch && g.asm != "" {
					fmt.Fprintf(&source, ".balign 16, 0\n%s\n", g.asm)
					lines = append(lines, g)
				}
			}
			if len(lines) == 0 {
				t.Fatal("no line has a text")
			}
			dir := t.TempDir()
			object, flat := filepath.Join(dir, "golden.o"), filepath.Join(dir, "golden.bin")
			args := []string{"-o", object, "-"}
			if arch == ArchAMD64 {
				args = append(args, "-mindex-reg") // RIZ: a SIB byte with no index
			}
			run(t, exec.Command(as, args...), source.String())
			run(t, exec.Command(objcopy, "-O", "binary", "-j", ".text", object, flat), "")
			code, err := os.ReadFile(flat)
			if err != nil {
				t.Fatal(err)
			}
			for n, g := range lines {
				if got := code[16*n:]; !bytes.HasPrefix(got, g.code) {
					t.Errorf("line %d: %q assembles to % x, the table has % x", g.line, g.asm, got[:min(len(got), len(g.code))], g.code)
				}
			}
		})
	}
}

// TestDisassemblers holds every valid x86-64 instruction against the text that
// x86asm, and objdump where it is installed, make of it.
func TestDisassemblers(t *testing.T) {
	var image []byte
	var want []string
	for i := range valid(ArchAMD64) {
		code, err := Encode(i)
		if err != nil {
			t.Fatal(err)
		}
		text := gnuText(i)
		x, err := x86asm.Decode(code, 64)
		if err != nil {
			t.Fatalf("% x: x86asm: %v", code, err)
		}
		// x86asm leaves out a scale of 1.
		if got, want := x86asm.GNUSyntax(x, 0, nil), strings.Replace(text, ",1)", ")", 1); got != want {
			t.Fatalf("% x: x86asm prints %q, want %q", code, got, want)
		}
		if x.Len != len(code) {
			t.Fatalf("% x: x86asm sees %d bytes", code, x.Len)
		}
		image = append(image, code...)
		want = append(want, text)
	}
	objdump := tool(t, "objdump")
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, exec.Command(objdump, "-D", "--insn-width=9", "-b", "binary", "-m", "i386:x86-64", file), "")
	n := 0
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Split(line, "\t")
		if len(fields) < 3 {
			continue
		}
		got := strings.Join(strings.Fields(fields[2]), " ")
		if n >= len(want) || got != want[n] {
			t.Fatalf("objdump prints %q for instruction %d: want %q", got, n, want[min(n, len(want)-1)])
		}
		n++
	}
	if n != len(want) {
		t.Errorf("objdump printed %d instructions of %d", n, len(want))
	}
}

// gnuText is what a disassembler in AT&T syntax prints for i, made from the
// operands alone.
func gnuText(i Instruction) string {
	value := ArchAMD64.RegName(i.V)
	if i.V < 8 {
		value = "e" + value[1:]
	} else {
		value += "d"
	}
	return fmt.Sprintf("ud1 0x5a0d%02x%02x(%%%s,%%%s,%d),%%%s", uint8(i.Op), uint8(i.Flags),
		ArchAMD64.RegName(i.A), ArchAMD64.RegName(i.P), i.Width, value)
}

// TestRoundTrip encodes and decodes every operation in every modification, with
// every register in every field, and cuts the bytes short at every length.
func TestRoundTrip(t *testing.T) {
	for arch, decode := range decoders {
		// Operations × modifications: thirteen with none; write, read 4 widths × 2 flags; the
		// atomics 2 widths × 2 flags.
		forms := map[string]bool{}
		for i := range valid(arch) {
			code, err := Encode(i)
			if err != nil {
				t.Fatalf("Encode(%+v): %v", i, err)
			}
			i.Len = uint8(len(code))
			if got, err := decode(code); err != nil || got != i {
				t.Fatalf("%v: % x: got %+v (%v), want %+v", arch, code, got, err, i)
			}
			for n := range code {
				if _, err := decode(code[:n]); err != ErrTruncated {
					t.Fatalf("%v: % x without its end: %v", arch, code[:n], err)
				}
			}
			forms[i.Mnemonic()] = true
		}
		if want := 13 + 2*4*2 + 3*2*2; len(forms) != want {
			t.Errorf("%v: %d forms of instruction, want %d", arch, len(forms), want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	write := Instruction{Arch: ArchAMD64, Op: Write, Width: 1, V: 3, A: 6, P: 7}
	arm := write
	arm.Arch = ArchARM64
	for name, c := range map[string]struct {
		base   Instruction
		change func(*Instruction)
	}{
		"no architecture":       {write, func(i *Instruction) { i.Arch = 0 }},
		"no operation":          {write, func(i *Instruction) { i.Op = 0 }},
		"operation too large":   {write, func(i *Instruction) { i.Op = Op(len(Ops()) + 1) }},
		"flag":                  {write, func(i *Instruction) { i.Flags = FlagAsync }},
		"width 0":               {write, func(i *Instruction) { i.Width = 0 }},
		"width 3":               {write, func(i *Instruction) { i.Width = 3 }},
		"width 16":              {write, func(i *Instruction) { i.Width = 16 }},
		"register 16":           {write, func(i *Instruction) { i.A = 16 }},
		"rsp":                   {write, func(i *Instruction) { i.A = 4 }},
		"length 8 with REX":     {write, func(i *Instruction) { i.Len, i.A = 8, 9 }},
		"length 7":              {write, func(i *Instruction) { i.Len = 7 }},
		"length 10":             {write, func(i *Instruction) { i.Len = 10 }},
		"unused field":          {write, func(i *Instruction) { i.Op = Fence }},
		"arm64 length 9":        {arm, func(i *Instruction) { i.Len = 9 }},
		"arm64 register 31":     {arm, func(i *Instruction) { i.P = 31 }},
		"arm64 register 32":     {arm, func(i *Instruction) { i.P = 32 }},
		"arm64 flag of another": {arm, func(i *Instruction) { i.Flags = FlagAsync }},
	} {
		i := c.base
		if _, err := Encode(i); err != nil {
			t.Fatalf("%s: the base is refused: %v", name, err)
		}
		c.change(&i)
		if code, err := Encode(i); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: encoded as % x, error %v", name, code, err)
		}
	}
}

// TestAllocations bounds what a decoder allocates: x86asm boxes the memory
// operand, which is why the trap path decodes once for each address; nothing
// else allocates.
func TestAllocations(t *testing.T) {
	write := []byte{0x0f, 0xb9, 0x9c, 0x3e, 0x00, 0x06, 0x0d, 0x5a}
	for name, c := range map[string]struct {
		decode func([]byte) (Instruction, error)
		code   []byte
		want   float64
	}{
		"amd64":         {AMD64, write, 1},
		"amd64 foreign": {AMD64, []byte{0x0f, 0x0b}, 0},
		"amd64 short":   {AMD64, write[:5], 0},
		"arm64":         {ARM64, []byte{0x30, 0xb5, 0, 0, 0xa3, 0x90, 0, 0}, 0},
		"arm64 foreign": {ARM64, make([]byte, 8), 0},
	} {
		var sink Instruction
		var err error
		if got := testing.AllocsPerRun(100, func() { sink, err = c.decode(c.code) }); got > c.want {
			t.Errorf("%s: %v allocations, want at most %v (%v, %v)", name, got, c.want, sink, err)
		}
	}
}

func FuzzAMD64(f *testing.F) { fuzz(f, ArchAMD64) }
func FuzzARM64(f *testing.F) { fuzz(f, ArchARM64) }

// fuzz checks on any bytes what the package promises: an accepted instruction is
// the only meaning of its bytes and does not depend on what follows; a foreign
// one does not become ours by more bytes; x86asm agrees on the length.
func fuzz(f *testing.F, arch Arch) {
	for _, g := range readGolden(f) {
		if g.arch == arch {
			f.Add(append(bytes.Clone(g.code), g.rest...), []byte{0x90})
		}
	}
	decode := decoders[arch]
	f.Fuzz(func(t *testing.T, code, tail []byte) {
		i, err := decode(code)
		more, errMore := decode(append(bytes.Clone(code), tail...))
		switch {
		case err == nil:
			again, errAgain := Encode(i)
			if errAgain != nil || !bytes.Equal(again, code[:i.Len]) {
				t.Errorf("% x decodes to %+v, which encodes as % x (%v)", code, i, again, errAgain)
			}
			if more != i || errMore != nil {
				t.Errorf("% x is %v, but with % x after it %v (%v)", code, i, tail, more, errMore)
			}
			if arch == ArchAMD64 {
				x, err := x86asm.Decode(code, 64)
				if err != nil || x.Op != x86asm.UD1 || x.Len != int(i.Len) {
					t.Errorf("% x: x86asm sees %v of %d bytes (%v)", code, x, x.Len, err)
				}
			}
		case errors.Is(err, ErrForeign):
			if errMore != err {
				t.Errorf("% x: %v, but with % x after it: %v (%v)", code, err, tail, more, errMore)
			}
		case err == ErrTruncated:
			if len(code) > 8 {
				t.Errorf("% x: truncated, with %d bytes", code, len(code))
			}
		default:
			t.Errorf("% x: %v", code, err)
		}
	})
}

// tool finds a program or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func assembles(t *testing.T, as, text string) bool {
	t.Helper()
	cmd := exec.Command(as, "-o", os.DevNull, "-")
	cmd.Stdin = strings.NewReader(text + "\n")
	return cmd.Run() == nil
}

func run(t *testing.T, cmd *exec.Cmd, stdin string) string {
	t.Helper()
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
	}
	return string(out)
}
