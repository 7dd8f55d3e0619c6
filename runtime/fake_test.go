package runtime

import (
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"rmemrun/trap"
)

// A fakeEngine plays a guest by a Go function in place of a process.
type fakeEngine struct {
	trap.Config
	guest   func(*fakeEngine, trap.Command) (syscall.WaitStatus, error)
	signals chan syscall.Signal
}

func (e *fakeEngine) Run(c trap.Command) (syscall.WaitStatus, error) {
	ws, err := e.guest(e, c)
	if err == nil && e.Exited != nil {
		e.Exited(ws)
	}
	return ws, err
}

func (e *fakeEngine) Signal(sig syscall.Signal) {
	select {
	case e.signals <- sig:
	default: // the guest takes no more
	}
}

// exited is the wait status of a guest that exited by itself, signaled that of one that a signal ended.
func exited(status int) syscall.WaitStatus           { return syscall.WaitStatus(status << 8) }
func signaled(sig syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(sig) }

// A guestFunc is what one node of a fake job does; it returns the wait status.
type guestFunc func(*fakeEngine, trap.Command) (syscall.WaitStatus, error)

// fakeJob is a job whose node i does guests[i].
func fakeJob(t *testing.T, guests ...guestFunc) *Job {
	t.Helper()
	self, err := os.Executable() // a program that exists; it is not executed
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	next := 0
	return &Job{
		Programs: []Program{{Path: self, Nodes: len(guests)}},
		Env:      []string{"PATH=/bin"},
		Log:      hclog.NewNullLogger(),
		newEngine: func(c trap.Config) trap.Engine {
			mu.Lock()
			defer mu.Unlock()
			e := &fakeEngine{Config: c, guest: guests[next], signals: make(chan syscall.Signal, 16)}
			next++
			return e
		},
	}
}

// exit is a guest that exits at once.
func exit(status int) guestFunc {
	return func(*fakeEngine, trap.Command) (syscall.WaitStatus, error) { return exited(status), nil }
}

// untilSignal is a guest that runs until one of the signals ends it, and ignores all others.
func untilSignal(ending ...syscall.Signal) guestFunc {
	return func(e *fakeEngine, _ trap.Command) (syscall.WaitStatus, error) {
		for got := range e.signals {
			for _, sig := range ending {
				if got == sig {
					return signaled(sig), nil
				}
			}
		}
		panic("unreachable: the channel is never closed")
	}
}
