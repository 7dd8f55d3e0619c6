package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// script makes a program of a shell script.
func script(t *testing.T, text string) (l *launcher, program string) {
	t.Helper()
	l = &launcher{dir: t.TempDir(), ms: 1}
	program = filepath.Join(l.dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return l, program
}

// firstCPU is one that this process may use.
func firstCPU(t *testing.T) int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			return cpu
		}
	}
	t.Fatal("no CPU may be used")
	return 0
}

func TestOutput(t *testing.T) {
	cpu := firstCPU(t)
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	l, program := script(t, `echo "$WORD $1"; grep Cpus_allowed_list /proc/self/status`)
	out, err := l.output(context.Background(), []int{cpu}, []string{"WORD=hello"}, program, "you")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(out))
	if len(words) != 4 || words[0] != "hello" || words[1] != "you" || words[3] != "0" && cpu == 0 {
		t.Errorf("it printed %q, want what it was told, and CPU %d alone", out, cpu)
	}
	if want := "WORD=hello program you"; len(l.command) != 1 || l.command[0] != want {
		t.Errorf("command %q, want %q", l.command, want)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || before != after {
		t.Errorf("this thread is confined, too: %v, %v", after, err)
	}
}

// Where the agent is to be asleep it may not poll, and has no CPU but that of the guests.
func TestAsleep(t *testing.T) {
	cpu := firstCPU(t)
	l, program := script(t, `echo "$@"; grep Cpus_allowed_list /proc/self/status`)
	l.cpus = [2]int{cpu, cpu + 1}
	b := &Bench{Self: program, Engine: "patch"}
	var limit *Figure
	for _, f := range judged() {
		if f.Ours.Subject == OursAsleep && f.Limit > 0 {
			limit = &f
		}
	}
	if limit == nil || limit.Limit != 4000 || limit.Ours.Item != "put-apart" || limit.Engine != "patch" {
		t.Fatalf("the limit of 4 µs is not that of an agent that sleeps: %+v", limit)
	}
	for _, s := range b.ownSubjects() {
		if s.Name != OursAsleep {
			continue
		}
		out, err := s.run(context.Background(), l, []string{key(limit.Ours.Item, limit.Ours.Bytes)})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("run -n 2 --engine patch --cpus 1 --poll no %s/guest 1 -1 -1 put-apart:40\nCpus_allowed_list:\t%d\n", l.dir, cpu)
		if string(out) != want || !s.oneCPU {
			t.Errorf("it runs %q, want %q; on one CPU: %v", out, want, s.oneCPU)
		}
		return
	}
	t.Error("there is no such subject")
}

func TestOutputFails(t *testing.T) {
	l, program := script(t, "echo ------ >&2; echo 'it is out of order' >&2; exit 3")
	_, err := l.output(context.Background(), []int{firstCPU(t)}, nil, program)
	if err == nil || err.Error() != "program: exit status 3: it is out of order" {
		t.Errorf("error %v", err)
	}
	if _, err := l.output(context.Background(), []int{firstCPU(t)}, nil, filepath.Join(l.dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that there is none", err)
	}
}

// A program ends with the context, with what it has started.
func TestOutputEnds(t *testing.T) {
	l, program := script(t, "sleep 1000 & echo $! >&2; wait")
	ctx, cancel := context.WithCancel(context.Background())
	p, err := l.start(ctx, []int{firstCPU(t)}, nil, program)
	if err != nil {
		t.Fatal(err)
	}
	sleeper := <-p.stderr.first
	cancel()
	if _, err := p.wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	for { // until the kernel has ended it; whose child it is now need not have noticed
		stat, err := os.ReadFile("/proc/" + sleeper + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
}

func TestListensAt(t *testing.T) {
	for text, want := range map[string]string{
		"echo 'rmemrun: waiting at udp://127.0.0.1:16635 for the other rmemrun' >&2; sleep 1000": "127.0.0.1:16635",
		"echo 'rmemrun: no such engine' >&2; sleep 1000":                                         "error",
		"exit 1": "error",
	} {
		l, program := script(t, text)
		p, err := l.start(context.Background(), []int{firstCPU(t)}, nil, program)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := listensAt(p)
		if err != nil {
			addr = "error"
		}
		if addr != want {
			t.Errorf("%q: %s (%v), want %s", text, addr, err, want)
		}
		p.stop()
	}
}
