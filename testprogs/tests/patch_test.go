package tests

import (
	"fmt"
	"os"
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
		{"blocks", []string{"sizes"}},
		{"blocks", []string{"faults"}},
		{"blocks", []string{"signals"}},
		{"blocks", []string{"jumps"}},
		{"blocks", []string{"threads"}},
		{"blocks", []string{"processors"}},
		{"blocks", []string{"family"}},
		{"blocks", []string{"killed"}},
		{"blocks", []string{"exported"}},
		{"blocks", []string{"hostile"}},
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

// TestHostileNeighbour runs a guest that overwrites what it shares with rmemrun and with two others, which find everything right between them, and whatever
// they do with it comes to an end. Nothing is left open in rmemrun.
func TestHostileNeighbour(t *testing.T) {
	needEngines(t)
	program := compile(t, "fixtures/patch/neighbours.c", style{"O1", []string{"-O1", "-pthread"}})
	times, seeds := "10", 6
	if testing.Short() {
		times, seeds = "1", 1
	}
	for _, test := range []struct {
		name string
		job  runtime.Job
		how  string
		long bool
	}{
		{"ptrace", runtime.Job{Engine: "ptrace"}, "both", true},
		{"both", runtime.Job{Engine: "patch"}, "both", true},
		{"requests", runtime.Job{Engine: "patch"}, "requests", false},
		{"requests, agent polls", runtime.Job{Engine: "patch", Poll: runtime.PollYes}, "requests", true},
		{"replies", runtime.Job{Engine: "patch"}, "replies", false},
		{"replies, agent polls", runtime.Job{Engine: "patch", Poll: runtime.PollYes}, "replies", true},
		{"replies, agent asleep", runtime.Job{Engine: "patch", Poll: runtime.PollNo, CPUs: 1}, "replies", true},
		{"heads", runtime.Job{Engine: "patch"}, "heads", false},
		{"heads, agent asleep", runtime.Job{Engine: "patch", Poll: runtime.PollNo, CPUs: 1}, "heads", true},
		{"heads ahead, agent asleep", runtime.Job{Engine: "patch", Poll: runtime.PollNo, CPUs: 1}, "ahead", false},
		{"locks", runtime.Job{Engine: "patch"}, "locks", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && testing.Short() {
				t.Skip("a short run has one neighbour of each kind that does harm of its own")
			}
			for seed := range seeds {
				before := held(t)
				status, stdout, stderr := runJob(t, test.job, program, 3, test.job.Engine, times, test.how, fmt.Sprint(seed+1))
				if status != 0 || stdout != "right\nright\n" {
					t.Errorf("seed %d: status %d, printed\n%s%s", seed+1, status, stdout, stderr)
				}
				if after := held(t); !slices.Equal(after, before) {
					t.Errorf("seed %d: memory files that rmemrun has open or mapped: %q, before %q", seed+1, after, before)
				}
				if testing.Verbose() {
					t.Logf("seed %d: %s", seed+1, stderr)
				}
			}
		})
	}
}

// held are the memory files that this process, which is rmemrun here, has open or mapped.
func held(t *testing.T) (all []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(name, "memfd:rmemrun") {
			all = append(all, "open: "+name)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if _, name, found := strings.Cut(line, "memfd:rmemrun"); found {
			all = append(all, "mapped:"+name)
		}
	}
	slices.Sort(all)
	return all
}
