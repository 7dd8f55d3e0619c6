package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	dir     string // of the compiled programs
	cpus    [2]int
	ms      int
	command []string // what was run
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

// output runs a program, confined to the CPUs, and returns what it printed on standard output. It dies, with all that it started,
// when ctx ends or the time is up.
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
	stderr *complaint
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error         // how; set before done is closed
}

func (l *launcher) start(ctx context.Context, cpus []int, env []string, program string, args ...string) (*process, error) {
	name := filepath.Base(program)
	if name == "exe" { // of /proc: this program itself
		name = "rmemrun"
	}
	l.command = append(l.command, strings.Join(append(append(env[:len(env):len(env)], name), args...), " "))
	p := &process{name: name, stderr: &complaint{first: make(chan string, 1)}}
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
	p.done = make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
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
	<-p.done
	err := p.err
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
	<-p.done
}

// A complaint keeps the beginning of what a program says on standard error.
type complaint struct {
	text  []byte
	first chan string // gets the first line, when it is there
	sent  bool
}

func (c *complaint) Write(p []byte) (int, error) {
	if room := 4096 - len(c.text); room > 0 {
		c.text = append(c.text, p[:min(room, len(p))]...)
	}
	if line, _, found := bytes.Cut(c.text, []byte("\n")); found && !c.sent {
		c.sent = true
		c.first <- string(line)
	}
	return len(p), nil
}

// said is the first line of it, to be put behind an error.
func (c *complaint) said() string {
	for line := range bytes.Lines(c.text) {
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
func (b *Bench) guest(engine string, nodes int, confined bool, flags ...string) func(context.Context, *launcher, []string) ([]byte, error) {
	return func(ctx context.Context, l *launcher, items []string) ([]byte, error) {
		cpus := l.cpus[:]
		if nodes == 2 && !confined {
			cpus = cpus[:1]
		}
		args := []string{"run", "-n", strconv.Itoa(nodes), "--engine", engine}
		args = append(append(args, flags...), l.program("guest"))
		return l.output(ctx, cpus, nil, b.Self, append(args, l.args(confined, items...)...)...)
	}
}

// guestOverUDP runs the measuring guest on two nodes of two rmemruns. Node 0, which measures, is that of the one that listens.
func (b *Bench) guestOverUDP(ctx context.Context, l *launcher, items []string) ([]byte, error) {
	args := func(flag, addr string) []string {
		return append([]string{"run", "--engine", b.Engine, "--poll", "yes", flag, addr, l.program("guest")}, l.args(true, items...)...)
	}
	first, err := l.start(ctx, l.cpus[:], nil, b.Self, args("--listen", "127.0.0.1:0")...)
	if err != nil {
		return nil, err
	}
	addr, err := listensAt(first)
	if err != nil {
		first.stop()
		return nil, err
	}
	if _, err := l.output(ctx, l.cpus[:], nil, b.Self, args("--peer", addr)...); err != nil {
		first.stop()
		return nil, err
	}
	return first.wait()
}

// listensAt is the address at which an rmemrun says it waits for another.
func listensAt(p *process) (string, error) {
	select {
	case line := <-p.stderr.first:
		_, after, found := strings.Cut(line, "waiting at udp://")
		if addr, _, _ := strings.Cut(after, " "); found && addr != "" {
			return addr, nil
		}
		return "", fmt.Errorf("the rmemrun that is to listen says %q", line)
	case <-p.done:
		return "", fmt.Errorf("the rmemrun that is to listen has ended: %w%s", p.err, p.stderr.said())
	}
}

// tracer runs the measuring guest under the minimal tracer, all on one CPU.
func (b *Bench) tracer(ctx context.Context, l *launcher, items []string) ([]byte, error) {
	return l.output(ctx, l.cpus[:1], nil, l.program("tracer"), append([]string{l.program("guest")}, l.args(false, items...)...)...)
}

// cells measures the cell path within rmemrun.
func (b *Bench) cells(ctx context.Context, l *launcher, _ []string) ([]byte, error) {
	return l.output(ctx, l.cpus[:1], nil, b.Self, "bench", "cells", strconv.Itoa(l.ms))
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
			printed, err := l.output(ctx, l.cpus[:1], nil, argv[0], argv[1:]...)
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
