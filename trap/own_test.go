//go:build linux && amd64

package trap

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a guest has exported is copied through our mapping of it as long as the guest itself has it there, and could do what is
// done for it; else through the kernel, which sees what the guest would see. The guest here is this process; what is called our mapping has other
// bytes than the guest's, so that one can be told from the other.
func TestOwnMemory(t *testing.T) {
	page := int(pageSize)
	const pages = 8
	size := pages * page
	const theirs, ours, other, written = 'g', 'o', 'x', 'w'

	for _, test := range []struct {
		name        string
		change      func(guest []byte, fd int)
		from, n     int
		read, wrote byte // what is read; where it is written: theirs, ours or nowhere
	}{
		{"all of it", nil, 0, size, ours, ours},
		{"a part", nil, 5, size - 100, ours, ours},
		{"little", nil, 5, wide - 1, theirs, theirs},
		{"beyond the end", nil, page, size, 0, 0},
		{"read-only", func(g []byte, _ int) { must(t, unix.Mprotect(g, unix.PROT_READ)) }, 0, size, ours, 0},
		{"a page is read-only", func(g []byte, _ int) { must(t, unix.Mprotect(g[5*page:6*page], unix.PROT_READ)) }, 0, size, theirs, 0},
		{"inaccessible", func(g []byte, _ int) { must(t, unix.Mprotect(g, unix.PROT_NONE)) }, 0, size, 0, 0},
		{"a page is inaccessible", func(g []byte, _ int) { must(t, unix.Mprotect(g[7*page:], unix.PROT_NONE)) }, 0, size, 0, 0},
		{"other memory in its place", func(g []byte, _ int) {
			must(t, remap(g, unix.MAP_PRIVATE|unix.MAP_ANON, -1, 0))
			for i := range g {
				g[i] = other
			}
		}, 0, size, other, theirs},
		{"another file", func(g []byte, _ int) {
			fd, err := unix.MemfdCreate("other", unix.MFD_CLOEXEC)
			must(t, err)
			defer unix.Close(fd)
			must(t, unix.Ftruncate(fd, int64(size+page)))
			must(t, remap(g, unix.MAP_SHARED, fd, int64(page)))
			for i := range g {
				g[i] = other
			}
		}, 0, size, other, theirs},
		{"another part of the file", func(g []byte, fd int) {
			must(t, remap(g, unix.MAP_SHARED, fd, 0))
			for i := range g {
				g[i] = other
			}
		}, 0, size, other, theirs},
		{"other memory in place of its end", func(g []byte, _ int) {
			must(t, remap(g[6*page:], unix.MAP_PRIVATE|unix.MAP_ANON, -1, 0))
			for i := range g[6*page:] {
				g[6*page+i] = theirs
			}
		}, 0, size, theirs, theirs},
	} {
		t.Run(test.name, func(t *testing.T) {
			fd, err := unix.MemfdCreate("own", unix.MFD_CLOEXEC)
			must(t, err)
			defer unix.Close(fd)
			must(t, unix.Ftruncate(fd, int64(size+page)))
			var st unix.Stat_t
			must(t, unix.Fstat(fd, &st))
			room, err := unix.Mmap(-1, 0, size+page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON) // with nothing behind the end
			must(t, err)
			defer func() { _ = unix.Munmap(room) }()
			guest := room[:size]
			must(t, remap(guest, unix.MAP_SHARED, fd, int64(page)))
			mine := bytes.Repeat([]byte{ours}, size)
			for i := range guest {
				guest[i] = theirs
			}
			addr := uint64(uintptr(unsafe.Pointer(&guest[0])))
			var s Space
			s.reader.Store(int32(os.Getpid()))
			sh := &Shared{start: addr, end: addr + uint64(size), pages: mine,
				pieces: []piece{{addr, addr + uint64(size), &file{inode: st.Ino}, int64(page)}}}
			s.own.open(sh, os.Getpid())
			defer s.own.close()
			if _, ok := queryMapping(s.own.maps, addr); !ok {
				t.Skip("the kernel has no PROCMAP_QUERY, which came with Linux 6.11")
			}
			if test.change != nil {
				test.change(guest, fd)
			}

			b := make([]byte, test.n)
			_, err = s.Read(addr+uint64(test.from), b)
			switch {
			case test.read == 0 && !errors.Is(err, unix.EFAULT):
				t.Errorf("read: %v, want EFAULT", err)
			case test.read != 0 && (err != nil || !bytes.Equal(b, bytes.Repeat([]byte{test.read}, test.n))):
				t.Errorf("read %c…, %v, want %c", b[0], err, test.read)
			}

			for i := range b {
				b[i] = written
			}
			_, err = s.Write(addr+uint64(test.from), b)
			if (err != nil) != (test.wrote == 0) {
				t.Errorf("write: %v", err)
			}
			end := min(test.from+test.n, size)
			if got := bytes.Contains(mine, []byte{written}); got != (test.wrote == ours) {
				t.Errorf("written through our mapping: %v", got)
			}
			if test.wrote == theirs && (guest[test.from] != written || guest[end-1] != written) {
				t.Error("the guest's memory was not written")
			}

			// After that nothing leads to our mapping.
			if test.wrote == ours {
				s.own.shut(sh)
				if _, err := s.Read(addr+uint64(test.from), b); err != nil || b[0] != theirs {
					t.Errorf("after it ended: read %c, %v", b[0], err)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// remap puts other memory in the place of b.
func remap(b []byte, flags, fd int, off int64) error {
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(&b[0]), uintptr(len(b)), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_FIXED)
	return err
}
