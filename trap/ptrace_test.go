//go:build linux && amd64

package trap

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"rmemrun/decode"
)

func errorsIs(err, target error) bool { return errors.Is(err, target) }

func TestNode(t *testing.T) {
	for _, flags := range [][]string{{}, {"-static"}, {"-no-pie"}, {"-static-pie"}} {
		h := newEcho()
		want(t, h, 3, "42 of 7\n", fixture(t, "node", flags...))
		if h.spaces != 0 || h.begun != 1 {
			t.Errorf("%v: %d address spaces begun, %d not ended", flags, h.begun, h.spaces)
		}
	}
}

// alike runs a program by itself and under the engine and compares.
func alike(t *testing.T, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	g := run(t, newEcho(), argv...)
	if g.err != nil {
		t.Fatal(g.err)
	}
	if plain := cmd.ProcessState.Sys().(syscall.WaitStatus); exitStatus(g.status) != exitStatus(plain) {
		t.Errorf("exit status %d, without rmemrun %d", exitStatus(g.status), exitStatus(plain))
	}
	if g.stdout != stdout.String() {
		t.Errorf("output\n%s\nwithout rmemrun\n%s", g.stdout, stdout.String())
	}
	if g.stderr != stderr.String() {
		t.Errorf("errors\n%s\nwithout rmemrun\n%s", g.stderr, stderr.String())
	}
}

// [E15] The fixture has one foreign instruction of each kind.
func TestForeignOpcodes(t *testing.T)  { alike(t, fixture(t, "foreign")) }
func TestGroupStops(t *testing.T)      { alike(t, fixture(t, "stops")) }
func TestGuestThatTraces(t *testing.T) { want(t, newEcho(), 0, "refused\n", fixture(t, "tracer")) }
func TestThreads(t *testing.T) {
	want(t, newEcho(), 0, "1600 additions, 1600 results\n", fixture(t, "threads"), "8", "200")
}
func TestHundredThreads(t *testing.T) {
	want(t, newEcho(), 0, "1000 additions, 1000 results\n", fixture(t, "threads"), "100", "10")
}
func TestLeaderless(t *testing.T)          { want(t, newEcho(), 7, "done\n", fixture(t, "leaderless")) }
func TestChurn(t *testing.T)               { want(t, newEcho(), 0, "right\n", fixture(t, "churn")) }
func TestStopsWhileExporting(t *testing.T) { want(t, newEcho(), 0, "exit 17\n", fixture(t, "stopped")) }

func TestRegistersStay(t *testing.T) {
	want(t, newEcho(), 0, "result 42, carry 1, direction 1, mxcsr 7f80, fcw f7f, bad 0\n", fixture(t, "registers"))
}

func TestSigillBlockedIgnoredHandled(t *testing.T) {
	want(t, newEcho(), 0, `plain: default, blocked 0
ignored: ignored, blocked 0
with handler: handler, blocked 0
with handler, blocked: handler, blocked 1
pending: handled 0
unblocked: handled 1
unblocked: handler, blocked 0
thread that inherited the mask: handler, blocked 1
everything blocked: handler, blocked 1
in a handler with SIGILL in its mask: blocked 1
after the handler: handler, blocked 0
in a handler during sigsuspend: blocked 1
after sigsuspend: handler, blocked 0
one-shot handler: handler, blocked 0
one-shot: handled 1, then default
ud2 while blocked: killed by 4
`, fixture(t, "illmask"))
}

func TestForks(t *testing.T) {
	h := newEcho()
	want(t, h, 0, `export 0, still 7 11
deposited 12
child sees 12 100
child's own export 0, deposited 77, node 42
child ended with 3
parent sees 13 0 5
vfork and exec: 5
posix_spawn: 5
system: 4
exec by a thread: 5
parent still sees 14
revoke 0, still 14
`, fixture(t, "forks"))
	if h.spaces != 0 {
		t.Errorf("%d address spaces did not end", h.spaces)
	}
	if h.causes[Gone] != 1 {
		t.Errorf("%d sleeping threads were told to be gone, want 1", h.causes[Gone])
	}
}

func TestSleep(t *testing.T) {
	h := newEcho()
	want(t, h, 0, `plain: -12
with signals: -12
handlers ran: several
left by longjmp; again: -12
thread: timeout
thread: timeout
thread: timeout
thread: timeout
stopped asleep: 1
killed asleep: 15
exit with a sleeper: 12
kill -9 asleep: 9
`, fixture(t, "sleeps"))
	if h.causes[Interrupted] == 0 || h.causes[Expired] == 0 || h.causes[Gone] == 0 {
		t.Errorf("causes: %v; want some of Interrupted and Expired, and of Gone", h.causes)
	}
}

// [G20] An instruction that may not be interrupted holds signals off until it is done,
// but not SIGSTOP.
func TestSleepHoldsSignalsOff(t *testing.T) {
	h := newEcho()
	h.onWait = func(c *Call) {
		switch c.Cause {
		case First:
			c.Sleep(time.Now().Add(100*time.Millisecond), false)
		case Woken:
			c.Sleep(c.Deadline, false)
		case Expired:
			c.Return(0)
		default:
			c.Return(-99)
		}
	}
	want(t, h, 0, "handled 0 during, 1 after, result 0\n", fixture(t, "holdoff"))
	if h.causes[Interrupted] != 0 {
		t.Errorf("interrupted %d times", h.causes[Interrupted])
	}
}

// [G21] A thread that has nothing to sleep on gets an error; others go on.
func TestTooManySleep(t *testing.T) {
	if lines := (footholdSize - footholdLines) / footholdLine; lines != 65528 {
		t.Errorf("%d threads can sleep, docs/isa.md says 65,528", lines)
	}
	h := newEcho()
	waits := 0
	h.onWait = func(c *Call) {
		switch c.Cause {
		case First:
			if waits++; waits == 1 {
				c.Thread.space.foothold.next = footholdSize
				c.Return(7)
				return
			}
			c.Sleep(time.Now().Add(20*time.Millisecond), true)
		case Expired:
			c.Return(-12)
		}
	}
	want(t, h, 0, "7, another thread -13, -12\n", fixture(t, "lines"))
	if h.causes[Gone] != 1 {
		t.Errorf("causes %v: want one operation to be given up", h.causes)
	}
}

func TestSleepForbidden(t *testing.T) {
	h := newEcho()
	want(t, h, 0, "wait -13, for ever -13, node 42\n", fixture(t, "sleepless"))
	if h.causes[Gone] != 2 {
		t.Errorf("causes %v: want two operations to be given up", h.causes)
	}
}

func TestWakeFromAnotherGoroutine(t *testing.T) {
	h := newEcho()
	done := 0
	h.onWait = func(c *Call) {
		switch {
		case c.Cause == First:
			th := c.Thread
			go th.Wake()
			c.Sleep(time.Time{}, true)
		case c.Cause == Woken:
			done++
			c.Return(int64(done))
		}
	}
	want(t, h, 0, "woken 200 times\n", fixture(t, "wakes"))
}

func TestShare(t *testing.T) {
	before := openFiles(t)
	h := newEcho()
	want(t, h, 0, `bss: same 1 stored 1 back 1 revoke 0 left 0
data: same 1 stored 1 back 1 revoke 0 left 0
heap: same 1 stored 1 back 1 revoke 0 left 0
small: same 1 stored 1 back 1 revoke 0 left 0
mmap: same 1 stored 1 back 1 revoke 0 left 0
one page of it: same 1 stored 1 back 1 revoke 0 left 0
thread-local: same 1 stored 1 back 1 revoke 0 left 0
stack: -108
thread's stack: -108
constant: -110
unmapped: -107
with a hole: -107
wrapping: -111
kernel: -111
shared: -109
read-only: -110
read-only for reading: 1
inaccessible: -110
mapped again, first bytes 0 0
overlap: 99 99 99
after one revoke: 98
after all: 98, 0 left
counters: 1
descriptors: +0
no descriptor left: -113
`, fixture(t, "share"))
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}

// TestShareAgain: memory that took the place of exported memory is exported itself.
func TestShareAgain(t *testing.T) {
	before := openFiles(t)
	want(t, newEcho(), 0, "right\n", fixture(t, "replaced"))
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}

// TestExecWhileExporting: the thread that executes a program waits for the others' end, which waits for the engine.
func TestExecWhileExporting(t *testing.T) {
	h := newEcho()
	want(t, h, 0, "done\n", fixture(t, "execs"), "20")
	if h.spaces != 0 {
		t.Errorf("%d address spaces did not end", h.spaces)
	}
}

// TestFootholdGone: a guest without the foothold dies of it, and the engine lives.
func TestFootholdGone(t *testing.T) {
	g := run(t, newEcho(), fixture(t, "unstub"))
	if g.err != nil || g.stdout != "unmapped\n" || !g.status.Signaled() || g.status.Signal() != syscall.SIGSEGV {
		t.Errorf("status %v, error %v, output %q", g.status, g.err, g.stdout)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestCodeThatChanges(t *testing.T) {
	h := newEcho()
	want(t, h, 0, "42 7 -1\n42 7 -1\n42\n7\n73500\n", fixture(t, "code"))
}

// Two guests in one process: each engine sees its own only.
func TestTwoEngines(t *testing.T) {
	path := fixture(t, "threads")
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			want(t, newEcho(), 0, "800 additions, 800 results\n", path, "4", "200")
		})
	}
}

func TestKillGuest(t *testing.T) {
	path := fixture(t, "spawner")
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		h := newEcho()
		g := runWith(t, h, func(e Engine, pid int) {
			go func() {
				time.Sleep(200 * time.Millisecond)
				e.Signal(sig)
				time.Sleep(50 * time.Millisecond)
				e.Signal(syscall.SIGKILL) // the children
			}()
		}, path)
		if g.err != nil || !g.status.Signaled() || g.status.Signal() != sig {
			t.Errorf("%v: status %v, error %v", sig, g.status, g.err)
		}
		if h.spaces != 0 {
			t.Errorf("%v: %d address spaces did not end", sig, h.spaces)
		}
	}
}

func TestCannotStart(t *testing.T) {
	for path, errno := range map[string]syscall.Errno{
		"/nonexistent": unix.ENOENT,
		"/etc/passwd":  unix.EACCES,
		"/":            unix.EACCES,
	} {
		g := run(t, newEcho(), path)
		if !errors.Is(g.err, errno) || !strings.Contains(g.err.Error(), path) {
			t.Errorf("%s: error %v, want %v", path, g.err, errno)
		}
	}
}

func Test32Bit(t *testing.T) {
	src := "../testprogs/fixtures/trap/i386.S"
	out := fixtures.dir + "/i386"
	if b, err := exec.Command("cc", "-m32", "-nostdlib", "-static", "-o", out, src).CombinedOutput(); err != nil {
		t.Skipf("32-bit programs cannot be built here: %v %s", err, b)
	}
	if err := exec.Command(out).Run(); err != nil && exitCode(err) != 9 {
		t.Skipf("32-bit programs do not run here: %v", err)
	}
	want(t, newEcho(), 9, "", out)
}

func exitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// The rest needs an engine in a process of its own: it is this test's binary again.
func init() {
	argv := os.Getenv("RMEMRUN_TRAP_ENGINE")
	if argv == "" {
		return
	}
	if os.Getenv("RMEMRUN_TRAP_FORBID") != "" {
		forbidPtrace()
	}
	e := newTestEngine(Config{Handler: newEcho(), Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})})
	done := make(chan int)
	go func() {
		args := strings.Fields(argv)
		ws, err := e.Run(Command{Path: args[0], Args: args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
		if err != nil {
			fmt.Println(err)
			done <- 125
			return
		}
		done <- exitStatus(ws)
	}()
	os.Exit(<-done)
}

func engineProcess(argv string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), "RMEMRUN_TRAP_ENGINE="+argv), env...)
	return cmd
}

// forbidPtrace makes ptrace fail for this process, as a container does.
func forbidPtrace() {
	const eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offNr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PTRACE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: eperm},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	installFilter(program)
}

func TestPtraceForbidden(t *testing.T) {
	b, err := engineProcess(fixture(t, "node"), "RMEMRUN_TRAP_FORBID=1").CombinedOutput()
	if exitCode(err) != 125 || !strings.Contains(string(b), "SYS_PTRACE") || strings.Contains(string(b), "goroutine") {
		t.Errorf("%v: %s", err, b)
	}
}

// An unprivileged user's guests run with no_new_privs.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: the other tests are unprivileged anyway")
	}
	// The binaries must be in reach of the user.
	if err := os.Chmod(fixtures.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := fixtures.dir + "/self"
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(self, binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	undumpable := fixture(t, "undumpable")
	for argv, status := range map[string]int{fixture(t, "node"): 3, "/bin/su --version": 0, undumpable: 128 + int(unix.SIGILL)} {
		cmd := engineProcess(argv)
		cmd.Path = self
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		b, err := cmd.CombinedOutput()
		if got := exitCode(err); got != status && !(err == nil && status == 0) {
			t.Errorf("%s: status %d: %s", argv, got, b)
		}
		if argv == undumpable && !strings.Contains(string(b), "PR_SET_DUMPABLE") {
			t.Errorf("%s says %q, and not why", argv, b)
		}
	}
}

// When rmemrun is killed no process of its guests is left.
func TestKillEngine(t *testing.T) {
	cmd := engineProcess(fixture(t, "spawner"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	guests := descendants(t, cmd.Process.Pid)
	if len(guests) < 4 {
		t.Fatalf("only %d guest processes: %v", len(guests), guests)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, pid := range guests {
		for i := 0; alive(pid); i++ {
			if i == 1000 {
				t.Errorf("process %s is left", pid)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func descendants(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	rest := []string{fmt.Sprint(pid)}
	for len(rest) > 0 {
		tasks, _ := os.ReadDir("/proc/" + rest[0] + "/task")
		for _, task := range tasks {
			b, _ := os.ReadFile("/proc/" + rest[0] + "/task/" + task.Name() + "/children")
			all = append(all, strings.Fields(string(b))...)
			rest = append(rest, strings.Fields(string(b))...)
		}
		rest = rest[1:]
	}
	return all
}

func TestExecKinds(t *testing.T) {
	node := fixture(t, "node")
	script := fixtures.dir + "/script"
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+node+"\necho status $?\nexec "+fixture(t, "node", "-static")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newEcho()
	want(t, h, 3, "42 of 7\nstatus 3\n42 of 7\n", script)
	if h.count[decode.Node] != 2 {
		t.Errorf("%d instructions", h.count[decode.Node])
	}
}
