//go:build linux && amd64

package transparent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A background is a program that runs while the test does something to it.
type background struct {
	t              *testing.T
	dir            string
	pid            int // of rmemrun, or of the program
	stdout, stderr bytes.Buffer
	done           chan int // its exit status
}

// begin starts a shell script, by itself or under rmemrun, and waits until it has made the file "ready".
func begin(t *testing.T, script string, wrapper ...string) *background {
	t.Helper()
	b := &background{t: t, dir: filepath.Join(t.TempDir(), "d"), done: make(chan int, 1)}
	if err := os.Mkdir(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, b.dir, program{argv: []string{"/bin/sh", "-c", script}}, wrapper)
	cmd.Stdout, cmd.Stderr = &b.stdout, &b.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		b.done <- shellStatus(cmd.ProcessState)
	}()
	b.await("ready")
	return b
}

// await waits for a file.
func (b *background) await(name string) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the program has not made %s", name)
		}
	}
}

// signal sends a signal.
func (b *background) signal(sig syscall.Signal) {
	b.t.Helper()
	if err := syscall.Kill(b.pid, sig); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the end, and returns exit status, output and errors.
func (b *background) end() (status int, stdout, stderr string) {
	b.t.Helper()
	select {
	case status = <-b.done:
	case <-time.After(30 * time.Second):
		b.signal(syscall.SIGKILL)
		<-b.done
		b.t.Errorf("the program did not end")
	}
	nothingLeft(b.t)
	return status, b.stdout.String(), withoutHint(b.stderr.String())
}

// A signal that is sent to rmemrun reaches the program, which does what it does.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		name := strings.TrimPrefix(unix.SignalName(sig), "SIG")
		for how, script := range map[string]string{
			"handled": "trap 'echo got it; exit 7' " + name + "; >ready; while :; do sleep 0.02; done",
			"fatal":   "ulimit -c 0; >ready; while :; do :; done",
			"ignored": "trap '' " + name + "; >ready; until [ -e stop ]; do sleep 0.02; done; echo stopped",
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				var status [2]int
				var stdout, stderr [2]string
				for i, wrapper := range [][]string{nil, {rmemrun()}} {
					b := begin(t, script, wrapper...)
					b.signal(sig)
					if how == "ignored" {
						if err := os.WriteFile(filepath.Join(b.dir, "stop"), nil, 0o666); err != nil {
							t.Fatal(err)
						}
					}
					status[i], stdout[i], stderr[i] = b.end()
				}
				if status[0] != status[1] {
					t.Errorf("exit status %d under rmemrun, %d without", status[1], status[0])
				}
				differ(t, "output", stdout[1], stdout[0])
				differ(t, "errors", stderr[1], stderr[0])
			})
		}
	}
}

// A signal that is sent to both nodes' programs by way of rmemrun.
func TestSignalToTwoNodes(t *testing.T) {
	b := begin(t, `trap 'echo got it; exit 7' TERM; >ready$RMEM_NODE; [ -e ready0 ] && [ -e ready1 ] && >ready; while :; do sleep 0.02; done`, rmemrun(), "-n", "2")
	b.await("ready0")
	b.await("ready1")
	b.signal(unix.SIGTERM)
	if status, stdout, stderr := b.end(); status != 7 || stdout != "got it\ngot it\n" || !strings.HasPrefix(stderr, "rmemrun: node ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, output %q, errors %q", status, stdout, stderr)
	}
}

// kill -9 of rmemrun takes the program and all its descendants along.
func TestKill(t *testing.T) {
	b := begin(t, `(sleep 1000 & sleep 1000) & setsid sleep 1000 & sh -c 'kill -STOP $$' & >ready; wait`, rmemrun(), "-n", "2")
	b.signal(unix.SIGKILL)
	if status, stdout, stderr := b.end(); status != 137 || stdout != "" || stderr != "" {
		t.Errorf("status %d, output %q, errors %q", status, stdout, stderr)
	}
}

// rmemrun stops with SIGSTOP and goes on with SIGCONT, and its program with it as soon as it needs it; here, to end.
func TestStopRmemrun(t *testing.T) {
	b := begin(t, `>ready; until [ -e stop ]; do sleep 0.02; done; exit 3`, rmemrun())
	b.signal(unix.SIGSTOP)
	if err := os.WriteFile(filepath.Join(b.dir, "stop"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	b.signal(unix.SIGCONT)
	if status, _, _ := b.end(); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
}

// A signal that comes as soon as the program is there.
func TestSignalAtTheStart(t *testing.T) {
	for range 20 {
		cmd := command(t, t.TempDir(), program{argv: []string{"sleep", "1000"}}, []string{rmemrun()})
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := 0
		for deadline := time.Now().Add(30 * time.Second); pid == 0 && time.Now().Before(deadline); {
			pid = childOf(cmd.Process.Pid, "sleep")
		}
		if err := syscall.Kill(pid, unix.SIGINT); pid == 0 || err != nil {
			t.Fatalf("the program was not started: process %d, %v", pid, err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("the signal was lost")
		}
		if status := shellStatus(cmd.ProcessState); status != 128+int(unix.SIGINT) || withoutHint(stderr.String()) != "" {
			t.Errorf("status %d, errors %q; want 130", status, stderr.String())
		}
	}
	nothingLeft(t)
}

// childOf returns the process id of the child of a process that runs a program of that name, or 0.
func childOf(pid int, name string) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, word := range strings.Fields(string(b)) {
			if line, _ := os.ReadFile("/proc/" + word + "/comm"); string(line) == name+"\n" {
				child, _ := strconv.Atoi(word)
				return child
			}
		}
	}
	return 0
}
