package runtime

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Processors say who may spin. Those who do never outnumber the processors there are: if one more would, everybody who waits gives
// his processor away at once, as it is what he waits for that needs it.
//
// A guest counts for as many processors as it has used of late, by the clock that the kernel keeps of its process. If others than guests
// use processors, the agent sees that it does not get one all the time that it hovers, or that guests have to wait for theirs. All
// this is looked at only while the agent is awake.
type processors struct {
	cpus   int
	poll   Poll
	change func(turns, yields uint32) // of how guests wait
	spin   atomic.Uint32              // for how many turns guests spin; the agent stores it
	yields atomic.Uint32              // how often they give their processor away then

	// Others that spin, if the run is joined: the agent, as it looks at the link, and that of the other rmemrun, if it is on this machine.
	linked bool
	beside int
	from   func() int // the processor that the other rmemrun last sent from, if it is on this machine; nil: there is no wire

	// The agent's.
	hover   bool // the agent may spin
	shared  bool // but one of those that spin, perhaps the agent, has to share a processor with another
	sampled time.Duration
	own     time.Duration // what the agent had used then
	rested  bool          // it has slept since
	crowded int           // for so many samples more, there is no processor to be had
	place   placement
	taken   unix.CPUSet // on which guests ran that were busy when they were sampled

	mu     sync.Mutex // over guests; the agent only tries
	guests []*usage
}

// A usage is how much of the processors a guest uses.
type usage struct {
	pid  func() int
	last time.Duration // what it had used when it was sampled
	busy [memory]int   // how many processors it used then, and before

	stat   int // its schedstat, see proc(5); -1: not open
	place  int // its stat; as well
	waited time.Duration
	line   [64]byte
}

// A Poll says whether the agent may spin.
type Poll uint8

// Poll's values.
const (
	PollAuto Poll = iota // while there is a processor for it
	PollYes
	PollNo
)

var pollNames = [...]string{PollAuto: "auto", PollYes: "yes", PollNo: "no"}

// String is "auto", "yes" or "no".
func (p Poll) String() string { return pollNames[p] }

// Polls are the names of all Polls.
func Polls() []string { return pollNames[:] }

// ParsePoll is the Poll of a name.
func ParsePoll(name string) (Poll, error) {
	i := slices.Index(pollNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q says nothing about polling; there is %q", name, pollNames)
	}
	return Poll(i), nil
}

const (
	// sampling is how often guests' clocks are read.
	sampling = 4 * time.Millisecond

	// memory is how many samples a guest counts for that has used a processor in one of them: one that waits for
	// its turn, while others have theirs, must not be forgotten.
	memory = 4

	// crowdedFor is for how many samples nobody spins, when the agent has found that others want its processor.
	crowdedFor = 12

	// Guests spin for so many turns, of a PAUSE each (23 ns where this was measured; processors differ): many, if the agent or another guest is there to answer; few, if the agent
	// sleeps, and may have to be given this processor.
	manyTurns = 2000
	fewTurns  = 100

	// A guest in rmem_wait spins for so many turns, if it may spin at all: longer than it takes to trap, to sleep, to be woken and to be let go on. So
	// nobody loses much by having spun in vain, and of two who answer each other one that has had to sleep finds the other still awake.
	dwellTurns = 8000

	// yieldTurns is how often a guest then gives its processor away, before it traps: for help, or to sleep. Each
	// time, all others who want the processor may have it for a time slice, so that a trap is soon the shorter way.
	yieldTurns = 2

	// sharedTurns is the same where the agent, or the other rmemrun, gives it back at once.
	sharedTurns = 100
)

func newProcessors(cpus int, p Poll, nodes int, change func(turns, yields uint32)) *processors {
	if cpus <= 0 {
		cpus = available()
	}
	q := &processors{cpus: cpus, poll: p, change: change, hover: p == PollYes}
	q.spin.Store(q.turns(nodes))
	q.yields.Store(yieldTurns)
	return q
}

// available is how many processors this process may use.
func available() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 1
	}
	return max(set.Count(), 1)
}

// add counts a guest, by its process.
func (p *processors) add(pid func() int) *usage {
	u := &usage{pid: pid, stat: -1, place: -1}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guests = append(p.guests, u)
	return u
}

// remove counts it no more.
func (p *processors) remove(u *usage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guests = slices.DeleteFunc(p.guests, func(v *usage) bool { return v == u })
	u.close()
}

// consider decides anew who may spin, if it is time to.
func (p *processors) consider(now time.Duration) {
	passed := now - p.sampled
	if passed < sampling || !p.mu.TryLock() {
		return
	}
	p.sampled = now
	running, waited := 0, time.Duration(0)
	p.taken.Zero()
	for _, u := range p.guests {
		running += u.sample(processTime(u.pid()), passed)
		waited += u.waits()
		if u.busy[0] > 0 {
			if cpu := u.runsOn(p.place.line[:]); cpu >= 0 {
				p.taken.Set(cpu)
			}
		}
	}
	p.mu.Unlock()
	own := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	p.crowd(own-p.own, waited, passed)
	p.own, p.rested = own, false
	p.decide(running)
	switch {
	case p.shared:
		p.place.share(&p.taken, p.other())
	case p.hover:
		p.place.avoid(&p.taken)
	default:
		p.place.release()
	}
}

// other is the processor of the other rmemrun's agent, -1 if that is not known.
func (p *processors) other() int {
	if p.beside == 0 || p.from == nil {
		return -1
	}
	return p.from()
}

// giveWay moves the agent, which was woken and is going to hover, off the processor that it is on: most likely that of the guest that
// has woken it, and waits for what comes next.
func (p *processors) giveWay() {
	if p.shared {
		return
	}
	p.place.taken = p.taken
	if cpu := p.place.here(); cpu >= 0 {
		p.place.taken.Set(cpu)
	}
	p.place.avoid(&p.place.taken)
}

// crowd looks whether processors are to be had, when of the time that has passed the agent has used some, and guests have waited some for theirs.
func (p *processors) crowd(used, waited, passed time.Duration) {
	switch {
	case p.hover && !p.rested && used < passed*3/4, waited > passed/2:
		p.crowded = crowdedFor
	case p.crowded > 0:
		p.crowded--
	}
}

// decide decides who may spin, while so many processors are used by guests.
func (p *processors) decide(running int) {
	if p.linked {
		running = max(running, 1) // one may begin at any moment to wait for the other rmemrun
	}
	if p.crowded > 0 && p.poll != PollYes { // who says so knows better
		running += p.cpus
	}
	running += p.beside
	switch p.poll {
	case PollAuto:
		p.hover = running < p.cpus && p.cpus > 1 // the only one is the guests'
	default:
		p.hover = p.poll == PollYes
	}
	yields := uint32(yieldTurns)
	if p.linked && p.hover {
		running++
		if running > p.cpus {
			yields = sharedTurns
		}
	}
	p.shared = yields == sharedTurns
	if turns := p.turns(running); turns != p.spin.Load() || yields != p.yields.Load() {
		p.spin.Store(turns)
		p.yields.Store(yields)
		p.change(turns, yields)
	}
}

// turns is for how many turns guests spin while so many processors are used by them.
func (p *processors) turns(running int) uint32 {
	switch {
	case running > p.cpus, p.cpus == 1 && !p.hover: // whoever is to answer needs the processor that one would spin on
		return 0
	case p.hover:
		return manyTurns
	}
	return fewTurns
}

// sample takes note of what the guest has used in all, and returns how many processors it counts for.
func (u *usage) sample(used, passed time.Duration) int {
	copy(u.busy[1:], u.busy[:])
	u.busy[0] = int((used - u.last + passed*7/8) / passed) // an eighth of one counts
	if used < u.last || u.last == 0 {
		u.busy[0] = min(u.busy[0], 1) // it is another process, or the first time
	}
	u.busy[0] = max(u.busy[0], 0)
	u.last = used
	return slices.Max(u.busy[:])
}

// waits is how long the guest, its first thread at least, has waited for a processor since it was last asked.
func (u *usage) waits() time.Duration {
	if u.stat < 0 {
		pid := u.pid()
		if pid <= 0 {
			return 0
		}
		var err error
		if u.stat, err = unix.Open(fmt.Sprintf("/proc/%d/schedstat", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			u.stat = -1
			return 0
		}
	}
	n, err := unix.Pread(u.stat, u.line[:], 0)
	if err != nil { // it has ended; perhaps another thread has its place
		u.close()
		return 0
	}
	before := u.waited
	u.waited = second(u.line[:n])
	if before == 0 || u.waited < before {
		return 0
	}
	return u.waited - before
}

func (u *usage) close() {
	for _, fd := range []*int{&u.stat, &u.place} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// second is the second of the numbers in a line.
func second(line []byte) (n time.Duration) {
	fields := 0
	for _, c := range line {
		switch {
		case c == ' ':
			fields++
		case fields == 1 && c >= '0' && c <= '9':
			n = n*10 + time.Duration(c-'0')
		}
	}
	return n
}

// processTime is how long the threads of a process have run, 0 if there is none.
func processTime(pid int) time.Duration {
	if pid <= 0 { // these numbers mean this process
		return 0
	}
	const cpuclockSched = 2 // include/linux/posix-timers.h, as clock_getcpuclockid(3) has it
	return clock(int32(^pid<<3 | cpuclockSched))
}

// clock reads a clock of the kernel's, 0 if there is none of that number.
func clock(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
