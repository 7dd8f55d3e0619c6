//go:build linux && amd64

// Package isa holds the statements of docs/isa.md: guests, in testprogs/fixtures/isa, that try each of them under the
// runtime, and a count of what is tried.
package isa

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixtures is where the guests' sources are.
const fixtures = "../fixtures/isa"

// compile builds a fixture with a compiler, gcc or g++, and skips the test if there is none.
func compile(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	cc, err := exec.LookPath(compiler)
	if err != nil {
		t.Skipf("no %s here", compiler)
	}
	out := filepath.Join(t.TempDir(), "guest")
	flags = append(flags, "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-I../../guest", "-o", out, filepath.Join(fixtures, source))
	return build(t, out, cc, flags...)
}

func build(t *testing.T, out, command string, args ...string) string {
	t.Helper()
	if text, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", command, args, err, text)
	}
	return out
}

// A guest is a program that has run.
type guest struct {
	result runtime.Result
	out    string // what the nodes wrote
	log    string // rmemrun's warnings
}

func run(t *testing.T, program string, nodes int, observer func(*runtime.Event), args ...string) guest {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var log bytes.Buffer
	job := runtime.Job{
		Programs: []runtime.Program{{Path: program, Args: args, Nodes: nodes}},
		Stdout:   out, Stderr: out,
		Observer: observer,
		Log:      hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn}),
	}
	result, err := job.Run()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return guest{result, string(text), log.String()}
}

// TestGuests runs each guest, and reads from it which statements it found true: all that its source names. A statement that
// several guests try is a subtest of each.
func TestGuests(t *testing.T) {
	for _, test := range []struct {
		source string
		nodes  []int
		killed bool // all nodes but 0 are
	}{
		{"registers.c", []int{1}, false},
		{"refusals.c", []int{1}, false},
		{"spaces.c", []int{1, 3}, false},
		{"exports.c", []int{1}, false},
		{"imports.c", []int{2}, false},
		{"revokes.c", []int{2}, false},
		{"mappings.c", []int{2}, false},
		{"fences.c", []int{1}, false},
		{"transfers.c", []int{2}, false},
		{"atomics.c", []int{2, 3}, false},
		{"orders.c", []int{2}, false},
		{"events.c", []int{2, 4}, false},
		{"signals.c", []int{1}, false},
		{"deaths.c", []int{2, 3}, false},
		{"deaths.c", []int{2, 3}, true},
	} {
		for _, nodes := range test.nodes {
			name, ends, args := fmt.Sprintf("%s on %d", test.source, nodes), nodes, []string(nil)
			if test.source == "transfers.c" && testing.Short() {
				args = []string{"2"} // MiB in place of 20
			}
			if test.killed {
				name, ends, args = name+", killed", 1, []string{"kill"}
			}
			t.Run(name, func(t *testing.T) {
				g := run(t, compile(t, "gcc", test.source), nodes, nil, args...)
				if g.result.Status != 0 || count(g.out, "end") != ends {
					t.Errorf("status %d; %d nodes came to their end, want %d\n%s%s",
						g.result.Status, count(g.out, "end"), ends, g.out, g.log)
				}
				for _, tag := range cited(t, filepath.Join(fixtures, test.source)) {
					t.Run(tag, func(t *testing.T) {
						held := false
						for line := range strings.Lines(g.out) {
							if !strings.Contains(line, "["+tag+"]") {
								continue
							}
							held = held || strings.HasPrefix(line, "ok ")
							if strings.HasPrefix(line, "NOT ") {
								t.Error(line)
							}
						}
						if !held {
							t.Error("was not tried")
						}
					})
				}
			})
		}
	}
}

// count counts the lines that are equal to one.
func count(text, line string) int {
	n := 0
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == line {
			n++
		}
	}
	return n
}

// TestBindings runs the same calls in C, C++ and Go. [O8]
func TestBindings(t *testing.T) {
	want := run(t, compile(t, "gcc", "calls.c", "-std=c11"), 1, nil)
	if want.result.Status != 0 || count(want.out, "release again: no such segment or descriptor") != 1 {
		t.Fatalf("status %d\n%s", want.result.Status, want.out)
	}
	t.Run("C++", func(t *testing.T) {
		same(t, want, run(t, compile(t, "g++", "calls.c", "-x", "c++", "-std=c++17"), 1, nil))
	})
	t.Run("Go", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "calls")
		same(t, want, run(t, build(t, out, "go", "build", "-o", out, "../fixtures/isa/calls"), 1, nil))
	})
}

func same(t *testing.T, want, got guest) {
	t.Helper()
	if got.result.Status != 0 || got.out != want.out {
		t.Errorf("status %d; printed\n%s\nand in C\n%s", got.result.Status, got.out, want.out)
	}
}

// TestCells counts the cells of short writes. [W2]
func TestCells(t *testing.T) {
	type write struct {
		length, offset uint64
		cells          int
	}
	writes := map[uint64]*write{} // by tag
	g := run(t, compile(t, "gcc", "cells.c"), 1, func(e *runtime.Event) {
		switch {
		case e.Kind == runtime.Decode && e.Inst.Op == decode.Write:
			writes[e.Tag] = &write{length: e.C, offset: e.A}
		case e.Kind == runtime.Network && e.Net.Kind == rmem.Sent && writes[e.Tag] != nil:
			writes[e.Tag].cells++
		}
	})
	if g.result.Status != 0 || len(writes) != 3*41 {
		t.Fatalf("status %d, %d writes\n%s", g.result.Status, len(writes), g.out)
	}
	for _, w := range writes {
		if one := w.length <= 40 && w.offset < 1<<27; w.cells == 0 || one && w.cells != 1 || w.length > 40 && w.cells == 1 {
			t.Errorf("%d bytes at %#x travelled in %d cells", w.length, w.offset, w.cells)
		}
	}
}

// TestReleasedWithTheirSpace counts circuits: whatever address spaces end by, no descriptor is left. [G3] [G4]
func TestReleasedWithTheirSpace(t *testing.T) {
	connects, disconnects := 0, 0
	g := run(t, compile(t, "gcc", "spaces.c"), 1, func(e *runtime.Event) {
		if e.Kind == runtime.Network && e.Net.Kind == rmem.Sent && e.Net.Status == rmem.OK {
			switch e.Net.Op {
			case rmem.OpConnect:
				connects++
			case rmem.OpDisconnect:
				disconnects++
			}
		}
	})
	if g.result.Status != 0 || connects < 5 || disconnects != connects {
		t.Errorf("status %d; %d descriptors were made, %d released\n%s", g.result.Status, connects, disconnects, g.out)
	}
}

// TestWarnings reads what the log says of a guest that does not look at errors. [G9] [X10]
func TestWarnings(t *testing.T) {
	g := run(t, compile(t, "gcc", "careless.c"), 1, nil)
	if g.result.Status != 0 || count(g.out, "end") != 1 {
		t.Fatalf("status %d\n%s", g.result.Status, g.out)
	}
	for _, words := range [][]string{
		{"no fence", "segment=refusing", "ESTALE"},
		{`segment="on the stack"`, "memory is a stack", "EINVAL"},
		{`segment="of all"`, "shared", "EINVAL"},
	} {
		found := 0
		for line := range strings.Lines(g.log) {
			if strings.Contains(line, "[WARN]") && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d warnings have %q, want 1:\n%s", found, words, g.log)
		}
	}
}
