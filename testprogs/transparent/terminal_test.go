//go:build linux && amd64

package transparent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is a pseudo-terminal with an interactive shell in it.
type terminal struct {
	t      *testing.T
	master *os.File
	shell  *exec.Cmd
	ended  chan struct{}

	mu   sync.Mutex
	text strings.Builder // all that was written
	more chan struct{}   // something was written
	seen int             // how much of it expect has passed
}

// openTerminal starts bash in a terminal, with rmemrun's path, or env's, in $R.
func openTerminal(t *testing.T, runner string) *terminal {
	t.Helper()
	needs(t, "bash")
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	errControl := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || errControl != nil {
		t.Fatal(err, errControl)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	dir := t.TempDir()
	s := &terminal{t: t, master: master, ended: make(chan struct{}), more: make(chan struct{}, 1)}
	s.shell = command(t, dir, program{argv: []string{"/bin/bash", "--norc", "--noprofile", "--noediting", "-i"}, env: []string{"R=" + runner, "PS1=", "HISTFILE="}}, nil)
	s.shell.Stdin, s.shell.Stdout, s.shell.Stderr = slave, slave, slave
	s.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.shell.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil {
				close(s.ended)
				return
			}
		}
	}()
	s.send("stty -echo noflsh\nset -m; echo shell is ready\n") // noflsh: a signal does not discard what was written
	s.expect("\nshell is ready")
	return s
}

// send types text.
func (s *terminal) send(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits for text that was not yet expected.
func (s *terminal) expect(text string) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		all := s.all()
		if at := strings.Index(all[s.seen:], text); at >= 0 {
			s.seen += at + len(text)
			return
		}
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q. It shows:\n%s\nprocesses: %s", text, all, strings.Join(processes(mark(s.t)), ", "))
		}
	}
}

// state waits until the process that has a file open for its number is in a state of proc_pid_stat(5).
func (s *terminal) state(file, states string) {
	s.t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		pid, err := os.ReadFile(filepath.Join(s.shell.Dir, file))
		if err != nil || !strings.HasSuffix(string(pid), "\n") {
			continue
		}
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil {
			got = "gone"
			if states == got {
				return
			}
			continue
		}
		got = string(stat[strings.LastIndexByte(string(stat), ')')+2])
		if strings.Contains(states, got) {
			return
		}
	}
	s.t.Fatalf("the process of %s is in state %s, want one of %s", file, got, states)
}

// all returns what the terminal has shown.
func (s *terminal) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(s.text.String(), "\r", "")
}

// inForeground waits until the process that has written its number to a file is the terminal's.
func (s *terminal) inForeground(file string) {
	s.t.Helper()
	raw, err := s.master.SyscallConn()
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(s.shell.Dir, file))
	if err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		group := 0
		_ = raw.Control(func(fd uintptr) { group, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
		if err == nil && fmt.Sprintln(group) == string(pid) {
			return
		}
	}
	s.t.Fatalf("process %s does not come to the foreground: %v", pid, err)
}

// close ends the shell and checks that nobody is left.
func (s *terminal) close() {
	s.t.Helper()
	s.send("\nexit 0\n")
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.t.Errorf("the shell does not end. The terminal shows:\n%s", s.all())
		_ = s.shell.Process.Kill()
	}
	_ = s.shell.Wait()
	nothingLeft(s.t)
}

const (
	ctrlC         = "\x03"
	ctrlD         = "\x04"
	ctrlZ         = "\x1a"
	ctrlBackslash = "\x1c"
)

// stopped are the states of a process that is stopped: by a signal, or traced.
const stopped = "Tt"

// Each session is typed into a terminal twice: with $R being env, and rmemrun.
func TestTerminal(t *testing.T) {
	stopper := compile(t, "stopper")
	sessions := map[string]func(s *terminal){
		"interrupt": func(s *terminal) {
			s.send("$R sleep 1000; echo not reached\n")
			s.running("sleep")
			s.send(ctrlC)
			s.send("echo status $?\n")
			s.expect("status 130\n")
			if strings.Contains(s.all(), "\nnot reached") {
				s.t.Errorf("the list of commands went on after ^C:\n%s", s.all())
			}
		},
		"quit": func(s *terminal) {
			s.send("ulimit -c 0; $R sleep 1000; echo status $?\n")
			s.running("sleep")
			s.send(ctrlBackslash)
			s.expect("status 131\n")
		},
		"interrupt is handled": func(s *terminal) {
			s.send(`$R sh -c 'n=0; trap "n=\$((n+1)); echo interrupted \$n" INT; echo $$ >pid; until [ -e stop ]; do sleep 0.02; done; exit 4'; echo status $?` + "\n")
			s.state("pid", "SR")
			for i := 1; i <= 3; i++ {
				s.send(ctrlC)
				s.expect(fmt.Sprintf("interrupted %d\n", i))
			}
			s.touch("stop")
			s.expect("status 4\n")
		},
		"stop and foreground": func(s *terminal) {
			s.send("$R sh -c 'echo $$ >pid; exec cat'\n")
			s.state("pid", "S")
			s.send("one\n")
			s.expect("one\n")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.state("pid", stopped)
			s.send("jobs | grep -c Stopped; echo shell\n")
			s.expect("1\nshell\n")
			s.state("pid", stopped)
			s.send("fg\ntwo\n")
			s.expect("two\n")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.send("fg\nthree\n")
			s.expect("three\n")
			s.send(ctrlD + "echo status $?\n")
			s.expect("status 0\n")
		},
		"stop and background": func(s *terminal) {
			s.send(`$R sh -c 'echo $$ >pid; until [ -e stop ]; do sleep 0.02; done; echo over; exit 3'` + "\n")
			s.state("pid", "SR")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.state("pid", stopped)
			s.touch("stop")
			s.state("pid", stopped)
			s.send("bg; wait %1; echo status $?\n")
			s.expect("over\n")
			s.expect("status 3\n")
		},
		"background reads": func(s *terminal) {
			s.send("$R cat &\n")
			s.eventually("jobs -s | wc -l", "1")
			s.send("fg\nword\n")
			s.expect("word\n")
			s.send(ctrlD + "echo status $?\n")
			s.expect("status 0\n")
		},
		"kill a stopped job": func(s *terminal) {
			s.send("$R sh -c 'echo $$ >pid; exec sleep 1000'\n")
			s.state("pid", "S")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.send("kill %1; fg; wait; echo ended\n")
			s.expect("ended\n")
			s.state("pid", "gone")
		},
		"stop is handled": func(s *terminal) {
			s.send("$R " + stopper + "\n")
			for range 2 {
				s.state("pid", "S")
				s.send(ctrlZ)
				s.expect("cleanup")
				s.expect("Stopped")
				s.state("pid", stopped)
				s.send("fg\n")
				s.expect("resumed")
			}
			s.send("end\n")
			s.state("pid", "gone")
			s.send("echo status $?\n")
			s.expect("status 8\n")
		},
		"stopped by kill": func(s *terminal) {
			s.send("$R sh -c 'echo $$ >pid; until [ -e stop ]; do sleep 0.02; done; exit 6' & job=$!\n")
			s.state("pid", "SR")
			s.send("kill -TSTP $job\n")
			s.eventually("jobs -s | wc -l", "1")
			s.state("pid", stopped)
			s.send("kill -CONT $job\n")
			s.eventually("jobs -r | wc -l", "1")
			s.touch("stop")
			s.send("wait $job; echo status $?\n")
			s.expect("status 6\n")
		},
		"stop is ignored": func(s *terminal) {
			s.send("$R " + stopper + " ignore; echo status $?\n")
			s.state("pid", "S")
			s.send(ctrlZ + "end\n")
			s.expect("status 8\n")
		},
		"pipeline of jobs": func(s *terminal) {
			s.send("$R sh -c 'echo $$ >pid; exec cat' | $R cat; echo status ${PIPESTATUS[@]}\n")
			s.state("pid", "S")
			s.send("one\n")
			s.expect("one\n")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.send("fg\ntwo\n")
			s.expect("two\n")
			s.send(ctrlC)
			s.state("pid", "gone")
			s.send("echo back in the shell\n")
			s.expect("back in the shell\n")
		},
		"shell with jobs of its own": func(s *terminal) {
			s.send("$R bash --norc --noprofile --noediting -i; echo outer status $?\n")
			s.send("echo $$ >pid; set -m; echo inner is ready\n")
			s.expect("\ninner is ready")
			s.send("sh -c 'echo $$ >job; exec sleep 1000'\n")
			s.state("job", "S")
			s.send(ctrlZ)
			s.expect("Stopped")
			s.state("job", stopped)
			s.send("bg >/dev/null\n")
			s.state("job", "S")
			s.send("fg\n")
			s.inForeground("job")
			s.send(ctrlC)
			s.state("job", "gone")
			s.send("exit 5\n")
			s.expect("outer status 5\n")
		},
		"size": func(s *terminal) {
			s.send(`$R bash -c 'trap "stty size" WINCH; echo $$ >pid; until [ -e stop ]; do sleep 0.02; done'; echo status $?` + "\n")
			s.state("pid", "SR")
			raw, err := s.master.SyscallConn()
			if err != nil {
				s.t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99})
			})
			if err != nil {
				s.t.Fatal(err)
			}
			s.expect("33 99\n")
			s.touch("stop")
			s.expect("status 0\n")
		},
	}
	for name, session := range sessions {
		for _, runner := range []string{"env", "rmemrun"} {
			t.Run(name+"/"+runner, func(t *testing.T) {
				t.Parallel()
				path := "/usr/bin/env"
				if runner == "rmemrun" {
					path = rmemrun()
				}
				s := openTerminal(t, path)
				session(s)
				s.close()
			})
		}
	}
}

// The terminal goes away: everybody ends.
func TestHangUp(t *testing.T) {
	s := openTerminal(t, rmemrun())
	s.send("$R sh -c 'echo $$ >pid; exec sleep 1000'\n")
	s.state("pid", "S")
	s.master.Close()
	s.state("pid", "gone")
	_ = s.shell.Wait()
	nothingLeft(t)
}

// touch makes a file in the shell's directory.
func (s *terminal) touch(name string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.shell.Dir, name), nil, 0o666); err != nil {
		s.t.Fatal(err)
	}
}

// running waits until the shell's session runs a program of that name.
func (s *terminal) running(name string) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, p := range processes(mark(s.t)) {
			if f := strings.Fields(p); len(f) > 2 && f[2] == name {
				return
			}
		}
	}
	s.t.Fatalf("%s was not started", name)
}

// eventually repeats a command until it prints what is wanted.
func (s *terminal) eventually(line, want string) {
	s.t.Helper()
	s.send("until [ \"$(" + line + ")\" = " + want + " ]; do sleep 0.02; done; echo it is so\n")
	s.expect("it is so\n")
}
