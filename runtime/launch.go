package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/runtime/join"
	"rmemrun/trap"
)

// grace is how long the other guests have to end after SIGTERM, when one has failed, before they are killed.
const grace = 2 * time.Second

// A run is a job that is running.
type run struct {
	job       *Job
	log       hclog.Logger
	nodes     []*node
	directory *directory
	trunk     *join.Trunk // to the other rmemrun; nil: there is none

	active atomic.Int64  // nodes whose guests have not ended, those of the other rmemrun too
	idle   chan struct{} // closed when there are none

	mu     sync.Mutex
	failed bool   // a guest has failed: the others are being ended
	result Result // whose and what, once failed
	err    error
	kill   *time.Timer // kills what is left when grace is over

	askedToStop bool         // SIGTSTP came, and no SIGCONT since
	handling    *disposition // of SIGTSTP, while rmemrun is stopped
}

// Run runs the job until every process of every node has ended. The first guest that fails ends the others: SIGTERM, and
// after two seconds SIGKILL.
//
// Signals to rmemrun: SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 go to the guests, and so do SIGINT, SIGQUIT and SIGTSTP unless they
// come from the terminal, which has sent them to the guests too. rmemrun itself ends when its guests have, and stops when they
// have.
//
// The error says why the job could not be run, or not to its end; Result.Status is then 125, 126 or 127, but the status of a
// guest that failed before.
func (j *Job) Run() (Result, error) {
	nodes, err := j.nodes()
	if err != nil {
		return Result{Status: StatusFault, Node: -1}, err
	}
	newEngine, err := j.engine()
	if err != nil {
		return Result{Status: StatusFault, Node: -1}, err
	}
	paths := make([]string, len(j.Programs))
	for i, p := range j.Programs {
		path, status, err := find(p.Path)
		if err != nil {
			return Result{Status: status, Node: -1}, err
		}
		paths[i] = path
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return Result{Status: StatusFault, Node: -1}, fmt.Errorf("open what guests read and write by default: %w", err)
	}
	defer null.Close()

	enoughProcessors(nodes)

	r := &run{job: j, log: j.Log, result: Result{Node: -1}}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	first, total := 0, nodes
	if j.Join != nil {
		if r.trunk, err = j.Join.trunk(nodes, r.log); err != nil {
			return Result{Status: StatusFault, Node: -1}, err
		}
		defer r.trunk.Close()
		first, total = r.trunk.First(), r.trunk.Total()
		if j.Join.Joined != nil {
			if err := j.Join.Joined(first, total); err != nil {
				return Result{Status: StatusFault, Node: -1}, err
			}
		}
	}
	r.directory = newDirectory(total)
	r.idle = make(chan struct{})
	r.active.Store(int64(total))
	var events *stream
	if j.Observer != nil {
		events = &stream{start: time.Now(), observer: j.Observer}
	}
	network, err := j.network(first, nodes, events, r.log)
	if err != nil {
		return Result{Status: StatusFault, Node: -1}, err
	}
	defer network.close()
	testimony := newTestimony(j.Witness)
	bypasses, err := j.bypasses(nodes, network, testimony, r.log)
	if err != nil {
		return Result{Status: StatusFault, Node: -1}, err
	}
	if bypasses != nil {
		defer bypasses.close()
	}
	common := newCommons()
	for local := range nodes {
		var n *node
		if r.trunk == nil {
			n = newNode(local, nodes, network, r.directory, events, testimony, r.log)
		} else if n, err = newJoinedNode(local, r.trunk, network, r.directory, events, testimony, r.log); err != nil {
			return Result{Status: StatusFault, Node: -1}, err
		}
		if network.memory {
			n.commons = common
			common.join(n.id)
		}
		n.bypasses = bypasses
		n.engine = newEngine(n.engineConfig(r))
		r.nodes = append(r.nodes, n)
	}
	if bypasses != nil {
		bypasses.nodes = r.nodes
	}
	if bypasses != nil && r.trunk != nil {
		if err := bypasses.join(r.trunk.Link()); err != nil {
			r.log.Debug("the agent does not look at the link by itself", "reason", err)
		}
	}
	if r.trunk != nil {
		if err := r.trunk.Start(site{r}); err != nil {
			return Result{Status: StatusFault, Node: -1}, err
		}
	}
	stop := r.forwardSignals()
	defer stop()
	if j.Monitor != nil {
		j.Monitor(&NetworkMonitor{fabric: network, trunk: r.trunk})
	}
	network.start()

	var labels labeller
	var guests sync.WaitGroup
	local := 0
	for i, p := range j.Programs {
		for range p.Nodes {
			n := r.nodes[local]
			command := trap.Command{
				Path: paths[i], Args: append([]string{p.Path}, p.Args...), Env: j.environment(first+local, total),
				Stdin: null, Stdout: orNull(j.Stdout, null), Stderr: orNull(j.Stderr, null),
			}
			if local == 0 {
				command.Stdin = orNull(j.Stdin, null)
			}
			guests.Go(func() { r.guest(n, command, &labels) })
			local++
		}
	}
	guests.Wait()
	labels.wait()
	return r.end()
}

// enoughProcessors lets the Go scheduler run all engines at once, on however few CPUs. An engine that comes back from wait4
// while others hold all processors of the scheduler would wait for one, and its guest with it: with two CPUs, the median of
// a notification was 118 µs instead of 70.
func enoughProcessors(nodes int) {
	const others = 3 // the signals' goroutine, the collector, the agent
	if goruntime.GOMAXPROCS(0) < nodes+others {
		goruntime.GOMAXPROCS(nodes + others)
	}
}

// orNull returns f, or null if there is no f.
func orNull(f, null *os.File) *os.File {
	if f == nil {
		return null
	}
	return f
}

// find finds a program as a shell does, or says why it cannot, with the exit status for that.
func find(name string) (path string, status int, err error) {
	path, err = exec.LookPath(name)
	if err == nil || errors.Is(err, exec.ErrDot) { // PATH names the current directory: so be it
		return path, 0, nil
	}
	var look *exec.Error
	if errors.As(err, &look) {
		err = look.Err
	}
	var stat *fs.PathError
	if errors.As(err, &stat) {
		err = stat.Err
	}
	status = StatusNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		status = StatusNotFound
	}
	return "", status, fmt.Errorf("cannot run %s: %w", name, err)
}

// guest runs the guest of one node until its last process has ended, and then takes the node out of the job.
func (r *run) guest(n *node, command trap.Command, labels *labeller) {
	if r.job.Label {
		for _, out := range []**os.File{&command.Stdout, &command.Stderr} {
			w, err := labels.attach(n.id, *out)
			if err != nil {
				r.fail(n.id, StatusFault, 0, err)
				r.leave(n)
				return
			}
			defer w.Close()
			*out = w
		}
	}
	n.report(&Event{Kind: Start, Path: command.Path})
	ws, err := n.engine.Run(command)
	status, sig := exitStatus(ws), endingSignal(ws)
	if err != nil {
		status = runStatus(err)
		err = fmt.Errorf("node %d: %w", n.id, err)
	}
	n.report(&Event{Kind: Exit, Status: status})
	if status != 0 {
		r.fail(n.id, status, sig, err)
	}
	r.leave(n)
}

// lingering is how long a node whose guest has ended goes on to answer, on a network on which its last answers may be under way, or
// lost: longer than the cut of a link may last that its peers survive without noticing.
const lingering = 4 * time.Second

// leave takes a node whose guest has ended out of the job: it answers nobody any more, and the others are told.
func (r *run) leave(n *node) {
	r.guestEnded(n)
	r.directory.Leave(n.id)
	if n.slow {
		if r.trunk != nil {
			r.trunk.Ended(n.id)
		}
		r.over()
		select {
		case <-r.idle: // nobody is left to ask
		case <-time.After(lingering):
		}
	}
	n.rmem.Close()
	for _, other := range r.nodes {
		if other != n {
			other.rmem.PeerDown(n.id)
		}
	}
	if r.trunk != nil {
		r.trunk.Leave(n.id)
	}
}

// over notes that the guest of a node has ended.
func (r *run) over() {
	if r.active.Add(-1) == 0 {
		close(r.idle)
	}
}

// fail notes that the guest of a node has failed. If it is the first, it ends the others.
func (r *run) fail(id, status int, sig syscall.Signal, err error) {
	r.mu.Lock()
	if r.failed {
		r.mu.Unlock()
		if err != nil {
			r.log.Debug("another guest failed", "node", id, "status", status, "error", err)
		}
		return
	}
	r.failed = true
	r.result.Status, r.result.Signal, r.result.Node, r.err = status, sig, id, err
	r.kill = time.AfterFunc(grace, func() { r.signal(syscall.SIGKILL) })
	r.mu.Unlock()
	r.signal(syscall.SIGTERM)
}

// signal sends a signal to every guest. Engines take it before their guest has started and after it has ended.
func (r *run) signal(sig syscall.Signal) {
	for _, n := range r.nodes {
		n.engine.Signal(sig)
	}
}

// end returns the result when all guests have ended.
func (r *run) end() (Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kill != nil {
		r.kill.Stop()
	}
	for _, n := range r.nodes {
		r.result.Instructions += n.instructions
	}
	return r.result, r.err
}

// exitStatus is the status of a guest as a shell gives it.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return StatusSignal + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// endingSignal is the signal that ended a guest, 0 if it exited.
func endingSignal(ws syscall.WaitStatus) syscall.Signal {
	if ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

// runStatus is the exit status for an error of an engine: what a shell gives where execve says that the program cannot be
// executed, and else our own fault, such as tracing that is not permitted.
func runStatus(err error) int {
	switch {
	case errors.Is(err, syscall.ENOENT): // of a script's interpreter, too
		return StatusNotFound
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ETXTBSY),
		errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ELIBBAD):
		return StatusNotExecutable
	}
	return StatusFault
}
