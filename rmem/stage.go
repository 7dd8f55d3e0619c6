package rmem

import (
	"io"
	"sync"
	"sync/atomic"
)

// stageSize is how many bytes of a long write are read from its source at a time: 1 MiB in whole blocks. One system call that copies so much
// takes less time than one for each block, and more would not stay in the second-level cache until it is sent.
const stageSize = 17 * MaxBlock

// A stage is a part of what a long write sends. Its blocks are sent from there, and stay there until they are answered.
type stage struct {
	from  uint64 // its place in the source
	n     int
	most  uint64       // of the bytes, how many are used
	users atomic.Int32 // the operation, and the requests in flight
	bytes [stageSize]byte
}

// smallStage is how many bytes are read at a time from a source that says by itself that it can be read: it need not be read twice, and what is
// not brought from another process is cheap in small pieces, which stay near.
const smallStage = 4 * MaxBlock

// A Readabler is a source that may know whether it can be read.
type Readabler interface {
	// Readable reports whether it is known, without reading, that n bytes from the beginning can be read.
	Readable(n uint64) bool
}

var stages = sync.Pool{New: func() any { return new(stage) }}

// newStage reads the first part of n bytes of src; nil: not all of the n bytes can be read. It reads the others, too, from the last on, so that
// a write does not find in the middle that the rest of it is not mapped.
func newStage(src io.ReaderAt, n uint64) *stage {
	s := stages.Get().(*stage)
	s.users.Store(1)
	s.most = stageSize
	from := (n - 1) / stageSize * stageSize
	if r, ok := src.(Readabler); ok && r.Readable(n) {
		s.most, from = smallStage, 0
	}
	for ; ; from -= stageSize {
		if !s.fill(src, from, n) {
			s.drop()
			return nil
		}
		if from == 0 {
			return s
		}
	}
}

// fill reads what fits, from a place on, of a source of total bytes.
func (s *stage) fill(src io.ReaderAt, from, total uint64) bool {
	s.from, s.n = from, int(min(s.most, total-from))
	return readFull(src, s.bytes[:s.n], from)
}

// drop is called by each user when it has done with it.
func (s *stage) drop() {
	if s.users.Add(-1) == 0 {
		stages.Put(s)
	}
}

// staged is the data for f, the next request of o, a long write, in o's stage, which is that of f too from now on; nil: they cannot be read any more. o.mu is held.
func (o *Operation) staged(f *flight) []byte {
	s := o.stage
	if o.pos < s.from || o.pos+f.n > s.from+uint64(s.n) {
		if s.users.Load() > 1 { // what was sent from there may have to be sent again
			most := s.most
			s.drop()
			s = stages.Get().(*stage)
			s.users.Store(1)
			s.most = most
			o.stage = s
		}
		if !s.fill(o.src, o.pos, o.n) {
			return nil
		}
	}
	s.users.Add(1)
	f.stage = s
	return s.bytes[o.pos-s.from:][:f.n:f.n]
}

// fetch is the data of f, the next request of o, a write: read into room, or from the stage. nil: they cannot be read. o.mu is held.
func (o *Operation) fetch(f *flight, room []byte) []byte {
	switch {
	case o.stage != nil:
		return o.staged(f)
	case readFull(o.src, room[:f.n], o.pos):
		return room[:f.n]
	}
	return nil
}

// unstage gives the stage back that o has, if it has one. o.mu is held, or nobody else knows of o.
func (o *Operation) unstage() {
	if o.stage != nil {
		o.stage.drop()
		o.stage = nil
	}
}

// freeBody gives back where the data of f are.
func (f *flight) freeBody() {
	if f.stage != nil {
		f.stage.drop()
		f.stage, f.body = nil, nil
		return
	}
	freeBody(&f.body)
}

// A PartWriterAt can also write as far as possible, which may be cheaper than all or nothing. It is enough for a read of several blocks, of which an error
// leaves a part in any case.
type PartWriterAt interface {
	WritePartAt(p []byte, off int64) (n int, err error)
}
