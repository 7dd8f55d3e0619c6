package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary rmemrun itself where a script calls it so, and
// where it calls itself by /proc/self/exe.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rmemrun": main, "exe": main})
}

// TestScript runs the scripts in testdata/script. The condition [guests] holds
// where guests can be run, [cc] where C can be compiled.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each rmemrun sleeps a second before it exits
			for _, name := range []string{"NO_COLOR", "CC"} {
				e.Setenv(name, "")
			}
			return copyExample(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Condition: func(name string) (bool, error) {
			switch name {
			case "guests":
				return guestsRun() == nil, nil
			case "cc":
				_, err := exec.LookPath("cc")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// copyExample puts the smallest guest, and the headers that it includes, into a directory.
func copyExample(dir string) error {
	names, err := filepath.Glob("../../testprogs/*.h")
	if err != nil {
		return err
	}
	for _, name := range append(names, "../../testprogs/hello.c") {
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// status N COMMAND...: the command ends with the exit status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%q: %v", args[1:], err)
		}
		got = strconv.Itoa(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("%q: exit status %s, want %s", args[1:], got, args[0])
	}
}

// guestsRun says why no guest runs here; nil if they do.
func guestsRun() error {
	if goruntime.GOOS != "linux" || goruntime.GOARCH != "amd64" {
		return fmt.Errorf("guests run on linux/amd64")
	}
	for _, c := range checks {
		if c.name == "ptrace" || c.name == "seccomp filter" {
			if r := c.look(); r.problem != nil {
				return fmt.Errorf("%w: %s", r.problem, r.remedy)
			}
		}
	}
	return nil
}
