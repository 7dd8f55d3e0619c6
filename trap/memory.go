package trap

import (
	"io"
)

// Memory is a guest's memory from an address on, as an io.ReaderAt and an
// io.WriterAt whose offsets count from there. Either fails if the guest itself could
// not read or write there; a write then changes nothing. Safe from any goroutine.
type Memory struct {
	space *Space
	addr  uint64

	// What the engine read together with the instruction, so that a short write
	// costs no system call of its own; or what the stub has staged of a long one.
	fetchedAt uint64
	fetched   []byte
}

var (
	_ io.ReaderAt = (*Memory)(nil)
	_ io.WriterAt = (*Memory)(nil)
)

// ReadAt reads len(p) bytes at offset off.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if m.addr == m.fetchedAt && off >= 0 && off+int64(len(p)) <= int64(len(m.fetched)) {
		return copy(p, m.fetched[off:]), nil
	}
	return m.space.Read(m.addr+uint64(off), p)
}

// Readable reports whether it is known, without reading, that n bytes from the beginning can be read; false: only reading tells.
func (m *Memory) Readable(n uint64) bool {
	return m.addr == m.fetchedAt && n <= uint64(len(m.fetched)) || m.space.readable(m.addr, n)
}

// WriteAt writes p at offset off, all of it or nothing.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	return m.space.Write(m.addr+uint64(off), p)
}

// WritePartAt writes p at offset off as far as the guest could, from the beginning, for who need not
// take back what an error leaves half done: it saves WriteAt's precautions. It returns how much it wrote, and an error if that is not all.
func (m *Memory) WritePartAt(p []byte, off int64) (int, error) {
	return m.space.WritePart(m.addr+uint64(off), p)
}
