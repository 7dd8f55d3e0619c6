package ring

import "sync/atomic"

// A Staging is memory that a guest's stubs copy the source of a block write to, before the instruction traps: what has been copied by the guest need not be
// read in it, page by page. It is the guest's to write, at any time: what is there is no more than what the guest says that its source holds.
//
// It belongs to one instruction at a time, which is known by where its stub had its frame.
type Staging struct {
	file    *file
	staging *staging
}

// NewStaging makes staging memory for one address space. Its pages exist as soon as they are used.
func NewStaging() (*Staging, error) {
	f, err := newFile("staging", stagingSize)
	if err != nil {
		return nil, err
	}
	return &Staging{file: f, staging: stagingAt(f.memory)}, nil
}

// File is the file to be mapped into the guest, writable, and its length.
func (s *Staging) File() (fd int, length uint64) { return s.file.fd, uint64(len(s.file.memory)) }

// Source is the first n bytes of what is staged, if it belongs to the instruction whose stub had its frame at that address; nil: it does not, as if the guest has
// other memory where the staging memory was. The guest may change the bytes meanwhile.
func (s *Staging) Source(frame, n uint64) []byte {
	if n > MaxStaged || atomic.LoadUint64(&s.staging.owner) != frame {
		return nil
	}
	return s.staging.bytes[:n:n]
}

// Processor is the number of the processor that the stub has run on, as the guest says.
func (s *Staging) Processor() int { return int(atomic.LoadUint32(&s.staging.processor)) }

// Release makes it nobody's, if it belongs to the instruction of that frame.
func (s *Staging) Release(frame uint64) { atomic.CompareAndSwapUint64(&s.staging.owner, frame, 0) }

// Close gives up the memory here. What Source has returned must not be used any more.
func (s *Staging) Close() { s.file.close() }
