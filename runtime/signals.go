package runtime

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rmemrun and its guests are in one process group. A terminal sends its signals to all of them; what somebody sends to
// rmemrun alone is passed on.
//
// A guest may do something before it stops at ^Z, or not stop at all, so rmemrun does not stop by itself but after its guests.
// Then the shell sees it stopped, as it would see the guest.
//
//	            SIGTSTP              all guests are stopped
//	  going ─────────────▶ asked to ────────────────────────▶ stopped
//	    ▲                   stop                                │
//	    │ SIGCONT             │ SIGCONT                         │ SIGCONT
//	    └─────────────────────┴─────────────────────────────────┘

// passedOn are the signals that go to the guests unless the terminal has sent them there.
var passedOn = []syscall.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP}

// resumption is how long after a SIGCONT guests that are still stopped are sent it: it was then not for the process group.
const resumption = 100 * time.Millisecond

// forwardSignals serves the signals that come to rmemrun until stop is called.
func (r *run) forwardSignals() (stop func()) {
	signals := make(chan os.Signal, 8)
	ignored := ignoredSignals()
	for _, sig := range passedOn {
		if ignored&(1<<(sig-1)) == 0 { // nohup: guests ignore it too, as they inherit that
			signal.Notify(signals, sig)
		}
	}
	signal.Notify(signals, unix.SIGCONT)
	done := make(chan struct{})
	go func() {
		var late <-chan time.Time
		for {
			select {
			case <-done:
				return
			case <-late:
				r.resumeGuests()
			case sig := <-signals:
				switch sig {
				case unix.SIGCONT:
					r.resumed()
					late = time.After(resumption)
					continue
				case unix.SIGTSTP:
					r.askToStop()
				}
				if (sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGTSTP) && foreground() {
					continue
				}
				r.signal(sig.(syscall.Signal))
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// askToStop notes that rmemrun is to stop when its guests have.
func (r *run) askToStop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.askedToStop = true
	r.suspend()
}

// resumed notes a SIGCONT.
func (r *run) resumed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.askedToStop = false
	if r.handling != nil {
		r.handling.restore(unix.SIGTSTP)
		r.handling = nil
	}
}

// guestStopped notes that the root process of a node's guest has been stopped, or goes on.
func (r *run) guestStopped(n *node, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.stopped = yes
	r.suspend()
}

// guestEnded notes that the root process of a node's guest has ended.
func (r *run) guestEnded(n *node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.ended = true
	r.suspend()
}

// suspend stops rmemrun if it was asked to and its guests, of those that have not ended, are stopped. r.mu is held.
func (r *run) suspend() {
	stopped := false
	for _, n := range r.nodes {
		if !n.stopped && !n.ended {
			return
		}
		stopped = stopped || !n.ended
	}
	if !r.askedToStop || !stopped {
		return
	}
	r.askedToStop = false
	r.handling = setDefault(unix.SIGTSTP)
	_ = unix.Kill(unix.Getpid(), unix.SIGTSTP) // to oneself is always allowed
}

// resumeGuests lets the guests go on that are stopped though rmemrun is not.
func (r *run) resumeGuests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.askedToStop {
		return
	}
	for _, n := range r.nodes {
		if n.stopped && !n.ended {
			n.engine.Signal(unix.SIGCONT)
		}
	}
}

// ignoredSignals returns the set of signals that rmemrun, and so its guests, ignore: signal N is bit N-1.
func ignoredSignals() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nSigIgn:\t")
	field, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(field, 16, 64)
	if err != nil {
		return 0
	}
	return set
}

// foreground reports whether rmemrun's process group, which the guests are in too, is the one that the terminal sends
// its signals to.
func foreground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
