//go:build linux && amd64

package trap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rmemrun/decode"
)

// patchFixture compiles testprogs/fixtures/patch/NAME.c.
func patchFixture(t testing.TB, name string, flags ...string) string {
	t.Helper()
	return compileFixture(t, "patch/"+name, flags...)
}

// compileFixture compiles testprogs/fixtures/NAME.c and returns the program's path.
func compileFixture(t testing.TB, name string, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler: install gcc")
	}
	fixtures.Lock()
	defer fixtures.Unlock()
	out := filepath.Join(fixtures.dir, strings.ReplaceAll(name, "/", "-")+strings.Join(flags, ""))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	args := append([]string{"-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I", "../guest", "-o", out, "../testprogs/fixtures/" + name + ".c"}, flags...)
	if b, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return out
}

// eachWay runs a guest of testprogs/fixtures/patch in each of the ways that its instructions can be carried out, and wants
// it to find everything right.
func eachWay(t *testing.T, check func(t *testing.T, h *loop), path string, args ...string) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			h := newLoop(t, w)
			engine := "ptrace"
			if w.patch {
				engine = "patch"
			}
			times := "10"
			if testing.Short() {
				times = "1"
			}
			g := run(t, h, append([]string{path, engine, times}, args...)...)
			if g.err != nil {
				t.Fatal(g.err)
			}
			if got := exitStatus(g.status); got != 0 || g.stdout != "right\n" {
				t.Errorf("exit status %d, output\n%s%s", got, g.stdout, g.stderr)
			}
			if len(h.spaces) != 0 {
				t.Errorf("%d address spaces did not end", len(h.spaces))
			}
			if testing.Verbose() {
				var b bytes.Buffer
				for why, n := range h.patched {
					fmt.Fprintf(&b, " %d: %v;", n, why)
				}
				t.Logf("%d trapped, %d helped;%s", h.trapped, h.helped, b.String())
			}
			if check != nil {
				check(t, h)
			}
		})
	}
}

func TestPatchedRegisters(t *testing.T) { eachWay(t, nil, patchFixture(t, "registers")) }
func TestPatchedSignals(t *testing.T)   { eachWay(t, nil, patchFixture(t, "signals")) }
func TestPatchedJumps(t *testing.T)     { eachWay(t, nil, patchFixture(t, "jumps")) }
func TestPatchedOperands(t *testing.T)  { eachWay(t, nil, patchFixture(t, "operands")) }
func TestPatchedThreads(t *testing.T)   { eachWay(t, nil, patchFixture(t, "threads")) }
func TestPatchedCrowd(t *testing.T)     { eachWay(t, nil, patchFixture(t, "crowd")) }
func TestPatchedFamily(t *testing.T)    { eachWay(t, nil, patchFixture(t, "family")) }

func TestPatchedFaults(t *testing.T) { eachWay(t, nil, patchFixture(t, "faults")) }
func TestPatchedSigill(t *testing.T) { eachWay(t, nil, patchFixture(t, "sigill")) }

func TestPatchedSteps(t *testing.T) {
	eachWay(t, func(t *testing.T, h *loop) {
		if h.way.patch && h.patched[errStepped] == 0 {
			t.Error("the instruction that was stepped through was not left to the trap because of that")
		}
	}, patchFixture(t, "steps"))
}

// TestPatchedSeccomp: the filter of the guest's own may come by either system call.
func TestPatchedSeccomp(t *testing.T) {
	for _, call := range []string{"seccomp", "prctl"} {
		t.Run(call, func(t *testing.T) {
			eachWay(t, func(t *testing.T, h *loop) {
				if h.way.patch && h.trapped[decode.Fence] < 300 {
					t.Errorf("%d fences have trapped, want all behind the filter", h.trapped[decode.Fence])
				}
			}, patchFixture(t, "seccomp"), call)
		})
	}
}

func TestPatchedRestartable(t *testing.T) {
	path := patchFixture(t, "rseq")
	if g := run(t, newLoop(t, ways[0]), path, "ptrace"); exitStatus(g.status) == 3 {
		t.Skip("this C library registers no rseq area")
	}
	eachWay(t, func(t *testing.T, h *loop) {
		if h.way.patch && h.patched[errRestarts] != 1 {
			t.Errorf("%d instructions were left to the trap for being in a restartable sequence, want 1: %v", h.patched[errRestarts], h.patched)
		}
	}, path)
}

// TestPatchedKinds runs a guest that is linked in all ways.
func TestPatchedKinds(t *testing.T) {
	for _, flags := range [][]string{{"-static"}, {"-no-pie"}, {"-static-pie"}} {
		t.Run(flags[0], func(t *testing.T) { eachWay(t, nil, patchFixture(t, "jumps", flags...)) })
	}
}

func TestPatchedPlaces(t *testing.T) {
	var many []string
	if !testing.Short() {
		many = append(many, "many")
	}
	eachWay(t, func(t *testing.T, h *loop) {
		// Eight, and the one across pages.
		if n := h.patched[errStraddles]; h.way.patch && n != 9 {
			t.Errorf("%d instructions were left to the trap as the jump would straddle a word, want 9", n)
		}
	}, patchFixture(t, "places"), many...)
}

func TestPatchedCode(t *testing.T) {
	one, two := patchFixture(t, "library", "-shared", "-fPIC"), patchFixture(t, "library", "-shared", "-fPIC", "-DCAS")
	eachWay(t, func(t *testing.T, h *loop) {
		if h.way.patch && (h.patched[errNotText] == 0 || h.patched[errManyWrites] == 0) {
			t.Errorf("instructions were left to the trap because of %v; want some that may be moved, and some that were dropped too often", h.patched)
		}
	}, patchFixture(t, "code"), one, two)
}
