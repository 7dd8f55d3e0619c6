package runtime

import "golang.org/x/sys/unix"

// yield gives the processor of this thread to others who want it. The scheduler of the goroutines is told, as it may take long.
func yield() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
