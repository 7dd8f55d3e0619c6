//go:build linux && amd64

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"rmemrun/decode"
	guest "rmemrun/guest/go/rmem"
	"rmemrun/rmem"
)

// The guests of these tests are functions of the test program, which starts itself under the engine.

// guestVariable names, in a guest's environment, which function it is.
const guestVariable = "RUNTIME_TEST_GUEST"

// guests are the functions by name. One that fails says why and exits with status 1.
var guests = map[string]func() error{
	"hello":     helloGuest,
	"ring":      ringGuest,
	"threads":   threadsGuest,
	"timeouts":  timeoutsGuest,
	"signal":    signalGuest,
	"stack":     stackGuest,
	"many":      manyGuest,
	"unhandled": func() error { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"quitter":   quitterGuest,
	"refused":   refusedGuest,
	"exec":      execGuest,
	"idle":      idleGuest,
	"nothing":   func() error { return nil },

	"foreground": foregroundProcess, // no guest: it plays rmemrun
}

func init() {
	name, ok := os.LookupEnv(guestVariable)
	if !ok {
		return
	}
	if err := guests[name](); err != nil {
		fmt.Fprintf(os.Stderr, "guest %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// output is what guests wrote.
type output struct{ stdout, stderr string }

// runGuests runs a guest on a number of nodes and returns the result, and what the guests and the log wrote.
func runGuests(t *testing.T, name string, nodes int, change func(*Job)) (Result, output) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	var writers [2]*os.File
	var done [2]chan struct{}
	for i := range writers {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		writers[i], done[i] = w, make(chan struct{})
		go func() {
			defer close(done[i])
			defer r.Close()
			b, _ := io.ReadAll(r)
			texts[i] = string(b)
		}()
	}
	var log bytes.Buffer
	job := &Job{
		Programs: []Program{{Path: self, Nodes: nodes}},
		// A guest with the race detector in it would sleep for a second before it exits.
		Env:    append(os.Environ(), guestVariable+"="+name, "GORACE=atexit_sleep_ms=0"),
		Stdout: writers[0], Stderr: writers[1],
		Log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug}),
	}
	if change != nil {
		change(job)
	}
	result, err := job.Run()
	for i := range writers {
		writers[i].Close()
		<-done[i]
	}
	if err != nil {
		t.Fatalf("%s on %d nodes: %v", name, nodes, err)
	}
	return result, output{texts[0], texts[1] + log.String()}
}

// succeed runs a guest that has to succeed.
func succeed(t *testing.T, name string, nodes int, change func(*Job)) (Result, output) {
	t.Helper()
	result, out := runGuests(t, name, nodes, change)
	if result.Status != 0 || result.Node != -1 {
		t.Fatalf("%s on %d nodes: status %d of node %d\n%s", name, nodes, result.Status, result.Node, out.stderr)
	}
	return result, out
}

const everyRight = guest.Read | guest.Write | guest.Atomic

// helloGuest: node 0 writes to every node, itself too, and each finds what was written and who wrote it.
func helloGuest() error {
	buf := make([]byte, 100_000)
	seg, err := guest.Export("box", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() == 0 {
		for node := range guest.Nodes() {
			d, err := guest.Import("box", node, everyRight, guest.Forever)
			if err != nil {
				return fmt.Errorf("import from %d: %w", node, err)
			}
			long := bytes.Repeat([]byte{byte(node + 1)}, len(buf)-100)
			if err := d.Write(100, long, 0); err != nil {
				return fmt.Errorf("write a block: %w", err)
			}
			back := make([]byte, len(buf))
			if err := d.Read(0, back, 0); err != nil {
				return fmt.Errorf("read: %w", err)
			}
			if !bytes.Equal(back[100:], long) || !bytes.Equal(back[:100], make([]byte, 100)) {
				return fmt.Errorf("node %d: what was read is not what was written", node)
			}
			if err := d.Write(3, fmt.Appendf(nil, "hello, node %d", node), guest.Notify); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			if err := d.Release(); err != nil {
				return fmt.Errorf("release: %w", err)
			}
		}
	}
	event, err := seg.Wait(guest.Forever)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	want := fmt.Sprintf("hello, node %d", guest.Node())
	if (event != guest.Event{Node: 0, Op: guest.OpWrite, Offset: 3, Len: uint64(len(want)), Count: 1}) {
		return fmt.Errorf("the event is %+v", event)
	}
	if got := string(buf[3 : 3+len(want)]); got != want {
		return fmt.Errorf("the buffer holds %q, want %q", got, want)
	}
	if last := buf[len(buf)-1]; last != byte(guest.Node()+1) {
		return fmt.Errorf("the block ends with %d", last)
	}
	fmt.Println(want)
	return seg.Revoke()
}

func TestHello(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5} {
		result, out := succeed(t, "hello", nodes, nil)
		if got := strings.Count(out.stdout, "hello, node"); got != nodes {
			t.Errorf("%d of %d nodes said hello:\n%s", got, nodes, out.stdout)
		}
		if result.Instructions == 0 {
			t.Error("no instruction was counted")
		}
	}
}

// ringGuest: every node adds to a counter of the next, by fetch-and-add and by compare-and-swap.
func ringGuest() error {
	const rounds = 200
	counter := make([]uint64, 1)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&counter[0])), 8)
	seg, err := guest.Export("counter", mem, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	next := (guest.Node() + 1) % guest.Nodes()
	d, err := guest.Import("counter", next, guest.Atomic, guest.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for i := range rounds {
		if i%2 == 0 {
			if _, err := d.FAdd(0, 1); err != nil {
				return fmt.Errorf("fadd: %w", err)
			}
		} else {
			for expected := uint64(0); ; {
				old, err := d.CAS(0, expected, expected+1)
				if err != nil {
					return fmt.Errorf("cas: %w", err)
				}
				if old == expected {
					break
				}
				expected = old
			}
		}
		atomic.AddUint64(&counter[0], 1) // the owner's own, among them
	}
	if err := d.Notify(0); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	if _, err := seg.Wait(guest.Forever); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if got := atomic.LoadUint64(&counter[0]); got != 2*rounds {
		return fmt.Errorf("the counter is %d, want %d", got, 2*rounds)
	}
	return nil
}

func TestRing(t *testing.T) {
	for _, nodes := range []int{1, 2, 8} {
		succeed(t, "ring", nodes, nil)
	}
}

// threadsGuest: threads of one process sleep in wait while others of it execute, all on one engine.
func threadsGuest() error {
	const pairs = 4
	errs := make(chan error)
	buf := make([]byte, pairs*8)
	for i := range pairs {
		seg, err := guest.Export(fmt.Sprint("box", i), buf[i*8:][:8], everyRight)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		go func() {
			goruntime.LockOSThread()
			_, err := seg.Wait(guest.Forever)
			errs <- err
		}()
	}
	for i := range pairs {
		go func() {
			goruntime.LockOSThread()
			errs <- func() error {
				d, err := guest.Import(fmt.Sprint("box", i), guest.Node(), everyRight, 0)
				if err != nil {
					return err
				}
				for range 50 {
					if err := d.Write(0, []byte("12345678"), 0); err != nil {
						return err
					}
				}
				return d.Notify(0)
			}()
		}()
	}
	for range 2 * pairs {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func TestThreads(t *testing.T) { succeed(t, "threads", 1, nil) }

// timeoutsGuest: what does not happen in time.
func timeoutsGuest() error {
	seg, err := guest.Export("box", make([]byte, 8), everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	expect := func(what string, want error, timeout time.Duration, f func() error) error {
		start := time.Now()
		if err := f(); !errors.Is(err, want) {
			return fmt.Errorf("%s: %v, want %v", what, err, want)
		}
		if took := time.Since(start); took < timeout {
			return fmt.Errorf("%s: timed out after %v of %v", what, took, timeout)
		}
		return nil
	}
	importing := func(name string, node int, timeout time.Duration) func() error {
		return func() error { _, err := guest.Import(name, node, guest.Read, timeout); return err }
	}
	waiting := func(timeout time.Duration) func() error {
		return func() error { _, err := seg.Wait(timeout); return err }
	}
	return errors.Join(
		expect("wait that does not sleep", guest.ETIMEDOUT, 0, waiting(0)),
		expect("wait", guest.ETIMEDOUT, 30*time.Millisecond, waiting(30*time.Millisecond)),
		expect("import that does not sleep", guest.ENOENT, 0, importing("none", 0, 0)),
		expect("import", guest.ETIMEDOUT, 30*time.Millisecond, importing("none", 0, 30*time.Millisecond)),
		expect("import from nowhere", guest.EINVAL, 0, importing("box", 1, 0)),
		expect("import by an empty name", guest.EINVAL, 0, importing("", 0, 0)),
		expect("import by a name of 256 bytes", guest.EINVAL, 0, importing(strings.Repeat("a", 256), 0, 0)),
	)
}

func TestTimeouts(t *testing.T) { succeed(t, "timeouts", 1, nil) }

// signalGuest: signals are handled while a thread sleeps in import, then in wait, which go on sleeping.
func signalGuest() error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var seg guest.Segment
	var d guest.Desc
	for _, sleep := range []struct {
		what   string
		asleep func() error
		end    func() error // what the thread waits for
	}{
		{
			"import",
			func() (err error) { d, err = guest.Import("box", 0, everyRight, guest.Forever); return err },
			func() (err error) { seg, err = guest.Export("box", make([]byte, 8), everyRight); return err },
		},
		{
			"wait",
			func() error { _, err := seg.Wait(guest.Forever); return err },
			func() error { return d.Notify(0) },
		},
	} {
		tids := make(chan int)
		errs := make(chan error)
		go func() {
			goruntime.LockOSThread()
			tids <- syscall.Gettid()
			errs <- sleep.asleep()
		}()
		tid := <-tids
		for range 20 {
			if err := syscall.Tgkill(os.Getpid(), tid, syscall.SIGUSR1); err != nil {
				return fmt.Errorf("tgkill: %w", err)
			}
			<-signals
		}
		select {
		case err := <-errs:
			return fmt.Errorf("%s returned %v after the signals", sleep.what, err)
		default:
		}
		if err := sleep.end(); err != nil {
			return fmt.Errorf("end %s: %w", sleep.what, err)
		}
		if err := <-errs; err != nil {
			return fmt.Errorf("%s: %w", sleep.what, err)
		}
	}
	return nil
}

func TestSignalWhileAsleep(t *testing.T) { succeed(t, "signal", 1, nil) }

// stackGuest exports its arguments, which lie on its stack, and what is not mapped.
func stackGuest() error {
	arg := os.Args[0]
	_, err := guest.Export("args", unsafe.Slice(unsafe.StringData(arg), len(arg)), guest.Read)
	if !errors.Is(err, guest.EINVAL) {
		return fmt.Errorf("export of the stack: %v", err)
	}
	page := os.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err
	}
	if err := syscall.Munmap(mem); err != nil {
		return err
	}
	if _, err := guest.Export("gone", mem, guest.Read); !errors.Is(err, guest.EFAULT) {
		return fmt.Errorf("export of what is not mapped: %v", err)
	}
	shared, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		return err
	}
	if _, err := guest.Export("shared", shared, guest.Read); !errors.Is(err, guest.EINVAL) {
		return fmt.Errorf("export of a shared mapping: %v", err)
	}
	return nil
}

func TestStackIsRefused(t *testing.T) {
	_, out := succeed(t, "stack", 1, nil)
	for _, want := range []string{"export refused", "stack", "args"} {
		if !strings.Contains(out.stderr, want) {
			t.Errorf("the log does not say %q:\n%s", want, out.stderr)
		}
	}
}

const manyWrites = 5000

// manyGuest: node 0 writes to node 1 many times.
func manyGuest() error {
	seg, err := guest.Export("box", make([]byte, 40), everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() != 0 {
		_, err := seg.Wait(guest.Forever)
		return err
	}
	d, err := guest.Import("box", guest.Nodes()-1, everyRight, guest.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	data := make([]byte, 40)
	for range manyWrites {
		if err := d.Write(0, data, 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return errors.Join(d.Fence(), d.Notify(0))
}

// A write costs rmemrun no allocation, from the trap to the resumption.
func TestWriteAllocations(t *testing.T) {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	succeed(t, "many", 2, nil)
	goruntime.ReadMemStats(&after)
	// Starting and ending the guests allocates, and so may the Go runtime meanwhile; not once for each write.
	if n := after.Mallocs - before.Mallocs; n > manyWrites {
		t.Errorf("%d writes cost %d allocations", manyWrites, n)
	}
}

// A guest that is killed gives its status, and the others do not wait for it for ever.
func TestKilledGuest(t *testing.T) {
	result, _ := runGuests(t, "unhandled", 1, nil)
	if result.Status != StatusSignal+int(syscall.SIGKILL) || result.Node != 0 {
		t.Errorf("the result is %+v, want status 137 of node 0", result)
	}
}

// quitterGuest: node 1 leaves; node 0, which waits for what it might do, is told.
func quitterGuest() error {
	seg, err := guest.Export("box", make([]byte, 8), everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if guest.Node() == 1 {
		d, err := guest.Import("box", 0, everyRight, guest.Forever)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		return d.Notify(0) // node 0 has imported by then, or never will
	}
	d, err := guest.Import("box", 1, everyRight, guest.Forever)
	if err != nil && !errors.Is(err, guest.EDOWN) {
		return fmt.Errorf("import: %w", err)
	}
	imported := err == nil
	if _, err := seg.Wait(guest.Forever); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if _, err := seg.Wait(guest.Forever); !errors.Is(err, guest.EDOWN) {
		return fmt.Errorf("wait when all others have left: %v, want EDOWN", err)
	}
	if imported {
		if _, err := d.FAdd(0, 1); !errors.Is(err, guest.EDOWN) && !errors.Is(err, guest.ESTALE) {
			return fmt.Errorf("fadd at a node that has left: %v, want EDOWN or ESTALE", err)
		}
	}
	if _, err := guest.Import("box", 1, everyRight, guest.Forever); !errors.Is(err, guest.EDOWN) {
		return fmt.Errorf("import from a node that has left: %v, want EDOWN", err)
	}
	return nil
}

func TestNodeLeaves(t *testing.T) { succeed(t, "quitter", 2, nil) }

// refusedGuest: what the far side refuses changes nothing and is reported by the fence, once.
func refusedGuest() error {
	buf := []byte("untouched")
	seg, err := guest.Export("box", buf, everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d, err := guest.Import("box", 0, everyRight, 0)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := seg.Inhibit(true); err != nil {
		return fmt.Errorf("inhibit: %w", err)
	}
	if err := d.Write(0, []byte("x"), guest.Notify); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := d.Fence(); !errors.Is(err, guest.EINHIBIT) {
		return fmt.Errorf("fence: %v, want EINHIBIT", err)
	}
	if err := d.Fence(); err != nil {
		return fmt.Errorf("second fence: %w", err)
	}
	if string(buf) != "untouched" {
		return fmt.Errorf("the buffer holds %q", buf)
	}
	if _, err := seg.Wait(0); !errors.Is(err, guest.ETIMEDOUT) {
		return fmt.Errorf("wait: %v, want ETIMEDOUT", err)
	}
	return nil
}

func TestRefused(t *testing.T) { succeed(t, "refused", 1, nil) }

// execGuest executes itself again, which has no segments and may give the same name.
func execGuest() error {
	if _, err := guest.Export("box", make([]byte, 8), everyRight); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if len(os.Args) > 1 {
		return nil
	}
	return syscall.Exec("/proc/self/exe", []string{os.Args[0], "again"}, os.Environ())
}

func TestExec(t *testing.T) { succeed(t, "exec", 1, nil) }

// idleGuest waits for ever.
func idleGuest() error {
	seg, err := guest.Export("box", make([]byte, 8), everyRight)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	fmt.Println("waiting")
	_, err = seg.Wait(guest.Forever)
	return err
}

// The first that fails ends those that wait.
func TestFailureEndsTheOthers(t *testing.T) {
	false_, err := exec.LookPath("false")
	if err != nil {
		t.Skip("no program false: install coreutils")
	}
	result, out := runGuests(t, "idle", 2, func(j *Job) {
		j.Programs = append(j.Programs, Program{Path: false_, Nodes: 1})
	})
	if result.Status != 1 || result.Node != 2 {
		t.Errorf("the result is %+v, want status 1 of node 2\n%s", result, out.stderr)
	}
}

// A program without our instructions runs too, and none is counted.
func TestOrdinaryProgram(t *testing.T) {
	if result, _ := succeed(t, "nothing", 2, nil); result.Instructions != 0 {
		t.Errorf("%d instructions were counted", result.Instructions)
	}
}

// Every write of a guest leaves the same story, each step after the one before.
func TestWriteStory(t *testing.T) {
	want := []string{"trap", "decode", "sent 0", "received 1", "deposited 1", "sent 1", "received 0", "completed 0", "resume"}
	var story []string
	var last time.Duration
	add := func(what string, e *Event) {
		if e.Time < last {
			t.Errorf("%s is at %v, %v before %q", what, e.Time, last-e.Time, story)
		}
		story, last = append(story, what), e.Time
	}
	writes, started, ended := 0, 0, 0
	succeed(t, "many", 2, func(j *Job) {
		j.Observer = func(e *Event) {
			switch {
			case e.Kind == Start:
				started++
			case e.Kind == Exit:
				ended++
			case e.Kind == Network:
				add(fmt.Sprint(e.Net.Kind, " ", e.Node), e)
			case e.Kind == Patch: // of the first write only
			case e.Node != 0: // node 1 exports and waits, which takes no cells
			case e.Kind == Trap:
				story, last = nil, 0
				add("trap", e)
			default:
				add(e.Kind.String(), e)
				if e.PID == 0 || e.TID == 0 || len(e.Code) != int(e.Inst.Len) {
					t.Errorf("%v is of process %d, thread %d, code % x", e.Inst, e.PID, e.TID, e.Code)
				}
				if e.Kind == Resume && e.Inst.Op == decode.Write {
					writes++
					if !slices.Equal(story, want) {
						t.Errorf("the story of a write is %q, want %q", story, want)
					}
				}
			}
		}
	})
	if writes != manyWrites || started != 2 || ended != 2 {
		t.Errorf("%d writes, %d starts and %d exits were observed", writes, started, ended)
	}
}

// Labels go before the lines of real guests.
func TestLabelledGuests(t *testing.T) {
	_, out := succeed(t, "hello", 2, func(j *Job) { j.Label = true })
	for node := range 2 {
		if want := fmt.Sprintf("[%d] hello, node %d\n", node, node); !strings.Contains(out.stdout, want) {
			t.Errorf("%q is not in the output:\n%s", want, out.stdout)
		}
	}
}

// The errors of the instruction set are the same numbers for guest and node.
func TestErrorNumbers(t *testing.T) {
	for number := rmem.EDESC; number >= rmem.ENOSPC; number-- {
		if got := guest.Error(number); got.Error() == "" || number.Name() == "" {
			t.Errorf("error %d has no text for the guest, or no name for the node", number)
		}
	}
}

// foregroundProcess says whether it is in the foreground of its terminal, and then whether a child in a process group of its
// own is.
func foregroundProcess() error {
	fmt.Println(foreground())
	if len(os.Args) > 1 {
		return nil
	}
	child := exec.Command("/proc/self/exe", "child")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return child.Run()
}

func TestForeground(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be had: %v", err)
	}
	defer master.Close()
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var out bytes.Buffer
	process := exec.Command("/proc/self/exe")
	process.Env = append(os.Environ(), guestVariable+"=foreground")
	process.Stdin, process.Stdout, process.Stderr = terminal, &out, &out
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := process.Run(); err != nil || out.String() != "true\nfalse\n" {
		t.Errorf("a foreground process and its background child are in the foreground: %q, error %v", out.String(), err)
	}

	// Without a terminal nobody else sends the guests their signals.
	out.Reset()
	process = exec.Command("/proc/self/exe", "child")
	process.Env = append(os.Environ(), guestVariable+"=foreground")
	process.Stdout, process.Stderr = &out, &out
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Run(); err != nil || out.String() != "false\n" {
		t.Errorf("a process without a terminal is in the foreground: %q, error %v", out.String(), err)
	}
}
