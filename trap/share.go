//go:build linux && amd64

package trap

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Shared is a range of a guest's memory that this process maps too. What either
// side stores the other sees, as two threads of one process would.
type Shared struct {
	Bytes []byte // the range, neither more nor less

	space      *Space
	start, end uint64  // whole pages, in the guest
	addr       uint64  // of Bytes, in the guest
	length     uint64  // of Bytes
	files      []*file // that they lay in when they were shared
	pieces     []piece // the same, in order
	pages      []byte  // our mapping of them
}

// extent is a run of pages of the guest that lie in a memory file. Extents do not
// overlap; exported ranges that overlap have extents in common.
type extent struct {
	start, end uint64 // in the guest
	file       *file
	off        int64 // of start in the file
	users      int   // Shareds that contain it
}

// file is a memory file that holds pages of one address space.
type file struct {
	fd    int
	inode uint64
	users int // extents, and Shareds that lie in it
}

func (f *file) drop() {
	if f.users--; f.users == 0 {
		_ = unix.Close(f.fd)
	}
}

// Share maps a range of the guest's memory into this process: its pages move into
// a memory file that takes their place in the guest. All threads of the address
// space are stopped meanwhile. Whole pages move, so the guest's data around the
// range moves with it, but is not part of Bytes. With write the guest itself must
// be able to write there.
//
// It may be called only within Handler.Execute, for the space of the call. The
// errors are ErrWrap, ErrUnmapped, ErrStack, ErrForeign, ErrAccess, ErrNoSpace and
// ErrGone; after an error nothing has changed.
func (s *Space) Share(addr, length uint64, write bool) (*Shared, error) {
	t := s.current()
	if t == nil {
		return nil, ErrGone
	}
	const top = 1 << 47 // the end of user addresses
	if length == 0 || length > top || addr > top-length {
		return nil, fmt.Errorf("share %d bytes at %#x: %w", length, addr, ErrWrap)
	}
	sh := &Shared{
		space: s,
		addr:  addr, length: length,
		start: addr &^ (pageSize - 1),
		end:   (addr + length + pageSize - 1) &^ (pageSize - 1),
	}
	e := s.engine
	if !e.halt(s, t) {
		return nil, ErrGone
	}
	defer e.release(s)
	all, err := mappings(s.PID(), sh.start, sh.end)
	if err != nil {
		err = hereError("look at the guest's mappings", err)
	} else {
		s.forgetReplaced(all, sh.start, sh.end)
		err = s.mayShare(all, addr, addr+length, sh.start, sh.end, write)
	}
	if err == nil {
		err = s.move(t, sh.start, sh.end)
	}
	if err == nil {
		s.use(sh)
		if err = s.mapHere(sh); err != nil {
			s.disuse(sh)
			s.giveBack(t)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("share %d bytes at %#x: %w", length, addr, err)
	}
	sh.Bytes = sh.pages[addr-sh.start:][:length:length]
	s.own.open(sh, s.PID())
	return sh, nil
}

// Unshare ends Share: Bytes must not be used any more. Pages that no other Shared
// contains become private memory of the guest again, with what they hold.
func (s *Space) Unshare(sh *Shared) {
	s.own.shut(sh)
	_ = unix.Munmap(sh.pages)
	sh.Bytes, sh.pages = nil, nil
	s.disuse(sh)
	t := s.current()
	if t == nil {
		return // with the process its mappings are gone; free drops the rest
	}
	if !s.engine.halt(s, t) {
		return
	}
	s.giveBack(t)
	s.engine.release(s)
}

// current returns the thread for which the handler runs, if it can make system
// calls for us.
func (s *Space) current() *Thread {
	if s.dead {
		return nil
	}
	for t := range s.threads {
		if t.serving {
			return t
		}
	}
	return nil
}

// forgetReplaced drops the extents of [start, end), whose mappings all are, that are not
// what the guest has there any more: it has unmapped or moved exported memory, and may
// have mapped other memory in its place. The segments that contain them go on with the
// memory file.
func (s *Space) forgetReplaced(all []mapping, start, end uint64) {
	for _, m := range all {
		s.split(m.start)
		s.split(m.end)
	}
	s.split(start)
	s.split(end)
	s.extents = slices.DeleteFunc(s.extents, func(x *extent) bool {
		if x.end <= start || x.start >= end {
			return false
		}
		i := slices.IndexFunc(all, func(m mapping) bool { return m.start <= x.start && x.end <= m.end })
		if i >= 0 && all[i].shows(x) {
			return false
		}
		x.file.drop()
		return true
	})
}

// shows tells whether the mapping, which covers the extent, is of the extent's pages.
func (m mapping) shows(x *extent) bool {
	return m.shared && m.inode == x.file.inode && m.off+(x.start-m.start) == uint64(x.off)
}

// mayShare checks that the pages from start to end can be moved; all are their mappings. The guest asked
// for [from, to) of them. Memory that is missing or of the wrong protection comes
// before memory of the wrong kind, wherever either is.
func (s *Space) mayShare(all []mapping, from, to, start, end uint64, write bool) error {
	at := start
	var kind error // of the first mapping that is of the wrong kind
	for _, m := range all {
		if m.start > at {
			break
		}
		at = m.end
		switch {
		case m.prot&unix.PROT_READ == 0:
			return fmt.Errorf("%w: %v cannot be read", ErrAccess, m)
		case write && m.prot&unix.PROT_WRITE == 0:
			return fmt.Errorf("%w: %v cannot be written", ErrAccess, m)
		case kind != nil:
		case m.name == "[stack]", s.isStack(m, start, end):
			kind = fmt.Errorf("%w (%v): it is gone when its function returns; export static or allocated memory", ErrStack, m)
		case m.shared && !s.holds(max(m.start, start), min(m.end, end)),
			m.name == "[vdso]", m.name == "[vvar]", m.name == "[vvar_vclock]", m.name == "[vsyscall]":
			kind = fmt.Errorf("%w (%v): export private memory", ErrForeign, m)
		}
	}
	if at < end {
		return fmt.Errorf("%w at %#x", ErrUnmapped, max(at, from))
	}
	return kind
}

// isStack tells whether a mapping that touches [start, end) is, or may be, the
// stack of a thread: it is the one that the thread's stack pointer is in, with the
// thread's own data (struct pthread) at its end; or the range contains the stack
// pointer.
func (s *Space) isStack(m mapping, start, end uint64) bool {
	const threadData = 16 << 10
	for t := range s.threads {
		sp, fs := t.regs.Rsp, t.regs.Fs_base
		if !t.serving && t.slept == nil { // else the registers are known, and not in the thread
			var r unix.PtraceRegs
			if getRegs(t.tid, &r) == 0 {
				sp, fs = r.Rsp, r.Fs_base
			}
		}
		if sp >= start && sp < end {
			return true
		}
		if sp >= m.start && sp < fs && fs < m.end && m.end-fs <= threadData {
			return true
		}
	}
	return false
}

// holds tells whether all of [start, end) lies in extents.
func (s *Space) holds(start, end uint64) bool {
	for _, x := range s.extents {
		if x.start <= start && start < x.end {
			start = x.end
		}
	}
	return start >= end
}

// gaps returns the parts of [start, end) that are in no extent.
func (s *Space) gaps(start, end uint64) [][2]uint64 {
	var gaps [][2]uint64
	for _, x := range s.extents {
		if x.end <= start || x.start >= end {
			continue
		}
		if x.start > start {
			gaps = append(gaps, [2]uint64{start, x.start})
		}
		start = x.end
	}
	if start < end {
		gaps = append(gaps, [2]uint64{start, end})
	}
	return gaps
}

// move makes extents of all pages of [start, end) that are in none.
func (s *Space) move(t *Thread, start, end uint64) error {
	gaps := s.gaps(start, end)
	if len(gaps) == 0 {
		return nil
	}
	var size uint64
	for _, g := range gaps {
		size += g[1] - g[0]
	}
	e := s.engine
	name := s.foothold.scratch([]byte("rmemrun segment\x00"))
	fd, err := e.syscall(t, unix.SYS_MEMFD_CREATE, name, memfdFlags)
	if err != nil {
		return shareError("make a memory file", err)
	}
	defer func() {
		if err != ErrGone {
			_, _ = e.syscall(t, unix.SYS_CLOSE, fd)
		}
	}()
	f, err := newFile(t.tid, fd, size)
	if err != nil {
		return err
	}
	f.users++ // ours, until the extents have theirs
	defer f.drop()
	var off int64
	for _, g := range gaps {
		if err = s.fill(f, off, g[0], g[1]); err != nil {
			return err
		}
		off += int64(g[1] - g[0])
	}
	off = 0
	for _, g := range gaps {
		f.users++
		s.insert(&extent{start: g[0], end: g[1], file: f, off: off})
		if err = s.replace(t, g[0], g[1], fd, off); err != nil {
			// What has been replaced holds the same bytes; make it private again.
			s.giveBack(t)
			return err
		}
		off += int64(g[1] - g[0])
	}
	return nil
}

// newFile opens the guest's memory file here, sets its size for good.
func newFile(tid int, guestFd uint64, size uint64) (*file, error) {
	fd, err := takeFile(tid, guestFd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	var st unix.Stat_t
	err = unix.Ftruncate(fd, int64(size))
	if err == nil {
		// A file that shrank under our mapping would be our death (SIGBUS).
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return &file{fd: fd, inode: st.Ino}, nil
}

// fill copies guest memory into a file. Pages of zeros are left out: they cost
// nothing in the file.
func (s *Space) fill(f *file, off int64, start, end uint64) error {
	buf := make([]byte, min(end-start, 1<<20))
	zero := make([]byte, pageSize)
	for at := start; at < end; at += uint64(len(buf)) {
		buf = buf[:min(uint64(len(buf)), end-at)]
		if _, err := s.Read(at, buf); err != nil {
			return fmt.Errorf("%w: %w", ErrUnmapped, err)
		}
		for p := uint64(0); p < uint64(len(buf)); p += pageSize {
			page := buf[p : p+pageSize]
			if string(page) == string(zero) {
				continue
			}
			if _, err := unix.Pwrite(f.fd, page, off+int64(at+p-start)); err != nil {
				return fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
		}
	}
	return nil
}

// replace puts pages of a file, which is open in the guest, into the place of the
// guest's own, mapping by mapping with the protection that each has.
func (s *Space) replace(t *Thread, start, end uint64, fd uint64, off int64) error {
	all, err := mappings(t.tid, start, end)
	if err != nil {
		return hereError("look at the guest's mappings", err)
	}
	for _, m := range all {
		from, to := max(m.start, start), min(m.end, end)
		if _, err := s.engine.syscall(t, unix.SYS_MMAP, from, to-from, m.prot,
			unix.MAP_SHARED|unix.MAP_FIXED, fd, uint64(off)+from-start); err != nil {
			return shareError("map the memory file", err)
		}
	}
	return nil
}

// mapHere maps the range, which lies in extents throughout, into this process.
func (s *Space) mapHere(sh *Shared) error {
	size := sh.end - sh.start
	pages, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("%w: reserve %d bytes here: %w", ErrNoSpace, size, err)
	}
	for _, x := range s.extents {
		from, to := max(x.start, sh.start), min(x.end, sh.end)
		if from >= to {
			continue
		}
		if err := mapAt(pages, from-sh.start, to-from, x.file.fd, x.off+int64(from-x.start)); err != nil {
			_ = unix.Munmap(pages)
			return fmt.Errorf("%w: map %d bytes here: %w", ErrNoSpace, to-from, err)
		}
	}
	sh.pages = pages
	return nil
}

// insert keeps the extents in order.
func (s *Space) insert(x *extent) {
	i, _ := slices.BinarySearchFunc(s.extents, x.start, func(y *extent, at uint64) int {
		if y.start < at {
			return -1
		}
		return 1
	})
	s.extents = slices.Insert(s.extents, i, x)
}

// split makes sure that an extent begins at the address, if one contains it.
func (s *Space) split(at uint64) {
	for _, x := range s.extents {
		if x.start < at && at < x.end {
			tail := *x
			tail.start, tail.off = at, x.off+int64(at-x.start)
			x.end = at
			x.file.users++
			s.insert(&tail)
			return
		}
	}
}

// use counts a Shared into the extents that it contains.
func (s *Space) use(sh *Shared) {
	s.split(sh.start)
	s.split(sh.end)
	for _, x := range s.extents {
		if x.start >= sh.start && x.end <= sh.end {
			x.users++
			sh.pieces = append(sh.pieces, piece{x.start, x.end, x.file, x.off})
			if !slices.Contains(sh.files, x.file) {
				sh.files = append(sh.files, x.file)
				x.file.users++
			}
		}
	}
}

// disuse counts a Shared out. Extents of other files have taken the place of its own
// where the guest has mapped and exported other memory there.
func (s *Space) disuse(sh *Shared) {
	for _, x := range s.extents {
		if x.start >= sh.start && x.end <= sh.end && slices.Contains(sh.files, x.file) {
			x.users--
		}
	}
	for _, f := range sh.files {
		f.drop()
	}
}

// giveBack makes private memory of the extents that nobody uses.
func (s *Space) giveBack(t *Thread) {
	kept := s.extents[:0]
	for _, x := range s.extents {
		if x.users > 0 {
			kept = append(kept, x)
			continue
		}
		if err := s.privatize(t, x); err != nil && !errors.Is(err, ErrGone) {
			s.engine.Log.Error("memory that is no longer exported stays shared with rmemrun", "start", fmt.Sprintf("%#x", x.start), "length", x.end-x.start, "error", err)
		}
		x.file.drop()
	}
	clear(s.extents[len(kept):])
	s.extents = kept
}

// privatize replaces what the thread's address space still has mapped of an extent
// by private memory with the same bytes.
func (s *Space) privatize(t *Thread, x *extent) error {
	all, err := mappings(t.tid, x.start, x.end)
	if err != nil {
		return hereError("look at the guest's mappings", err)
	}
	e := t.space.engine
	buf := make([]byte, 0, 1<<20)
	for _, m := range all {
		if !m.shared || m.inode != x.file.inode {
			continue // the guest has unmapped it, or mapped something else
		}
		from, to := max(m.start, x.start), min(m.end, x.end)
		if _, err := e.syscall(t, unix.SYS_MMAP, from, to-from, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED, ^uint64(0), 0); err != nil {
			return shareError("map private memory", err)
		}
		for at := from; at < to; at += uint64(len(buf)) {
			buf = buf[:min(uint64(cap(buf)), to-at)]
			if _, err := unix.Pread(x.file.fd, buf, x.off+int64(at-x.start)); err != nil {
				return fmt.Errorf("read the memory file: %w", err)
			}
			if err := t.space.restore(at, buf); err != nil {
				return err
			}
		}
		if m.prot != unix.PROT_READ|unix.PROT_WRITE {
			if _, err := e.syscall(t, unix.SYS_MPROTECT, from, to-from, m.prot); err != nil {
				return shareError("protect private memory", err)
			}
		}
	}
	return nil
}

// restore writes bytes to fresh memory, leaving out pages of zeros.
func (s *Space) restore(at uint64, b []byte) error {
	zero := make([]byte, pageSize)
	for p := uint64(0); p < uint64(len(b)); p += pageSize {
		page := b[p : p+pageSize]
		if string(page) == string(zero) {
			continue
		}
		if _, err := s.Write(at+p, page); err != nil {
			return err
		}
	}
	return nil
}

// separate gives a forked child, which is stopped before its first instruction,
// private copies of the memory that its parent shares with this process.
func (e *engine) separate(child *Thread, parent *Space) {
	if errno := getRegs(child.tid, &child.regs); errno != 0 {
		return
	}
	e.withhold(child, parent)
	for _, x := range parent.extents {
		if err := child.space.privatize(child, x); err != nil {
			if !errors.Is(err, ErrGone) {
				// It must not go on with memory that is its parent's.
				e.Log.Error("a forked child is killed: it cannot have a copy of exported memory", "pid", child.tid, "error", err)
				_ = syscall.Kill(child.process.pid, unix.SIGKILL)
			}
			break
		}
	}
	if e.check(child, "restore the registers", setRegs(child.tid, &child.regs)) {
		child.displaced = false
	}
	e.settle(child)
}

// hereError says which error of Share a failure is to read the guest's files in /proc:
// descriptors or memory that rmemrun itself lacks, or the end of the guest.
func hereError(what string, err error) error {
	for _, errno := range []syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: rmemrun: %s: %w", ErrNoSpace, what, err)
		}
	}
	return fmt.Errorf("%w: %s: %w", ErrGone, what, err)
}

// shareError says which error of Share a failed system call of the guest is.
func shareError(what string, err error) error {
	if err == ErrGone {
		return err
	}
	switch errno, _ := err.(syscall.Errno); errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN:
		return fmt.Errorf("%w: %s: %w", ErrNoSpace, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
