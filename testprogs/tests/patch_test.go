package tests

import (
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
