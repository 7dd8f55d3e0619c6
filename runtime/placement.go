package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A placement keeps the agent, while it hovers, off processors on which guests run. The scheduler puts a thread that is woken
// where its waker runs, and leaves it there for as long as it likes: then the guest that waits and the agent that
// it waits for have the processor by turns, a time slice each, and others are idle.
type placement struct {
	allowed unix.CPUSet // what the agent may run on
	known   bool
	own     int // the agent's stat, see proc(5); -1: not open
	pinned  bool

	// Here, as what is given to system calls would else be allocated each time.
	line  [1024]byte
	one   unix.CPUSet
	taken unix.CPUSet
}

// maxProcessors is how many a CPUSet has.
const maxProcessors = 1024

// avoid moves the agent, if it runs where one of the processors is that are taken, to one that is not. To be called on its thread.
func (p *placement) avoid(taken *unix.CPUSet) {
	if cpu := p.here(); cpu < 0 || !taken.IsSet(cpu) {
		return
	}
	for cpu := range maxProcessors {
		if p.allowed.IsSet(cpu) && !taken.IsSet(cpu) {
			p.one.Zero()
			p.one.Set(cpu)
			p.pinned = unix.SchedSetaffinity(0, &p.one) == nil || p.pinned
			return
		}
	}
}

// here is the processor that the agent is on, -1 if it cannot be told.
func (p *placement) here() int {
	if !p.known {
		p.known, p.own = true, openStat("/proc/thread-self/stat")
		if unix.SchedGetaffinity(0, &p.allowed) != nil {
			p.allowed.Zero()
		}
	}
	return lastProcessor(p.own, p.line[:])
}

// release lets the agent run wherever it may.
func (p *placement) release() {
	if p.pinned {
		p.pinned = unix.SchedSetaffinity(0, &p.allowed) != nil
	}
}

// close is for when the agent has ended.
func (p *placement) close() {
	if p.known && p.own >= 0 {
		_ = unix.Close(p.own)
	}
}

// openStat opens a file of /proc, to be read again and again; -1: it is not there.
func openStat(path string) int {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// runsOn is the processor that the guest's first thread was on last, -1 if that is not known.
func (u *usage) runsOn(line []byte) int {
	if u.place < 0 {
		if pid := u.pid(); pid > 0 {
			u.place = openStat(fmt.Sprintf("/proc/%d/stat", pid))
		}
	}
	return lastProcessor(u.place, line)
}

// lastProcessor reads from an open stat, into line, the processor that its thread was on last; -1: it cannot be told.
func lastProcessor(fd int, line []byte) int {
	if fd < 0 {
		return -1
	}
	n, err := unix.Pread(fd, line, 0)
	if err != nil {
		return -1
	}
	return processorOf(line[:n])
}

// processorOf is the field "processor", the 39th, of a line of /proc/PID/stat; -1: there is none. The second field, the command, may have
// blanks and parentheses in it.
func processorOf(line []byte) int {
	const field = 39
	i := len(line) - 1
	for i >= 0 && line[i] != ')' {
		i--
	}
	if i < 0 {
		return -1
	}
	at, n := 2, -1
	for _, c := range line[i+1:] {
		switch {
		case c == ' ':
			if at++; at > field {
				return n
			}
		case at == field && c >= '0' && c <= '9':
			n = max(n, 0)*10 + int(c-'0')
		}
	}
	return n
}
