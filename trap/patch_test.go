//go:build linux && amd64

package trap

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestPatchedRegisters(t *testing.T) {
	eachWay(t, func(t *testing.T, h *loop) {
		// The guests would see no difference if their stubs left everything to the trap.
		for _, op := range []decode.Op{decode.Write, decode.CAS, decode.FAdd, decode.Swap} {
			if n := h.trapped[op]; h.way.rings && n > 20 || !h.way.rings && n < 300 {
				t.Errorf("%v has trapped %d times", op, n)
			}
		}
	}, patchFixture(t, "registers"))
}
func TestPatchedSignals(t *testing.T)  { eachWay(t, nil, patchFixture(t, "signals")) }
func TestPatchedJumps(t *testing.T)    { eachWay(t, nil, patchFixture(t, "jumps")) }
func TestPatchedOperands(t *testing.T) { eachWay(t, nil, patchFixture(t, "operands")) }
func TestPatchedThreads(t *testing.T)  { eachWay(t, nil, patchFixture(t, "threads")) }
func TestPatchedCrowd(t *testing.T)    { eachWay(t, nil, patchFixture(t, "crowd")) }
func TestPatchedFamily(t *testing.T)   { eachWay(t, nil, patchFixture(t, "family")) }

// TestPatchedBlocks: the sources of blocks go by staging memory. Most do, where it is one thread's at a time and nobody harms it.
func TestPatchedBlocks(t *testing.T) {
	for _, test := range []struct {
		what string
		most bool
	}{
		{"sizes", true}, {"signals", true}, {"jumps", true}, {"family", true}, {"faults", false}, {"threads", false}, {"processors", false}, {"killed", false}, {"exported", false}, {"hostile", false},
	} {
		t.Run(test.what, func(t *testing.T) {
			eachWay(t, func(t *testing.T, h *loop) {
				writes, least := h.trapped[decode.Write], 1
				if test.most {
					least = writes*2/3 - 20 // those of before it is there, and before an instruction is replaced, are not
				}
				switch {
				case !h.way.rings && h.staged > 0:
					t.Errorf("%d sources were staged, and there is no staging memory", h.staged)
				case test.what == "exported" && h.staged > writes/4:
					t.Errorf("the sources of %d of %d writes were staged, and all but a fifth are mapped here", h.staged, writes)
				case h.way.rings && h.staged < least:
					t.Errorf("%d writes have trapped, and the sources of %d were staged, want %d", writes, h.staged, least)
				}
			}, patchFixture(t, "blocks"), test.what)
		})
	}
}

func TestPatchedFaults(t *testing.T) { eachWay(t, nil, patchFixture(t, "faults")) }
func TestPatchedStacks(t *testing.T) { eachWay(t, nil, patchFixture(t, "stacks")) }
func TestPatchedSigill(t *testing.T) { eachWay(t, nil, patchFixture(t, "sigill")) }

func TestPatchedSigsegv(t *testing.T) { eachWay(t, nil, patchFixture(t, "sigsegv")) }

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

// TestPatchedHostile: what a guest does to its rings, its board, its stubs harms nobody else.
func TestPatchedHostile(t *testing.T) {
	seeds := "20"
	if testing.Short() {
		seeds = "2"
	}
	for _, how := range []string{"garbage", "ring", "stubs", "foothold"} {
		t.Run(how, func(t *testing.T) {
			if how != "garbage" {
				seeds = "1"
			}
			eachWay(t, nil, patchFixture(t, "hostile"), how, seeds)
		})
	}
}

// TestPatchedKilled: guests that are killed in the midst of stubs, at any moment, leave nothing behind, nor does the
// engine when it is killed.
func TestPatchedKilled(t *testing.T) {
	path := patchFixture(t, "endless")
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			files, mapped := openFiles(t), memoryFiles(t)
			rounds := 10
			if testing.Short() {
				rounds = 2
			}
			for i := range rounds {
				h := newLoop(t, w)
				out, in, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				null, err := os.Open("/dev/null")
				if err != nil {
					t.Fatal(err)
				}
				e := newTestEngine(Config{Handler: h})
				go func() {
					_, _ = bufio.NewReader(out).ReadString('\n')
					time.Sleep(time.Duration(i*737) * time.Microsecond) // somewhere
					for {
						e.Signal(syscall.SIGKILL)
						if _, err := out.Read(make([]byte, 1)); err != nil {
							return
						}
					}
				}()
				ended := make(chan struct{})
				var status syscall.WaitStatus
				go func() {
					defer close(ended)
					status, err = e.Run(Command{Path: path, Args: []string{path, "patch"}, Stdin: null, Stdout: in, Stderr: null})
				}()
				<-ended
				in.Close()
				out.Close()
				null.Close()
				if err != nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
					t.Errorf("status %v, error %v", status, err)
				}
				if len(h.spaces) != 0 {
					t.Errorf("%d address spaces did not end", len(h.spaces))
				}
				h.close()
			}
			if n := openFiles(t); n != files {
				t.Errorf("%d files are open, %d were before", n, files)
			}
			if n := memoryFiles(t); n != mapped {
				t.Errorf("%d memory files are mapped, %d were before", n, mapped)
			}
		})
	}
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
