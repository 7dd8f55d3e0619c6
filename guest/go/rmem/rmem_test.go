package rmem

import (
	"debug/elf"
	"errors"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmemrun/decode"
)

// wantInstructions is what each assembly function contains, with the operands'
// registers in the order of the C binding's arguments.
var wantInstructions = map[string]string{
	"Node": "node", "Nodes": "nodes", "Poll": "poll",
	"Map": "map desc=P, offset=A, length=C, rights=D", "Unmap": "unmap base=V",
	"Export": "export name=P, name_length=C, base=V, length=A, rights=D",
	"Revoke": "revoke seg=P", "Inhibit": "inhibit seg=P, on=V",
	"Import":  "import name=P, name_length=C, node=A, rights=D, timeout_ms=V",
	"Release": "release desc=P", "Fence": "fence desc=P",
	"Notify": "notify desc=P, offset=A", "Wait": "wait seg=P, event=V, timeout_ms=A",
	"CAS":    "cas64 desc=P, offset=A, expected=D, desired=V",
	"CAS32":  "cas32 desc=P, offset=A, expected=D, desired=V",
	"FAdd":   "fadd64 desc=P, offset=A, addend=V",
	"FAdd32": "fadd32 desc=P, offset=A, addend=V",
	"Swap":   "swap64 desc=P, offset=A, value=V",
	"Swap32": "swap32 desc=P, offset=A, value=V",

	"Write":             "write desc=P, offset=A, source=V, length=C",
	"WriteSwab16":       "write.swab16 desc=P, offset=A, source=V, length=C",
	"WriteSwab32":       "write.swab32 desc=P, offset=A, source=V, length=C",
	"WriteSwab64":       "write.swab64 desc=P, offset=A, source=V, length=C",
	"WriteNotify":       "write.notify desc=P, offset=A, source=V, length=C",
	"WriteSwab16Notify": "write.swab16.notify desc=P, offset=A, source=V, length=C",
	"WriteSwab32Notify": "write.swab32.notify desc=P, offset=A, source=V, length=C",
	"WriteSwab64Notify": "write.swab64.notify desc=P, offset=A, source=V, length=C",
	"Read":              "read desc=P, offset=A, destination=V, length=C",
	"ReadSwab16":        "read.swab16 desc=P, offset=A, destination=V, length=C",
	"ReadSwab32":        "read.swab32 desc=P, offset=A, destination=V, length=C",
	"ReadSwab64":        "read.swab64 desc=P, offset=A, destination=V, length=C",
	"ReadAsync":         "read.async desc=P, offset=A, destination=V, length=C",
	"ReadSwab16Async":   "read.swab16.async desc=P, offset=A, destination=V, length=C",
	"ReadSwab32Async":   "read.swab32.async desc=P, offset=A, destination=V, length=C",
	"ReadSwab64Async":   "read.swab64.async desc=P, offset=A, destination=V, length=C",
}

// build compiles the guest that uses every function, for an architecture.
func build(t *testing.T, arch string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "every")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/every")
	cmd.Env = append(cmd.Environ(), "GOARCH="+arch, "GOOS=linux", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	return out
}

// TestInstructions decodes the assembly functions of a linked guest.
func TestInstructions(t *testing.T) {
	for _, arch := range []struct {
		name      string
		decode    func([]byte) (decode.Instruction, error)
		registers *strings.Replacer
	}{
		{"amd64", decode.AMD64, strings.NewReplacer("=V", "=rbx", "=A", "=rsi", "=P", "=rdi", "=C", "=rcx", "=D", "=rdx")},
		{"arm64", decode.ARM64, strings.NewReplacer("=V", "=x3", "=A", "=x4", "=P", "=x5", "=C", "=x1", "=D", "=x2")},
	} {
		t.Run(arch.name, func(t *testing.T) {
			want := maps.Clone(wantInstructions)
			for function, text := range want {
				want[function] = arch.registers.Replace(text)
			}
			got := make(map[string]string)
			file, err := elf.Open(build(t, arch.name))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			symbols, err := file.Symbols()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range symbols {
				name, ours := strings.CutPrefix(s.Name, "rmemrun/guest/go/rmem.insn")
				if elf.ST_TYPE(s.Info) != elf.STT_FUNC {
					continue
				}
				name, _, _ = strings.Cut(name, ".") // Go's name for an assembly function: insnWrite.abi0
				section := file.Sections[s.Section]
				code := make([]byte, s.Size)
				if _, err := section.ReadAt(code, int64(s.Value-section.Addr)); err != nil {
					t.Fatalf("%s: %v", s.Name, err)
				}
				for n := range code {
					i, err := arch.decode(code[n:])
					if err != nil {
						continue
					}
					if !ours {
						t.Errorf("%s contains %v", s.Name, i)
						continue
					}
					if (s.Value+uint64(n))%8 != 0 {
						t.Errorf("%s: %v at %#x is not aligned to 8", s.Name, i, s.Value+uint64(n))
					}
					got[name] += i.String()
				}
			}
			for _, function := range slices.Sorted(maps.Keys(want)) {
				if got[function] != want[function] {
					t.Errorf("insn%s is %q, want %q", function, got[function], want[function])
				}
				delete(got, function)
			}
			if len(got) != 0 {
				t.Errorf("functions this test does not know: %v", got)
			}
		})
	}
}

// TestGuard checks that a guest that is run without rmemrun says so in one line
// and ends.
func TestGuard(t *testing.T) {
	program := build(t, "")
	cmd := exec.Command(program, "an argument")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 126 {
		t.Errorf("ended with %v, want exit status 126", err)
	}
	want := program + ": uses remote-memory instructions; run it as: rmemrun -n N " + program + " ...\n"
	if stderr.String() != want || stdout.Len() != 0 {
		t.Errorf("standard error %q, want %q; standard output %q, want none", stderr.String(), want, stdout.String())
	}
}

func TestMilliseconds(t *testing.T) {
	for timeout, want := range map[time.Duration]int32{
		Forever:                 -1,
		-time.Hour:              -1,
		0:                       0,
		1:                       1,
		time.Millisecond:        1,
		time.Millisecond + 1:    2,
		1 << 62:                 1<<31 - 1,
		(1<<31 - 1) * 1_000_000: 1<<31 - 1,
	} {
		if got := milliseconds(timeout); got != want {
			t.Errorf("milliseconds(%d) = %d, want %d", timeout, got, want)
		}
	}
}

func TestError(t *testing.T) {
	for e, want := range map[Error]string{
		EDESC:    "rmem: no such segment or descriptor",
		ENOSPC:   "rmem: no space for more",
		-14:      "rmem: unknown error -14",
		0:        "rmem: unknown error 0",
		-1 << 31: "rmem: unknown error -2147483648",
	} {
		if got := e.Error(); got != want {
			t.Errorf("Error(%d) = %q, want %q", int32(e), got, want)
		}
	}
	if failure(0) != nil || failure(5) != nil {
		t.Error("a result that is not negative is no error")
	}
	if err := failure(-5); err != ESTALE {
		t.Errorf("failure(-5) = %v, want ESTALE", err)
	}
}

// TestHeaderNumbers checks that this package and rmem.h agree on every constant
// that both have.
func TestHeaderNumbers(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no cc here")
	}
	cmd := exec.Command(cc, "-E", "-P", "-I../..", "-")
	cmd.Stdin = strings.NewReader(`#include "rmem.h"
numbers RMEM_READ RMEM_WRITE RMEM_ATOMIC RMEM_QUIET RMEM_NOTIFY RMEM_SWAB16 RMEM_SWAB32 RMEM_SWAB64 RMEM_EVERY
RMEM_EDESC RMEM_EPERM RMEM_ERANGE RMEM_EALIGN RMEM_ESTALE RMEM_EINHIBIT RMEM_EFAULT RMEM_EINVAL RMEM_ENOENT
RMEM_EEXIST RMEM_EDOWN RMEM_ETIMEDOUT RMEM_ENOSPC RMEM_OP_WRITE RMEM_OP_CAS RMEM_OP_FADD RMEM_OP_SWAP RMEM_OP_NOTIFY`)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, numbers, _ := strings.Cut(string(text), "numbers ")
	var header []int64
	for _, field := range strings.Fields(numbers) {
		n, err := strconv.ParseInt(strings.Trim(field, "()"), 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		header = append(header, n)
	}
	ours := []int64{int64(Read), int64(Write), int64(Atomic), int64(Quiet), int64(Notify), int64(Swab16), int64(Swab32),
		int64(Swab64), int64(Every), int64(EDESC), int64(EPERM), int64(ERANGE), int64(EALIGN), int64(ESTALE),
		int64(EINHIBIT), int64(EFAULT), int64(EINVAL), int64(ENOENT), int64(EEXIST), int64(EDOWN), int64(ETIMEDOUT),
		int64(ENOSPC), int64(OpWrite), int64(OpCAS), int64(OpFAdd), int64(OpSwap), int64(OpNotify)}
	if !slices.Equal(ours, header) {
		t.Errorf("this package has %v, rmem.h %v", ours, header)
	}
}
