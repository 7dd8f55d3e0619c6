package ring

import "time"

// LongestHold is after what time a ring is given up whose lock the exporter's guest keeps without serving anything. A guest that is not on a processor for a while may
// do so without meaning to; one that is stopped by a signal lets go first.
const LongestHold = 10 * time.Second

// longestGap is how far apart two looks at the lock may be that belong to the same hold: in between, a guest that works may have had it several times.
const longestGap = time.Second

// A hold is how long the exporter's guest is known to have the lock.
type hold struct {
	since, seen time.Time // the first and the last look; zero: it has not
	head        uint64    // the furthest that was seen
}

// tooLong takes note that the guest has the lock, and how far it has come, and reports whether it keeps it for too long. A head that goes back is no progress.
func (h *hold) tooLong(head uint64, now time.Time) bool {
	if h.since.IsZero() || now.Sub(h.seen) > longestGap || int64(head-h.head) > 0 {
		h.since, h.head = now, head
	}
	h.seen = now
	return now.Sub(h.since) > LongestHold
}
