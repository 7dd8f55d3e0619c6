package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rmemrun/runtime"
)

// engines are those that guests must not be able to tell from each other, the one that is right by definition first.
var engines = []string{"ptrace", "patch"}

// needEngines skips a test where there is but one engine.
func needEngines(t *testing.T) {
	t.Helper()
	for _, e := range engines {
		if !slices.Contains(runtime.Engines(), e) {
			t.Skipf("there is no engine %q here, only %q", e, runtime.Engines())
		}
	}
}

// TestPitfalls runs the guests of fixtures/patch, which try to tell whether their instructions were replaced, and to be harmed by it.
// Package trap runs them, too, with rings that are served in all ways one by one.
func TestPitfalls(t *testing.T) {
	needEngines(t)
	plain := style{"O1", []string{"-O1", "-pthread"}}
	for _, test := range []struct {
		source string
		args   []string
	}{
		{"registers", nil},
		{"signals", nil},
		{"jumps", nil},
		{"operands", nil},
		{"places", nil},
		{"code", nil},
		{"threads", nil},
		{"crowd", nil},
		{"family", nil},
		{"faults", nil},
		{"stacks", nil},
		{"sigill", nil},
		{"sigsegv", nil},
		{"steps", nil},
		{"seccomp", nil},
		{"hostile", []string{"garbage", "2"}},
		{"hostile", []string{"ring", "1"}},
		{"hostile", []string{"stubs", "1"}},
	} {
		t.Run(strings.Join(append([]string{test.source}, test.args...), " "), func(t *testing.T) {
			program := compile(t, "fixtures/patch/"+test.source+".c", plain)
			for _, engine := range engines {
				times := "10"
				if testing.Short() {
					times = "1"
				}
				status, stdout, stderr := runJob(t, runtime.Job{Engine: engine}, program, 1, append([]string{engine, times}, test.args...)...)
				if status != 0 || stdout != "right\n" {
					t.Errorf("%s: status %d, printed\n%s%s", engine, status, stdout, stderr)
				}
			}
		})
	}
}

// TestEnginesAgree runs programs under all engines: what they print is the same.
func TestEnginesAgree(t *testing.T) {
	needEngines(t)
	for _, test := range []struct {
		source string
		style  style
		nodes  []int
		args   string
	}{
		{"hello.c", pie, []int{1, 3}, ""},
		{"hello.S", asm, []int{2}, ""},
		{"go/hello", golang, []int{2}, ""},
		{"pingpong.c", static, []int{2}, "300 40"},
		{"pingpong.c", pie, []int{2}, "20 4096"},
		{"pingpong.S", asmPIE, []int{2}, ""},
		{"go/pingpong", golang, []int{2}, "200 40"},
		{"producer.c", pie, []int{2, 4}, "200 7"},
		{"counter.c", pie, []int{1, 3}, "50"},
		{"counter.c", static, []int{2}, "20 4"},
		{"jacobi.c", pie, []int{1, 4}, "24 30"},
		{"names.c", pie, []int{1}, "60"},
		{"alltoall.c", pie, []int{3}, "150 1 1"},
		{"fixtures/every.c", pie, []int{1, 2}, ""},
		{"../guest/go/rmem/testdata/every", golang, []int{2}, ""},
	} {
		t.Run(test.source+"/"+test.style.name, func(t *testing.T) {
			program := compile(t, test.source, test.style)
			for _, nodes := range test.nodes {
				agree(t, program, nodes, strings.Fields(test.args)...)
			}
		})
	}
}

// TestRandomGuests runs random operations under all engines, and compares all results, and what is in the memory at the end.
func TestRandomGuests(t *testing.T) {
	needEngines(t)
	program := compile(t, "fixtures/random.c", pie)
	seeds := 150
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		agree(t, program, 1+seed%3, fmt.Sprint(seed+1), "400")
	}
}

// agree runs a program under all engines, and compares.
func agree(t *testing.T, program string, nodes int, args ...string) {
	t.Helper()
	var right []string
	for _, engine := range engines {
		status, stdout, stderr := runJob(t, runtime.Job{Engine: engine}, program, nodes, args...)
		got := lines(stdout)
		if engine == engines[0] {
			right = got
		}
		if status != 0 || len(got) == 0 {
			t.Errorf("%v on %d nodes, engine %s: status %d\n%s%s", args, nodes, engine, status, stdout, stderr)
		}
		if !slices.Equal(got, right) {
			t.Errorf("%v on %d nodes: engine %s differs from %s:\n%s", args, nodes, engine, engines[0], difference(right, got))
		}
	}
}

// difference is what one list of lines has and another has not, in part.
func difference(a, b []string) string {
	var all []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			all = append(all, "+ "+line)
		}
	}
	return strings.Join(all[:min(len(all), 20)], "\n")
}
