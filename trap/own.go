//go:build linux && amd64

package trap

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// windows are memory of a guest that this process maps, too, because the guest exports it. What a guest reads or writes there with a
// remote instruction is copied through our mapping: process_vm_readv, which has to look up each page, takes three times as long for much.
//
// The guest may meanwhile have unmapped or protected that memory, or have other memory there, and then the mapping is not what it would see. So the kernel is asked
// each time, by PROCMAP_QUERY (Linux 6.11), what is mapped there and how. If that changes while we copy, the copy counts as made before.
//
// Our mappings end only when nobody copies: mu is the last lock.
type windows struct {
	mu   sync.RWMutex
	list []window
	maps int // of the address space, opened at need; 0: it is not open
}

// A window is a part of a Shared that lies in one file.
type window struct {
	shared     *Shared
	start, end uint64 // in the guest
	inode      uint64
	off        uint64 // of start in the file
	bytes      []byte // ours
}

// wide is how many bytes are worth the question. A process_vm_readv of so much takes about twice as long as question and copy.
const wide = 8 << 10

// open adds what sh maps.
func (w *windows) open(sh *Shared, tid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.maps == 0 {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/maps", tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return // it goes without
		}
		w.maps = fd
	}
	for _, p := range sh.pieces {
		w.list = append(w.list, window{
			shared: sh, start: p.start, end: p.end, inode: p.file.inode, off: uint64(p.off),
			bytes: sh.pages[p.start-sh.start : p.end-sh.start],
		})
	}
}

// shut takes away what sh maps. When it returns, nobody copies there any more.
func (w *windows) shut(sh *Shared) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = slices.DeleteFunc(w.list, func(v window) bool { return v.shared == sh })
}

// close takes all away.
func (w *windows) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = nil
	if w.maps != 0 {
		_ = unix.Close(w.maps)
		w.maps = 0
	}
}

// copy copies between p and the guest's memory at addr, if that is in a window, and the guest may do the same there; else it
// returns false and has done nothing.
func (w *windows) copy(write bool, addr uint64, p []byte) bool {
	if len(p) < wide {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	ours := w.find(write, addr, uint64(len(p)))
	switch {
	case ours == nil:
		return false
	case write:
		copy(ours, p)
	default:
		copy(p, ours)
	}
	return true
}

// readable reports whether n bytes at addr are in a window and the guest may read them.
func (w *windows) readable(addr, n uint64) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.find(false, addr, n) != nil
}

// find is our mapping of n bytes at addr, nil if there is none or it is not what the guest has there. w.mu is held.
func (w *windows) find(write bool, addr, n uint64) []byte {
	for i := range w.list {
		v := &w.list[i]
		if addr < v.start || addr >= v.end || v.end-addr < n {
			continue
		}
		if !v.shown(w.maps, addr, addr+n, write) {
			return nil
		}
		return v.bytes[addr-v.start:][:n]
	}
	return nil
}

// shown reports whether the guest has the window's file at the same place from start to end, and may read, or write, there.
func (v *window) shown(maps int, start, end uint64, write bool) bool {
	m, ok := queryMapping(maps, start)
	need := uint64(unix.PROT_READ)
	if write {
		need |= unix.PROT_WRITE
	}
	return ok && m.start <= start && end <= m.end && m.shared && m.prot&need == need &&
		m.inode == v.inode && m.off+(start-m.start) == v.off+(start-v.start)
}
