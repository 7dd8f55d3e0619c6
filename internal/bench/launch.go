package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runLimit is how long a program may take: a peer that hangs is no reason to hang, too.
const runLimit = 60 * time.Second

// A launcher starts the programs of one run.
type launcher struct {
	dir  string // of the compiled programs
	cpus [2]int
	ms   int
	// command collects what was run.
	command []string
}

// program is the path of a compiled program.
func (l *launcher) program(name string) string { return filepath.Join(l.dir, name) }

// args are the first arguments of each program: milliseconds, CPUs; confined says whether the program is to pin itself.
func (l *launcher) args(confined bool, more ...string) []string {
	a, b := l.cpus[0], l.cpus[1]
	if !confined {
		a, b = -1, -1
	}
	return append([]string{strconv.Itoa(l.ms), strconv.Itoa(a), strconv.Itoa(b)}, more...)
}

// output runs a program, confined to the CPUs, and returns what it printed on standard output. It dies, with all that it started, when ctx ends or
// the time is up.
func (l *launcher) output(ctx context.Context, cpus []int, env []string, program string, args ...string) ([]byte, error) {
	p, err := l.start(ctx, cpus, env, program, args...)
	if err != nil {
		return nil, err
	}
	return p.wait()
}

// A process is a program that was started.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr *tail
	cancel context.CancelFunc
	ctx    context.Context
}

func (l *launcher) start(ctx context.Context, cpus []int, env []string, program string, args ...string) (*process, error) {
	l.command = append(l.command, strings.Join(append(append(env[:len(env):len(env)], filepath.Base(program)), args...), " "))
	p := &process{name: filepath.Base(program), stderr: &tail{}}
	p.ctx, p.cancel = context.WithTimeout(ctx, runLimit)
	p.cmd = exec.CommandContext(p.ctx, program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, p.stderr
	// A group of its own, so that all of it can be ended.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }
	p.cmd.WaitDelay = 2 * time.Second
	if err := startOn(cpus, p.cmd); err != nil {
		p.cancel()
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// startOn starts a command on CPUs: a process inherits those of the thread that forks it.
func startOn(cpus []int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return fmt.Errorf("ask which CPUs may be used: %w", err)
	}
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("confine to CPUs %v: %w", cpus, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &was) }() // they could be used before
	return cmd.Start()
}

// wait waits for the program to end.
func (p *process) wait() ([]byte, error) {
	defer p.cancel()
	err := p.cmd.Wait()
	// What the program left behind in its group ends too.
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return p.stdout.Bytes(), nil
	case errors.Is(p.ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s did not end within %v%s", p.name, runLimit, p.stderr.said())
	case p.ctx.Err() != nil:
		return nil, p.ctx.Err()
	}
	return nil, fmt.Errorf("%s: %w%s", p.name, err, p.stderr.said())
}

// stop ends a program that does not end by itself.
func (p *process) stop() {
	p.cancel()
	_ = p.cmd.Wait() // it was killed
}

// A tail keeps the beginning of what a program says on standard error.
type tail struct {
	text  []byte
	lines chan string // each line as it comes, if anybody wants them
}

func (t *tail) Write(p []byte) (int, error) {
	if room := 4096 - len(t.text); room > 0 {
		t.text = append(t.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// said is the first line of it, to be put behind an error.
func (t *tail) said() string {
	for line := range bytes.Lines(t.text) {
		if s := strings.TrimSpace(string(line)); s != "" && strings.Trim(s, "-=*") != "" {
			return ": " + s
		}
	}
	return ""
}

// plain runs a program that pins itself.
func plain(name string) func(context.Context, *launcher, []string) ([]byte, error) {
	return func(ctx context.Context, l *launcher, items []string) ([]byte, error) {
		return l.output(ctx, l.cpus[:], nil, l.program(name), l.args(true, items...)...)
	}
}

// guest runs the measuring guest on nodes.
func (b *Bench) guest(engine string, nodes int, confined bool) func(context.Context, *launcher, []string) ([]byte, error) {
	return func(ctx context.Context, l *launcher, items []string) ([]byte, error) {
		cpus := l.cpus[:]
		if nodes == 2 && !confined {
			cpus = cpus[:1]
		}
		args := []string{"run", "-n", strconv.Itoa(nodes), "--engine", engine, l.program("guest")}
		return l.output(ctx, cpus, b.selfEnv(), b.Self, append(args, l.args(confined, items...)...)...)
	}
}

// guestOverUDP runs the measuring guest on two nodes of two rmemruns.
func (b *Bench) guestOverUDP(ctx context.Context, l *launcher, items []string) ([]byte, error) {
	const waiting = "waiting at udp://"
	args := func(flag, addr string) []string {
		return append([]string{"run", "--engine", b.Engine, flag, addr, l.program("guest")}, l.args(true, items...)...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	// The listener says where it listens on standard error; a pipe of ours brings that at once.
	first := exec.CommandContext(ctx, b.Self, args("--listen", "127.0.0.1:0")...)
	first.Env = append(os.Environ(), b.selfEnv()...)
	first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	first.Cancel = func() error { return unix.Kill(-first.Process.Pid, unix.SIGKILL) }
	var out bytes.Buffer
	first.Stdout, first.Stderr = &out, writer
	l.command = append(l.command, "rmemrun "+strings.Join(first.Args[1:], " "))
	err = startOn(l.cpus[:], first)
	writer.Close()
	if err != nil {
		return nil, fmt.Errorf("start the listening rmemrun: %w", err)
	}
	said := bufio.NewReader(reader)
	line, err := said.ReadString('\n')
	_, addr, found := strings.Cut(strings.TrimSpace(line), waiting)
	addr, _, _ = strings.Cut(addr, " ")
	if err != nil || !found {
		cancel()
		_ = first.Wait() // it was killed
		return nil, fmt.Errorf("the listening rmemrun does not say where it waits: %q", line)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	second, err := l.start(ctx, l.cpus[:], b.selfEnv(), b.Self, args("--peer", addr)...)
	if err == nil {
		_, err = second.wait()
	}
	if err != nil {
		cancel()
	}
	if errFirst := first.Wait(); err == nil && errFirst != nil {
		err = fmt.Errorf("the listening rmemrun: %w", errFirst)
	}
	return out.Bytes(), err
}

// tracer runs the measuring guest under the minimal tracer, all on one CPU.
func (b *Bench) tracer(ctx context.Context, l *launcher, items []string) ([]byte, error) {
	return l.output(ctx, l.cpus[:1], nil, l.program("tracer"), append([]string{l.program("guest")}, l.args(false, items...)...)...)
}

// cells measures the cell path within rmemrun.
func (b *Bench) cells(ctx context.Context, l *launcher, _ []string) ([]byte, error) {
	return l.output(ctx, l.cpus[:1], b.selfEnv(), b.Self, "bench", "cells", strconv.Itoa(l.ms))
}

// starts is how often a start is measured in a run.
const starts = 5

// start measures the time from fork to a program's main, when it is run by a command.
func (b *Bench) start(command ...string) func(context.Context, *launcher, []string) ([]byte, error) {
	return func(ctx context.Context, l *launcher, _ []string) ([]byte, error) {
		argv := append(command[:len(command):len(command)], l.program("start"))
		var out bytes.Buffer
		for range starts {
			before := monotonic()
			printed, err := l.output(ctx, l.cpus[:1], b.selfEnv(), argv[0], argv[1:]...)
			if err != nil {
				return nil, err
			}
			var began int64
			if _, err := fmt.Sscanf(string(printed), "began %d", &began); err != nil {
				return nil, fmt.Errorf("%s: it does not say when it began: %q", argv[0], printed)
			}
			fmt.Fprintf(&out, "batch start 0 1 %d\n", began-before)
		}
		return out.Bytes(), nil
	}
}

// monotonic is CLOCK_MONOTONIC in nanoseconds.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // this clock is always there
	return t.Nano()
}
