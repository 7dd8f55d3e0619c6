package atm

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A RealClock is the machine's monotonic clock. Its functions run in goroutines of their own.
//
// Timers of package time are late by up to a millisecond while a program is idle, since the Go runtime waits for them in whole milliseconds:
// that is 350 cells at OC-3. A RealClock waits for a timer of the kernel (timerfd_create(2)) instead, which is late by what
// the machine needs to wake up. While functions are due it has one goroutine, else none; there is nothing to close.
type RealClock struct {
	began time.Time

	mu      sync.Mutex
	agenda  agenda
	timer   *os.File // nil until it is needed
	waiting bool     // a goroutine waits for the timer
}

// NewRealClock makes a clock that begins now.
func NewRealClock() *RealClock { return &RealClock{began: time.Now()} }

// Now is the time since the clock was made.
func (r *RealClock) Now() time.Duration { return time.Since(r.began) }

// AfterFunc is that of [Clock]. If the kernel gives no timer, one of package time is used.
func (r *RealClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		if err != nil {
			return time.AfterFunc(d, f).Stop
		}
		r.timer = os.NewFile(uintptr(fd), "timerfd")
	}
	e := r.agenda.add(r.Now()+max(d, 0), f)
	if e.index == 0 {
		r.set(d)
	}
	if !r.waiting {
		r.waiting = true
		go r.wait()
	}
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		ok := r.agenda.remove(e)
		if ok && len(r.agenda.events) == 0 {
			r.set(0) // lets the goroutine end
		}
		return ok
	}
}

// set makes the timer wake the goroutine in d. r.mu is held.
func (r *RealClock) set(d time.Duration) {
	// A timer of 0 would be none. Nothing can go wrong: the timer is one, and the time is valid.
	value := unix.ItimerSpec{Value: unix.NsecToTimespec(max(d, 1).Nanoseconds())}
	_ = r.control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &value, nil) })
}

// control calls f with the timer's descriptor, which stays open meanwhile.
func (r *RealClock) control(f func(fd uintptr)) error {
	raw, err := r.timer.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// wait starts what is due, until nothing is left.
func (r *RealClock) wait() {
	var expirations [8]byte
	for {
		// An error would be that of a closed file, which this one is not before the clock itself is garbage; looking at the
		// agenda once more is right in any case.
		_, _ = r.timer.Read(expirations[:])
		r.mu.Lock()
		now := r.Now()
		for e := r.agenda.due(now); e != nil; e = r.agenda.due(now) {
			go e.f()
		}
		if len(r.agenda.events) == 0 {
			r.waiting = false
			r.mu.Unlock()
			return
		}
		r.set(r.agenda.events[0].at - now)
		r.mu.Unlock()
	}
}
