package ring

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A file is memory that can be mapped into guests, by its descriptor. It is mapped here. Its length is sealed, so that no
// guest can take pages away that others look at.
type file struct {
	fd     int
	memory []byte
}

// newFile makes one; its name says in /proc/PID/maps what it is.
func newFile(name string, size uintptr) (*file, error) {
	fd, err := unix.MemfdCreate("rmemrun "+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a memory file of %d bytes for rings: %w", size, err)
	}
	f := &file{fd: fd}
	if err := f.prepare(size); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return f, nil
}

func (f *file) prepare(size uintptr) (err error) {
	if err := unix.Ftruncate(f.fd, int64(size)); err != nil {
		return fmt.Errorf("make a memory file for rings %d bytes long: %w", size, err)
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("seal a memory file for rings: %w", err)
	}
	if f.memory, err = unix.Mmap(f.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map a memory file for rings: %w", err)
	}
	return nil
}

// close ends the mapping here; those in guests last.
func (f *file) close() {
	_ = unix.Munmap(f.memory)
	_ = unix.Close(f.fd)
	f.memory = nil
}

// Batch is how many rings are made together, in the same two files, so that mapping one into a guest has most often been done.
const Batch = 4

// The lengths of the two files of a Pair, in bytes.
const (
	RequestsLength = uint64(Batch * requestsSize)
	RepliesLength  = uint64(Batch * repliesSize)
)

// A Pair is the memory of rings of the same two guests: a file that the initiator writes, and one that the exporter does.
type Pair struct {
	requests, replies *file
	shown             *file // what the initiator sees of replies; nil: these
	rings             [Batch]Ring
}

// NewPair makes the memory of Batch rings.
func NewPair() (*Pair, error) {
	a, err := newFile("ring requests", Batch*requestsSize)
	if err != nil {
		return nil, err
	}
	b, err := newFile("ring replies", Batch*repliesSize)
	if err != nil {
		a.close()
		return nil, err
	}
	p := &Pair{requests: a, replies: b}
	for i := range p.rings {
		r := &p.rings[i]
		r.requests, r.replies = requestsAt(a.memory, i), repliesAt(b.memory, i)
		r.asked, r.answered = r.requests.slots[:], r.replies.slots[:]
	}
	return p, nil
}

// Ring is one of the rings. It has to be Reset before it is used.
func (p *Pair) Ring(i int) *Ring { return &p.rings[i] }

// Requests is the file that the initiator can write, and its length.
func (p *Pair) Requests() (fd int, length uint64) {
	return p.requests.fd, uint64(len(p.requests.memory))
}

// Replies is the file that the exporter can write, and its length.
func (p *Pair) Replies() (fd int, length uint64) { return p.replies.fd, uint64(len(p.replies.memory)) }

// RequestsOffset is where ring i begins in the file of requests.
func RequestsOffset(i int) uint64 { return uint64(i) * uint64(requestsSize) }

// RepliesOffset is where ring i begins in the file of replies.
func RepliesOffset(i int) uint64 { return uint64(i) * uint64(repliesSize) }

// Close gives up the memory here. The rings must not be used any more.
func (p *Pair) Close() {
	p.requests.close()
	p.replies.close()
	if p.shown != nil {
		p.shown.close()
	}
}
