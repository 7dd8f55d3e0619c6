package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// quietShare is the share of all CPUs' time that others may use in a run that is called quiet.
const quietShare = 0.12

// A usage is how much time of the CPUs had gone by, and where it went, when it was taken.
type usage struct {
	total, busy float64       // ticks of all CPUs
	own         time.Duration // of this process and the children that have ended
}

// newUsage takes the usage so far. Where the kernel does not say, there is none.
func newUsage() usage {
	var u usage
	if text, err := os.ReadFile("/proc/stat"); err == nil {
		u.total, u.busy = parseStat(string(text))
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			u.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return u
}

// others is the share of the CPUs' time since then that neither this process nor its children had.
func (u usage) others() float64 { return newUsage().less(u) }

func (u usage) less(before usage) float64 {
	const tick = time.Second / 100 // of /proc/stat: USER_HZ
	total := u.total - before.total
	if total <= 0 {
		return 0
	}
	return min(max((u.busy-before.busy-float64(u.own-before.own)/float64(tick))/total, 0), 1)
}

// parseStat reads the first line of /proc/stat: cpu user nice system idle iowait irq softirq steal ..., in ticks. Time that a
// hypervisor gave to others is neither idle nor busy.
func parseStat(text string) (total, busy float64) {
	var t [8]float64
	n, _ := fmt.Sscanf(text, "cpu %f %f %f %f %f %f %f %f", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	if n < 7 {
		return 0, 0
	}
	for _, v := range t {
		total += v
	}
	const idle, iowait, steal = 3, 4, 7
	return total, total - t[idle] - t[iowait] - t[steal]
}
