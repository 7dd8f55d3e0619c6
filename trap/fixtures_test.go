//go:build linux && amd64

package trap

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"rmemrun/decode"
)

func TestMain(m *testing.M) {
	fixtures.dir, _ = os.MkdirTemp("", "rmemrun-trap")
	code := m.Run()
	_ = os.RemoveAll(fixtures.dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			code = 1
		}
		if left := children(); left != "" {
			_, _ = os.Stderr.WriteString("processes left behind: " + left + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// children lists the processes whose parent we are.
func children() string {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var all []string
	for _, f := range files {
		b, _ := os.ReadFile(f)
		all = append(all, strings.Fields(string(b))...)
	}
	return strings.Join(all, " ")
}

var fixtures struct {
	sync.Mutex
	dir string
}

// fixture compiles testprogs/fixtures/trap/NAME.c and returns the program's path.
func fixture(t testing.TB, name string, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler: install gcc")
	}
	fixtures.Lock()
	defer fixtures.Unlock()
	out := filepath.Join(fixtures.dir, name+strings.Join(flags, ""))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	src, err := filepath.Abs("../testprogs/fixtures/trap/" + name + ".c")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-O1", "-Wall", "-Wextra", "-pthread", "-I", "../guest", "-o", out, src}, flags...)
	if b, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return out
}

// echo is a handler that needs no network: what a guest writes it keeps, and gives
// back when the guest reads. The node number is 42.
type echo struct {
	mu      sync.Mutex
	buf     [1 << 16]byte
	count   map[decode.Op]int
	causes  map[Cause]int
	spaces  int // living address spaces
	begun   int
	shares  map[*Space][]*Shared
	words   uint64                         // what fadd adds to
	boards  []int                          // files
	onWait  func(c *Call)                  // decides a wait; nil sleeps for the timeout
	onWrite func(c *Call, contents []byte) // sees what a write brought
}

func newEcho() *echo {
	return &echo{count: map[decode.Op]int{}, causes: map[Cause]int{}, shares: map[*Space][]*Shared{}}
}

func (h *echo) Begin(s *Space) { h.spaces++; h.begun++ }

func (h *echo) End(s *Space) {
	for _, sh := range h.shares[s] {
		if sh != nil {
			s.Unshare(sh)
		}
	}
	delete(h.shares, s)
	h.spaces--
}

func (h *echo) Execute(c *Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Cause == First {
		h.count[c.Inst.Op]++
	}
	h.causes[c.Cause]++
	switch c.Inst.Op {
	case decode.Node:
		c.Return(42)
	case decode.Nodes:
		c.Return(7)
	case decode.Export:
		sh, err := c.Space.Share(c.V, c.A, c.D&2 != 0)
		if err != nil {
			c.Return(shareResult(err))
			return
		}
		h.shares[c.Space] = append(h.shares[c.Space], sh)
		c.Return(int64(len(h.shares[c.Space]) - 1))
	case decode.Revoke:
		list := h.shares[c.Space]
		if int(c.P) >= len(list) || list[c.P] == nil {
			c.Return(-1)
			return
		}
		c.Space.Unshare(list[c.P])
		list[c.P] = nil
		c.Return(0)
	case decode.Write:
		if c.C > uint64(len(h.buf)) {
			c.Return(-3)
			return
		}
		if _, err := c.Memory(c.V).ReadAt(h.buf[:c.C], 0); err != nil {
			c.Return(-7)
			return
		}
		if h.onWrite != nil {
			h.onWrite(c, h.buf[:c.C])
		}
		c.Return(0)
	case decode.Read:
		// Through descriptor 1 000 + n a guest sees what we see of its segment n.
		from := h.buf[:]
		if c.P >= 1000 {
			from = h.shares[c.Space][c.P-1000].Bytes[c.A:]
		}
		if _, err := c.Memory(c.V).WriteAt(from[:c.C], 0); err != nil {
			c.Return(-7)
			return
		}
		c.Return(0)
	case decode.Swap: // stores a word into segment P, as a deposit would
		b := h.shares[c.Space][c.P].Bytes[c.A:]
		old := binary.LittleEndian.Uint64(b)
		binary.LittleEndian.PutUint64(b, c.V)
		c.ReturnOld(0, old)
	case decode.FAdd:
		old := h.words
		h.words += c.V
		c.ReturnOld(0, old)
	case decode.Wait:
		if h.onWait != nil {
			h.onWait(c)
			return
		}
		wait(c)
	default:
		c.Return(0)
	}
}

// wait sleeps for the call's timeout, in milliseconds, and returns ETIMEDOUT.
func wait(c *Call) {
	switch c.Cause {
	case First:
		if c.Deadline.IsZero() && int32(c.A) >= 0 {
			c.Deadline = time.Now().Add(time.Duration(int32(c.A)) * time.Millisecond)
		}
		c.Sleep(c.Deadline, true)
	case Woken:
		c.Sleep(c.Deadline, true)
	case Expired:
		c.Return(-12)
	}
}

func shareResult(err error) int64 {
	for code, e := range map[int64]error{-107: ErrUnmapped, -108: ErrStack, -109: ErrForeign, -110: ErrAccess, -111: ErrWrap, -113: ErrNoSpace, -114: ErrGone} {
		if errorsIs(err, e) {
			return code
		}
	}
	return -100
}

// guest is a finished run.
type guest struct {
	status         syscall.WaitStatus
	err            error
	stdout, stderr string
}

// run runs a program under the engine and returns what it did.
func run(t testing.TB, h Handler, argv ...string) guest {
	t.Helper()
	return runWith(t, h, nil, argv...)
}

func runWith(t testing.TB, h Handler, started func(Engine, int), argv ...string) guest {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var logged bytes.Buffer
	var e Engine
	config := Config{Handler: h, Log: hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Warn})}
	if started != nil {
		config.Started = func(pid int) { started(e, pid) }
	}
	e = newTestEngine(config)
	var g guest
	done := make(chan struct{})
	go func() { // the engine's thread ends with this goroutine
		defer close(done)
		g.status, g.err = e.Run(Command{Path: argv[0], Args: argv, Env: os.Environ(), Stdin: null, Stdout: out, Stderr: errs})
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		e.Signal(syscall.SIGKILL)
		<-done
		t.Errorf("%s: still running after two minutes; ended", strings.Join(argv, " "))
	}
	if h, ok := h.(*echo); ok {
		for _, fd := range h.boards {
			unix.Close(fd)
		}
	}
	b, _ := os.ReadFile(out.Name())
	g.stdout = string(b)
	b, _ = os.ReadFile(errs.Name())
	g.stderr = string(b)
	if logged.Len() > 0 {
		t.Logf("log: %s", logged.String())
	}
	return g
}

// newTestEngine makes the engine that RMEMRUN_TEST_ENGINE names, ptrace if nothing else
// is said. A guest must not see any difference.
func newTestEngine(c Config) Engine {
	if h, ok := c.Handler.(*loop); ok {
		return h.newEngine(c)
	}
	if os.Getenv("RMEMRUN_TEST_ENGINE") == "patch" {
		return NewPatch(c)
	}
	return NewPtrace(c)
}

// The stubs of echo's guests find an empty board: they leave every instruction to the
// trap, which is beside the stub and not where the instruction was.

func (h *echo) Board(*Space) (fd int, length uint64) {
	fd, err := unix.MemfdCreate("board", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, 0
	}
	if err := unix.Ftruncate(fd, boardLength); err != nil {
		return -1, 0
	}
	h.boards = append(h.boards, fd)
	return fd, boardLength
}

// boardLength is at least that of struct board.
const boardLength = 1 << 20

func (h *echo) Placed(*Space, uint64, bool)                 {}
func (h *echo) Threaded(*Space)                             {}
func (h *echo) Help(*Space, uint32)                         {}
func (h *echo) Staged(*Space, uint64, uint64) ([]byte, int) { return nil, 0 }
func (h *echo) Unstage(*Space, uint64)                      {}
func (h *echo) Retire(*Space)                               {}

// want runs a program that prints what it found and compares.
func want(t testing.TB, h Handler, status int, stdout string, argv ...string) {
	t.Helper()
	g := run(t, h, argv...)
	if g.err != nil {
		t.Fatal(g.err)
	}
	if got := exitStatus(g.status); got != status || g.stdout != stdout {
		t.Errorf("%s: exit status %d, output %q, errors %q; want %d, %q", strings.Join(argv, " "), got, g.stdout, g.stderr, status, stdout)
	}
}

// exitStatus is the status as a shell shows it.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
