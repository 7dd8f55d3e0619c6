//go:build linux && amd64

package trap

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// options are set for every tracee; children inherit them.
const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEVFORKDONE |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXIT | unix.PTRACE_O_TRACESECCOMP

// start executes the command and leaves its root process stopped before the first
// instruction, seized, filtered and with a foothold, and then sets it going.
//
// The child asks to be traced (PTRACE_TRACEME) so that it stops behind its execve.
// That kind of tracing knows no group stops, so it is given up for the other kind
// (PTRACE_SEIZE) while a SIGSTOP keeps the process where it is.
func (e *engine) start(c Command) error {
	files := make([]uintptr, 0, 3)
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f == nil {
			return fmt.Errorf("run %s: standard input, output and error must be given", c.Path)
		}
		files = append(files, f.Fd())
	}
	pid, err := syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: files,
		Sys: &syscall.SysProcAttr{
			Ptrace: true,
			// For the moment between the two kinds of tracing, in which
			// nothing else would end the guest if we died.
			Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		if hint := tracingForbidden(); hint != "" && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)) {
			return fmt.Errorf("run %s under ptrace: %w: %s", c.Path, err, hint)
		}
		return fmt.Errorf("execute %s: %w", c.Path, err)
	}
	e.root = pid
	if err := e.seize(pid); err != nil {
		var early endedEarly
		if errors.As(err, &early) && unix.WaitStatus(early).Signaled() {
			e.rootStatus = unix.WaitStatus(early) // a signal before its first instruction, such as ^C
			if e.Exited != nil {
				e.Exited(waitStatus(e.rootStatus))
			}
			return nil
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		var ws unix.WaitStatus
		for {
			tid, errno := wait4(pid, &ws, unix.WALL)
			if errno != unix.EINTR && (errno != 0 || tid == pid && (ws.Exited() || ws.Signaled())) {
				break
			}
		}
		return fmt.Errorf("supervise %s (process %d): %w", c.Path, pid, err)
	}
	s := e.newSpace()
	t := e.adopt(pid, &process{pid: pid, signals: &dispositions{}}, s)
	t.stopped = true
	e.processes.Lock()
	e.processes.root = pid
	e.processes.started = true
	killed := e.processes.killed
	e.processes.Unlock()
	if killed {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if e.Started != nil {
		e.Started(pid)
	}
	if e.prepare(t) {
		e.settle(t)
	}
	e.Handler.Begin(s)
	e.resume(t, 0)
	return nil
}

// seize takes the freshly executed child from PTRACE_TRACEME to PTRACE_SEIZE. It
// returns with the child stopped at the program's first instruction.
func (e *engine) seize(pid int) error {
	if err := expect(pid, unix.SIGTRAP); err != nil {
		return err
	}
	if errno := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, unix.PTRACE_O_EXITKILL); errno != 0 {
		return fmt.Errorf("PTRACE_SETOPTIONS: %w", errno)
	}
	// Signals that come meanwhile wait until the guest can be given them.
	mask, errno := getSigmask(pid)
	if errno != 0 {
		return fmt.Errorf("PTRACE_GETSIGMASK: %w", errno)
	}
	setSigmask(pid, ^bit(unix.SIGCONT))
	if errno := ptrace(unix.PTRACE_DETACH, pid, 0, uintptr(unix.SIGSTOP)); errno != 0 {
		return fmt.Errorf("PTRACE_DETACH: %w", errno)
	}
	if errno := ptrace(unix.PTRACE_SEIZE, pid, 0, options); errno != 0 {
		if hint := tracingForbidden(); hint != "" {
			return fmt.Errorf("PTRACE_SEIZE: %w: %s", errno, hint)
		}
		return fmt.Errorf("PTRACE_SEIZE: %w", errno)
	}
	// The SIGSTOP shows as a signal or already as a group stop; SIGCONT ends
	// either, and both disappear: the guest never had them.
	var ws unix.WaitStatus
	sent := false
	for {
		_, errno := wait4(pid, &ws, unix.WALL)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("wait4: %w", errno)
		}
		if !ws.Stopped() {
			return endedEarly(ws)
		}
		if sent && eventOf(ws) == 0 && ws.StopSignal() == unix.SIGCONT {
			setSigmask(pid, mask)
			return nil
		}
		if !sent {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				return fmt.Errorf("SIGCONT: %w", err)
			}
			sent = true
		}
		// A stop signal is swallowed, a group stop left.
		if errno := ptrace(unix.PTRACE_CONT, pid, 0, 0); errno != 0 {
			return fmt.Errorf("PTRACE_CONT: %w", errno)
		}
	}
}

// expect waits for the child to stop with the signal.
func expect(pid int, sig unix.Signal) error {
	var ws unix.WaitStatus
	for {
		_, errno := wait4(pid, &ws, unix.WALL)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("wait4: %w", errno)
		}
		switch {
		case !ws.Stopped():
			return endedEarly(ws)
		case ws.StopSignal() != sig:
			return fmt.Errorf("it stopped before its first instruction (signal %d)", int(ws.StopSignal()))
		}
		return nil
	}
}

// endedEarly is the wait status of a process that ended before its first instruction.
type endedEarly unix.WaitStatus

func (e endedEarly) Error() string {
	return fmt.Sprintf("it ended before its first instruction (wait status %#x)", uint32(e))
}

// tracingForbidden names the setting that forbids tracing here, if one is known.
func tracingForbidden() string {
	b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err == nil {
		switch strings.TrimSpace(string(b)) {
		case "2":
			return "kernel.yama.ptrace_scope is 2, which allows tracing to CAP_SYS_PTRACE only: run as root, or set it to 1 (sysctl kernel.yama.ptrace_scope=1)"
		case "3":
			return "kernel.yama.ptrace_scope is 3, which forbids tracing until the next boot"
		}
	}
	return "tracing is forbidden here: in a container allow it with --cap-add=SYS_PTRACE or --security-opt seccomp=unconfined; `rmemrun doctor` tells more"
}

func waitStatus(ws unix.WaitStatus) syscall.WaitStatus { return syscall.WaitStatus(ws) }
