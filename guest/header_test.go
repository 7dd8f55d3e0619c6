package guest

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rmemrun/decode"
)

// strict are the warnings under which the header must be silent: more than a
// program of taste turns on.
var strict = []string{"-Werror", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wsign-conversion",
	"-Wshadow", "-Wundef", "-Wcast-qual"}

// language is a language the header is written in.
type language struct{ flag, std string }

var languages = []language{{"c", "c11"}, {"c++", "c++17"}}

// build compiles testdata/source and returns the path of the result. It skips
// the test if there is no such compiler.
func build(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	path, err := exec.LookPath(compiler)
	if err != nil {
		t.Skipf("no %s here", compiler)
	}
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".c"))
	args := slices.Concat(flags, strict, []string{"-I.", "-o", out, filepath.Join("testdata", source)})
	if text, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", compiler, strings.Join(args, " "), err, text)
	}
	return out
}

// hostArch returns the architecture that programs compiled here run on, or 0.
func hostArch() decode.Arch {
	switch runtime.GOARCH {
	case "amd64":
		return decode.ArchAMD64
	case "arm64":
		return decode.ArchARM64
	}
	return 0
}

// remote returns the remote-memory instructions of each function of an ELF file.
// It looks at every byte, and reports one that is not aligned to 8.
func remote(t *testing.T, path string) map[string][]decode.Instruction {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := decode.AMD64
	if f.Machine == elf.EM_AARCH64 {
		at = decode.ARM64
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]decode.Instruction)
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Size == 0 || int(s.Section) >= len(f.Sections) {
			continue
		}
		section := f.Sections[s.Section]
		code := make([]byte, s.Size)
		if _, err := section.ReadAt(code, int64(s.Value-section.Addr)); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		for n := 0; n < len(code); n++ {
			i, err := at(code[n:])
			if err != nil {
				continue
			}
			if pc := s.Value + uint64(n); pc%8 != 0 {
				t.Errorf("%s: %v at %#x is not aligned to 8", s.Name, i, pc)
			}
			name, _, _ := strings.Cut(s.Name, ".") // gcc's clones: op_fence.isra.0
			found[name] = append(found[name], i)
			n += int(i.Len) - 1
		}
	}
	return found
}

// wantOps is what each function of testdata/ops.c consists of.
var wantOps = map[string]string{
	"op_node": "node", "op_nodes": "nodes", "op_poll": "poll", "op_map": "map", "op_unmap": "unmap",
	"op_export": "export", "op_revoke": "revoke", "op_inhibit": "inhibit",
	"op_import": "import", "op_release": "release",
	"op_fence": "fence", "op_fence_every": "fence", "op_notify": "notify", "op_wait": "wait",
	"op_cas": "cas64", "op_fadd": "fadd64", "op_swap": "swap64", "op_swap_blind": "swap64",
	"op_cas32": "cas32", "op_fadd32": "fadd32", "op_swap32": "swap32",
	"op_write": "write", "op_write_notify": "write.notify", "op_write_stack": "write",
	"op_write_swab16": "write.swab16", "op_write_swab16_notify": "write.swab16.notify",
	"op_write_swab32": "write.swab32", "op_write_swab32_notify": "write.swab32.notify",
	"op_write_swab64": "write.swab64", "op_write_swab64_notify": "write.swab64.notify",
	"op_read": "read", "op_read_async": "read.async",
	"op_read_swab16": "read.swab16", "op_read_swab16_async": "read.swab16.async",
	"op_read_swab32": "read.swab32", "op_read_swab32_async": "read.swab32.async",
	"op_read_swab64": "read.swab64", "op_read_swab64_async": "read.swab64.async",
}

// checkOps compares an ELF file made from testdata/ops.c with wantOps. Without
// optimisation the instructions are in functions of the header that these call.
func checkOps(t *testing.T, path string, inlined bool) {
	t.Helper()
	found := remote(t, path)
	if inlined {
		for function, want := range wantOps {
			var got []string
			for _, i := range found[function] {
				got = append(got, i.Mnemonic())
			}
			// A compiler may repeat an instruction on two branches: clang does,
			// behind the guard. It may not add another.
			if !slices.Equal(slices.Compact(got), []string{want}) {
				t.Errorf("%s contains %q, want %q alone", function, got, want)
			}
		}
	}
	emitted := make(map[string]bool)
	for _, instructions := range found {
		for _, i := range instructions {
			emitted[i.Mnemonic()] = true
		}
	}
	for _, want := range wantOps {
		if !emitted[want] {
			t.Errorf("no %s in the program", want)
		}
	}
}

// TestEmitted checks that each function of the header becomes the instruction it
// stands for, in both languages, on both architectures, whatever the compiler
// makes of it.
func TestEmitted(t *testing.T) {
	type target struct {
		name  string
		cc    map[string]string
		flags []string
	}
	targets := []target{
		{"gcc", map[string]string{"c": "gcc", "c++": "g++"}, nil},
		{"clang", map[string]string{"c": "clang", "c++": "clang++"}, nil},
		{"gcc-arm64", map[string]string{"c": "aarch64-linux-gnu-gcc", "c++": "aarch64-linux-gnu-g++"}, []string{"-c"}},
		{"clang-arm64", map[string]string{"c": "clang", "c++": "clang++"}, []string{"-c", "--target=aarch64-linux-gnu"}},
	}
	styles := []struct {
		name    string
		flags   []string
		inlined bool
	}{
		{"O0", []string{"-O0"}, false},
		{"O1-static", []string{"-O1", "-static"}, false},
		{"O2-pie", []string{"-O2", "-fPIE", "-pie"}, true},
		{"O3-nopie", []string{"-O3", "-fno-pie", "-no-pie"}, true},
		{"Os-static-pie", []string{"-Os", "-fPIE", "-static-pie"}, false},
		{"O2-omit-frame-pointer", []string{"-O2", "-fomit-frame-pointer", "-fno-stack-protector"}, true},
	}
	for _, target := range targets {
		for _, lang := range languages {
			for _, style := range styles {
				t.Run(target.name+"/"+lang.std+"/"+style.name, func(t *testing.T) {
					t.Parallel()
					flags := append([]string{"-x", lang.flag, "-std=" + lang.std}, style.flags...)
					if slices.Contains(target.flags, "-c") {
						flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasSuffix(f, "-static") || strings.HasSuffix(f, "pie") })
					}
					checkOps(t, build(t, target.cc[lang.flag], "ops.c", append(flags, target.flags...)...), style.inlined)
				})
			}
		}
	}
}

// TestOperands runs every function of the header against a processor made of a
// signal handler, and checks which value each operand's register held.
func TestOperands(t *testing.T) {
	const base, offset = "0x7a00000012345678", "0x8877665544332211"
	want := []string{
		"node", "nodes", "poll",
		"export name=NAME name_length=5 base=" + base + " length=0x123456789a rights=9",
		"import name=NAME name_length=5 node=6 rights=4 timeout_ms=-1",
		"import name=NAME name_length=5 node=6 rights=4 timeout_ms=0",
		"revoke seg=11", "inhibit seg=12 on=1", "release desc=13",
		"fence desc=14", "fence desc=2147483647",
		"notify desc=15 offset=" + offset,
		"map desc=19 offset=" + offset + " length=0x1000 rights=3", "unmap base=" + base,
		"map desc=19 offset=0x0 length=0x2000 rights=1",
		"wait seg=16 event=" + base + " timeout_ms=250",
		"write.swab16 desc=17 offset=" + offset + " source=" + base + " length=0x29",
		"read.async desc=18 offset=" + offset + " destination=" + base + " length=0x2a",
	}
	for _, swab := range []string{"", ".swab16", ".swab32", ".swab64"} {
		width := map[string]int{"": 0, ".swab16": 0x10, ".swab32": 0x20, ".swab64": 0x30}[swab]
		write := func(flag string, length int) string {
			return fmt.Sprintf("write%s%s desc=17 offset=0x1 source=%s length=%#x", swab, flag, base, length)
		}
		read := func(flag string, length int) string {
			return fmt.Sprintf("read%s%s desc=18 offset=0x1 destination=%s length=%#x", swab, flag, base, length)
		}
		want = append(want, write("", width), read("", width), write(".notify", width|1), read(".async", width|2))
	}
	cas := []string{
		"cas64 desc=20 offset=0x8 expected=0x1111111111111111 desired=0x2222222222222222",
		"cas32 desc=20 offset=0x8 expected=0x11111111 desired=0x22222222",
	}
	want = append(append(want, cas...), cas...)
	want = append(want,
		"fadd64 desc=21 offset=0x10 addend=0x3333333333333333", "fadd32 desc=21 offset=0x10 addend=0x33333333",
		"swap64 desc=22 offset=0x18 value=0x4444444444444444", "swap32 desc=22 offset=0x18 value=0x44444444",
		"swap64 desc=22 offset=0x18 value=0x5555555555555555")

	for _, compiler := range []string{"gcc", "clang"} {
		for _, flags := range [][]string{{"-O0"}, {"-O1"}, {"-O2", "-pie", "-fPIE"}, {"-O3", "-static"}} {
			t.Run(compiler+strings.Join(flags, ""), func(t *testing.T) {
				t.Parallel()
				if hostArch() == 0 {
					t.Skip("runs on x86-64 and arm64 only")
				}
				program := build(t, compiler, "operands.c", append(flags, "-std=gnu11")...)
				var stderr bytes.Buffer
				cmd := exec.Command(program)
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.ExitCode() == 77 {
					t.Skipf("no seccomp filter can be set here: %s", stderr.String())
				}
				if err != nil {
					t.Fatalf("%v: %s", err, stderr.String())
				}
				var got []string
				for line := range strings.Lines(string(out)) {
					got = append(got, describe(t, line))
				}
				if !slices.Equal(got, want) {
					t.Errorf("instructions executed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// describe turns a line of testdata/operands.c, the bytes of an instruction and
// the general registers, into the operation and the values of its operands.
func describe(t *testing.T, line string) string {
	t.Helper()
	fields := strings.Fields(line)
	code, err := hex.DecodeString(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	at := map[decode.Arch]func([]byte) (decode.Instruction, error){decode.ArchAMD64: decode.AMD64, decode.ArchARM64: decode.ARM64}
	i, err := at[hostArch()](code)
	if err != nil {
		t.Fatalf("%x: %v", code, err)
	}
	text := i.Mnemonic()
	for _, o := range i.Op.Operands() {
		v, err := strconv.ParseUint(fields[1+i.Reg(o.Field)], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		text += " " + o.Name + "="
		switch o.Kind {
		case decode.KindAddress, decode.KindSize, decode.KindWord:
			switch {
			case o.Name == "name":
				text += "NAME" // on the stack
			case o.Name == "name_length":
				text += strconv.FormatUint(v, 10)
			case o.Kind == decode.KindWord && i.Width == 4:
				text += fmt.Sprintf("%#x", uint32(v))
			default:
				text += fmt.Sprintf("%#x", v)
			}
		default: // 32 bits; what is above them is undefined
			text += strconv.Itoa(int(int32(v)))
		}
	}
	return text
}

// TestGuard checks that a program that is run without rmemrun says so in one line
// and ends.
func TestGuard(t *testing.T) {
	for _, compiler := range []string{"gcc", "clang"} {
		for _, link := range []string{"-static", "-pie"} {
			t.Run(compiler+link, func(t *testing.T) {
				t.Parallel()
				program := build(t, compiler, "ops.c", "-O2", "-fPIE", link, "-std=c11")
				cmd := exec.Command(program, "an argument")
				var stdout, stderr strings.Builder
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 126 {
					t.Errorf("ended with %v, want exit status 126", err)
				}
				want := program + ": uses remote-memory instructions; run it as: rmemrun -n N " + program + " ...\n"
				if stderr.String() != want {
					t.Errorf("standard error %q, want %q", stderr.String(), want)
				}
				if stdout.Len() != 0 {
					t.Errorf("standard output %q, want none", stdout.String())
				}
			})
		}
	}
}

// TestAssembler checks that the header can be included by a file in assembly, and
// that RMEM_INSN is the instruction.
func TestAssembler(t *testing.T) {
	want := decode.Instruction{Arch: decode.ArchAMD64, Op: decode.Write, Flags: decode.FlagNotify, Width: 1, V: 3, A: 6, P: 15, Len: 9}
	for _, compiler := range []string{"gcc", "clang"} {
		t.Run(compiler, func(t *testing.T) {
			path, err := exec.LookPath(compiler)
			if err != nil {
				t.Skipf("no %s here", compiler)
			}
			out := filepath.Join(t.TempDir(), "f.o")
			cmd := exec.Command(path, "-m64", "-I.", "-c", "-o", out, "-x", "assembler-with-cpp", "-")
			cmd.Stdin = strings.NewReader("#include \"rmem.h\"\n.text\n.globl f\n.type f,@function\nf: nop\n.p2align 3\n" +
				"ud1l RMEM_INSN(RMEM_OP_WRITE, RMEM_NOTIFY)(%rsi,%r15,1), %ebx\nret\n.size f,.-f\n")
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if got := remote(t, out)["f"]; !slices.Equal(got, []decode.Instruction{want}) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestHeader checks that what is embedded is the file.
func TestHeader(t *testing.T) {
	file, err := os.ReadFile("rmem.h")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(Header, file) {
		t.Error("Header is not the text of rmem.h")
	}
}
