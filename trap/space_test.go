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

// What cannot be written throughout is not written at all, or, if its writer asks for that, as far as it can be.
func TestWriteIsWholeOrNothing(t *testing.T) {
	page := int(pageSize)
	const pages = 40
	for _, test := range []struct {
		name           string
		from, n, sound int // in bytes; pages that can be written
	}{
		{"within a page", 100, 50, 1},
		{"a page", 0, page, 1},
		{"across a boundary", page - 3, 7, 2},
		{"many pages", 5, 39 * page, pages},
		{"the last page is read-only", 5, 2*page + 10, 2},
		{"all but the first are", page - 1, 2, 1},
		{"the first is", page - 1, 2, 0},
		{"longer than a block", 17, 39 * page, 39},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Munmap(mem) }()
			for i := range mem {
				mem[i] = byte(i % 251)
			}
			if test.sound < pages {
				if err := unix.Mprotect(mem[test.sound*page:], unix.PROT_READ); err != nil {
					t.Fatal(err)
				}
			}
			before := bytes.Clone(mem)
			var s Space // of this process itself
			s.reader.Store(int32(os.Getpid()))
			m := Memory{space: &s, addr: uint64(uintptr(unsafe.Pointer(&mem[0])))}
			p := bytes.Repeat([]byte{0xee}, test.n)
			can := min(test.n, max(0, test.sound*page-test.from))

			n, err := m.WriteAt(p, int64(test.from))
			want := bytes.Clone(before)
			if can == test.n {
				copy(want[test.from:], p)
			}
			switch {
			case can == test.n && (err != nil || n != test.n):
				t.Errorf("WriteAt = %d, %v", n, err)
			case can < test.n && (!errors.Is(err, unix.EFAULT) || n != 0):
				t.Errorf("WriteAt = %d, %v, want 0, EFAULT", n, err)
			}
			if !bytes.Equal(mem, want) {
				t.Error("after WriteAt the memory is not what it should be")
			}

			n, err = m.WritePartAt(p, int64(test.from))
			copy(want[test.from:], p[:can])
			if n != can || (err == nil) != (can == test.n) {
				t.Errorf("WritePartAt = %d, %v, want %d", n, err, can)
			}
			if !bytes.Equal(mem, want) {
				t.Error("after WritePartAt the memory is not what it should be")
			}
		})
	}
}
