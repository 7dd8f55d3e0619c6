package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"rmemrun/rmem"
	"rmemrun/runtime"
	"rmemrun/testprogs/floors"
)

// guestEnv is the environment of the measuring guest. Its scheduler sends itself no
// signals: each would be a stop, which says nothing about remote memory.
func guestEnv() []string { return append(os.Environ(), "GODEBUG=asyncpreemptoff=1") }

// engineRound runs the measuring guest on two nodes.
func (b *operationBench) engineRound(self string, args guestArgs, observer func(*runtime.Event)) ([]guestSamples, error) {
	out, err := newSampleFile()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	job := runtime.Job{
		Programs: []runtime.Program{{Path: self, Args: args.list(), Nodes: 2}},
		Env:      guestEnv(),
		Stdout:   out,
		Stderr:   b.stderr,
		Engine:   b.flags.engine,
		Log:      b.log,
		Observer: observer,
	}
	result, err := job.Run()
	if err != nil {
		return nil, err
	}
	if result.Status != 0 {
		return nil, fmt.Errorf("the measuring guest of node %d ended with status %d", result.Node, result.Status)
	}
	return takeSamples(out, len(args.sizes))
}

// cells counts the cells that one operation sends, both ways: what a guest that runs
// some of them sends more than one that runs none.
func (b *operationBench) cells(self string, o benchOperation, size int) (float64, error) {
	const operations = 10
	var sent [2]int
	for i, n := range []int{0, operations} {
		_, err := b.engineRound(self, guestArgs{operation: o.name, sizes: []int{size}, count: n}, func(e *runtime.Event) {
			if e.Kind == runtime.Network && e.Net.Kind == rmem.Sent {
				sent[i]++
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(sent[1]-sent[0]) / operations, nil
}

// newSampleFile makes the file in memory that a guest writes its samples to.
func newSampleFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("rmemrun-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory for the samples: %w", err)
	}
	return os.NewFile(uintptr(fd), "samples"), nil
}

func takeSamples(f *os.File, sizes int) ([]guestSamples, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the samples: %w", err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the samples: %w", err)
	}
	return readSamples(raw, sizes)
}

// A benchFloor is the tracer in C, compiled.
type benchFloor struct {
	tracer   *os.File // the program, which has no name any more
	compiler string   // and its version
	missing  string   // why there is none
}

// buildFloor compiles the tracer with $CC or cc. That there is no compiler is
// no error: then there is no floor.
func buildFloor() (*benchFloor, error) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if goruntime.GOARCH != "amd64" {
		return &benchFloor{missing: "the tracer in C is for x86-64"}, nil
	}
	path, err := exec.LookPath(cc)
	if err != nil {
		return &benchFloor{missing: fmt.Sprintf("no C compiler %q in PATH; install one (Debian: apt install gcc libc6-dev) or set CC", cc)}, nil
	}
	// The directory is gone before anything is measured: nothing is left
	// behind, however the bench ends.
	dir, err := os.MkdirTemp("", "rmemrun-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the floor: %w", err)
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "tracer.c"), filepath.Join(dir, "tracer")
	if err := os.WriteFile(source, []byte(floors.Tracer), 0o600); err != nil {
		return nil, fmt.Errorf("write the floor's source: %w", err)
	}
	if out, err := exec.Command(path, "-O2", "-o", program, source).CombinedOutput(); err != nil {
		why, _, _ := bytes.Cut(out, []byte("\n")) // the rest follows from it
		return &benchFloor{missing: fmt.Sprintf("%s cannot compile it (%v) %s", cc, err, why)}, nil
	}
	tracer, err := os.Open(program)
	if err != nil {
		return nil, fmt.Errorf("open the floor's program: %w", err)
	}
	return &benchFloor{tracer: tracer, compiler: firstLine(path, "--version")}, nil
}

func (f *benchFloor) close() {
	if f.tracer != nil {
		f.tracer.Close()
	}
}

// round runs the measuring guest under the tracer.
func (f *benchFloor) round(self string, args guestArgs, stderr *os.File) ([]guestSamples, error) {
	out, err := newSampleFile()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", f.tracer.Fd()), append([]string{self}, args.list()...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = guestEnv(), out, stderr
	// The tracer ends with us, and its guests with it. The kernel means our
	// thread by "us".
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("the floor's tracer or its guest ended with %v", exit.ProcessState)
		}
		return nil, fmt.Errorf("run the floor: %w", err)
	}
	return takeSamples(out, len(args.sizes))
}
