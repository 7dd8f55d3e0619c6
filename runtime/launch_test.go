package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rmemrun/trap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunStatus(t *testing.T) {
	term, kill := syscall.SIGTERM, syscall.SIGKILL
	refuse := func(err error) guestFunc {
		return func(*fakeEngine, trap.Command) (syscall.WaitStatus, error) { return 0, err }
	}
	for _, test := range []struct {
		name   string
		guests []guestFunc
		status int
		node   int
		fault  bool
	}{
		{"one node", []guestFunc{exit(0)}, 0, -1, false},
		{"one node fails", []guestFunc{exit(3)}, 3, 0, false},
		{"killed", []guestFunc{func(*fakeEngine, trap.Command) (syscall.WaitStatus, error) { return signaled(syscall.SIGSEGV), nil }}, 128 + 11, 0, false},
		{"three nodes", []guestFunc{exit(0), exit(0), exit(0)}, 0, -1, false},
		{"the others are ended", []guestFunc{untilSignal(term), exit(7), untilSignal(term)}, 7, 1, false},
		{"the others are killed", []guestFunc{exit(9), untilSignal(kill)}, 9, 0, false},
		{"success ends nobody", []guestFunc{exit(0), func(e *fakeEngine, _ trap.Command) (syscall.WaitStatus, error) {
			select {
			case sig := <-e.signals:
				return signaled(sig), nil
			case <-time.After(10 * time.Millisecond):
				return exited(0), nil
			}
		}}, 0, -1, false},
		{"not executable", []guestFunc{refuse(fmt.Errorf("execute: %w", syscall.ENOEXEC))}, 126, 0, true},
		{"no interpreter", []guestFunc{refuse(fmt.Errorf("execute: %w", syscall.ENOENT))}, 127, 0, true},
		{"tracing forbidden", []guestFunc{refuse(fmt.Errorf("seize: %w", syscall.EPERM)), untilSignal(term)}, 125, 0, true},
		{"our fault", []guestFunc{untilSignal(term), refuse(errors.New("broken"))}, 125, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			result, err := fakeJob(t, test.guests...).Run()
			if result.Status != test.status || result.Node != test.node || (err != nil) != test.fault {
				t.Errorf("the job ended with status %d of node %d, error %v; want status %d of node %d, an error: %v",
					result.Status, result.Node, err, test.status, test.node, test.fault)
			}
		})
	}
}

// A root that has failed ends the job, though other processes of its own node still run.
func TestRootFailsBeforeItsTree(t *testing.T) {
	tree := func(e *fakeEngine, _ trap.Command) (syscall.WaitStatus, error) {
		e.Exited(exited(5))
		for sig := range e.signals {
			if sig == syscall.SIGTERM {
				break
			}
		}
		return exited(5), nil
	}
	result, err := fakeJob(t, tree, untilSignal(syscall.SIGTERM)).Run()
	if result.Status != 5 || result.Node != 0 || err != nil {
		t.Errorf("the job ended with %+v, error %v; want status 5 of node 0", result, err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	script, plain := filepath.Join(dir, "script"), filepath.Join(dir, "plain")
	for path, mode := range map[string]os.FileMode{script: 0o755, plain: 0o644} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for _, test := range []struct {
		name, path string
		status     int
	}{
		{"script", script, 0},
		{script, script, 0},
		{"missing", "", 127},
		{filepath.Join(dir, "missing"), "", 127},
		{plain, "", 126},
		{filepath.Join(plain, "below"), "", 126},
		{dir, "", 126},
	} {
		path, status, err := find(test.name)
		if path != test.path || status != test.status || (err != nil) != (status != 0) {
			t.Errorf("%s was found as %q, status %d, error %v; want %q, %d", test.name, path, status, err, test.path, test.status)
		}
		if err != nil && !strings.Contains(err.Error(), test.name) {
			t.Errorf("the error does not name the program: %v", err)
		}
	}
}

func TestBadJobs(t *testing.T) {
	for _, test := range []struct {
		name string
		job  Job
		want string
	}{
		{"nothing to run", Job{}, "no program"},
		{"no nodes", Job{Programs: []Program{{Path: "a"}}}, "0 nodes"},
		{"too many nodes", Job{Programs: []Program{{Path: "a", Nodes: MaxNodes + 1}}}, "1025 nodes"},
		{"too many nodes together", Job{Programs: []Program{{Path: "a", Nodes: MaxNodes}, {Path: "b", Nodes: 1}}}, "1025 nodes"},
		{"no such engine", Job{Programs: []Program{{Path: "a", Nodes: 1}}, Engine: "steam"}, `"steam"`},
	} {
		result, err := test.job.Run()
		if result.Status != StatusFault || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: status %d, error %v; want status 125 and an error with %q", test.name, result.Status, err, test.want)
		}
	}
}

func TestGuestsSurroundings(t *testing.T) {
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	type seen struct {
		env   []string
		args  []string
		stdin *os.File
	}
	got := make([]seen, 3)
	var guests []guestFunc
	for i := range got {
		guests = append(guests, func(_ *fakeEngine, c trap.Command) (syscall.WaitStatus, error) {
			got[i] = seen{c.Env, c.Args, c.Stdin}
			return exited(0), nil
		})
	}
	job := fakeJob(t, guests...)
	path := job.Programs[0].Path
	job.Programs = []Program{{Path: path, Args: []string{"one"}, Nodes: 2}, {Path: path, Args: []string{"two", ""}, Nodes: 1}}
	job.Env = []string{"RMEM_NODE=9", "A=1", "RMEM_NODES=9", "RMEM_NODESX=2"}
	job.Stdin = in
	if _, err := job.Run(); err != nil {
		t.Fatal(err)
	}
	for i, s := range got {
		if want := []string{"A=1", "RMEM_NODESX=2", fmt.Sprint("RMEM_NODE=", i), "RMEM_NODES=3"}; !slices.Equal(s.env, want) {
			t.Errorf("node %d has the environment %q, want %q", i, s.env, want)
		}
		if (s.stdin == in) != (i == 0) || s.stdin == nil {
			t.Errorf("node %d has the wrong standard input", i)
		}
		want := []string{path, "one"}
		if i == 2 {
			want = []string{path, "two", ""}
		}
		if !slices.Equal(s.args, want) {
			t.Errorf("node %d has the arguments %q, want %q", i, s.args, want)
		}
	}
	if job.Env[0] != "RMEM_NODE=9" {
		t.Error("the job's own environment was changed")
	}
}

func TestLabelledJob(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write := func(e *fakeEngine, c trap.Command) (syscall.WaitStatus, error) {
		fmt.Fprintln(c.Stdout, "out")
		fmt.Fprint(c.Stderr, "err")
		return exited(0), nil
	}
	job := fakeJob(t, write, write)
	job.Stdout, job.Stderr, job.Label = w, w, true
	if _, err := job.Run(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	slices.Sort(lines)
	if want := []string{"[0] err", "[0] out", "[1] err", "[1] out"}; !slices.Equal(lines, want) {
		t.Errorf("the output is %q, want %q", lines, want)
	}
}

// Signals to rmemrun that have not come from a terminal reach every guest.
func TestSignalsAreForwarded(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			if ignoredSignals()&(1<<(sig-1)) != 0 {
				t.Skip("the signal is ignored here, as by nohup, and so would be by the guests")
			}
			ready := make(chan struct{}, 2)
			wait := func(e *fakeEngine, c trap.Command) (syscall.WaitStatus, error) {
				ready <- struct{}{}
				return untilSignal(sig)(e, c)
			}
			job := fakeJob(t, wait, wait)
			go func() {
				<-ready
				<-ready
				syscall.Kill(os.Getpid(), sig)
			}()
			result, err := job.Run()
			if result.Status != StatusSignal+int(sig) || err != nil {
				t.Errorf("the job ended with status %d, error %v", result.Status, err)
			}
		})
	}
}

// Start and Exit enclose each node's life in the stream.
func TestLifeEvents(t *testing.T) {
	var got []string
	job := fakeJob(t, exit(0), exit(0))
	job.Observer = func(e *Event) {
		if e.Kind == Start && e.Path != job.Programs[0].Path {
			t.Errorf("the start of %q was observed", e.Path)
		}
		got = append(got, fmt.Sprint(e.Node, " ", e.Kind, " ", e.Status))
	}
	if _, err := job.Run(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"0 exit 0", "0 start 0", "1 exit 0", "1 start 0"}; !slices.Equal(got, want) {
		t.Errorf("the events were %q, want %q", got, want)
	}
}
