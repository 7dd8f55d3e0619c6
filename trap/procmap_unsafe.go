//go:build linux && amd64

package trap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// procmapQuery is struct procmap_query of linux/fs.h.
type procmapQuery struct {
	size, queryFlags, queryAddr                uint64
	start, end, flags, pageSize, offset, inode uint64
	devMajor, devMinor, nameSize, buildIDSize  uint32
	nameAddr, buildIDAddr                      uint64
}

const (
	// procmapQueryOp is _IOWR('f', 17, struct procmap_query).
	procmapQueryOp = 3<<30 | unsafe.Sizeof(procmapQuery{})<<16 | 'f'<<8 | 17

	vmaReadable, vmaWritable, vmaShared = 1, 2, 8
)

// queryMapping asks for the mapping at addr of the address space whose /proc/PID/maps is open as fd. The name is left out. False: there is none, or the kernel
// cannot say.
func queryMapping(fd int, addr uint64) (mapping, bool) {
	var q procmapQuery
	q.size, q.queryAddr = uint64(unsafe.Sizeof(q)), addr
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), uintptr(procmapQueryOp), uintptr(unsafe.Pointer(&q))); errno != 0 {
		return mapping{}, false
	}
	m := mapping{start: q.start, end: q.end, shared: q.flags&vmaShared != 0, off: q.offset, inode: q.inode}
	if q.flags&vmaReadable != 0 {
		m.prot |= unix.PROT_READ
	}
	if q.flags&vmaWritable != 0 {
		m.prot |= unix.PROT_WRITE
	}
	return m, true
}
