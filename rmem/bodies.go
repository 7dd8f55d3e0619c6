package rmem

import (
	"math/bits"
	"sync"
)

// smallBody is the size of the smaller of the two sizes of buffers for blocks: once blocks are lost, most are small.
const smallBody = 2048

var (
	bodies      = sync.Pool{New: func() any { return new([MaxBlock]byte) }}
	smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}
)

// newBody is a buffer for n bytes of a block, at most MaxBlock.
func newBody(n int) []byte {
	if n <= smallBody {
		return smallBodies.Get().(*[smallBody]byte)[:n]
	}
	return bodies.Get().(*[MaxBlock]byte)[:n]
}

// freeBody gives *b back, if there is one.
func freeBody(b *[]byte) {
	switch {
	case *b == nil:
		return
	case cap(*b) == smallBody:
		smallBodies.Put((*[smallBody]byte)((*b)[:smallBody]))
	default:
		bodies.Put((*[MaxBlock]byte)((*b)[:MaxBlock]))
	}
	*b = nil
}

// blockWindow is how many bytes the unanswered blocks of a circuit may have together, requests and what they ask for: each
// end keeps them until it knows that they have arrived.
const blockWindow = 4 * MaxBlock

// A mosaic is a block that comes in parts.
type mosaic struct {
	header header
	bytes  [MaxBlock]byte
	there  [(MaxBlock/8 + 63) / 64]uint64 // which words of 8 bytes have come
	words  int                            // how many
	total  int                            // bytes of the whole; 0: the last part has not come
}

var mosaics = sync.Pool{New: func() any { return new(mosaic) }}

// add takes the part of a block that begins with byte at, last being true if the block ends with it. It returns false if that cannot be:
// it contradicts what came before.
func (m *mosaic) add(h header, at int, data []byte, last bool) bool {
	h.low &= seqMask
	end := at + len(data)
	switch {
	case m.words == 0:
		m.header = h
	case h != m.header:
		return false
	}
	if len(data) == 0 || end > MaxBlock || m.total != 0 && (end > m.total || last && end != m.total) {
		return false
	}
	if last {
		if m.beyond(end) {
			return false
		}
		m.total = end
	} else if len(data)%8 != 0 {
		return false
	}
	copy(m.bytes[at:], data)
	for w := at / 8; w*8 < end; w++ {
		if bit := uint64(1) << (w % 64); m.there[w/64]&bit == 0 {
			m.there[w/64] |= bit
			m.words++
		}
	}
	return true
}

// beyond reports whether anything has come of what is behind byte end.
func (m *mosaic) beyond(end int) bool {
	for w := (end + 7) / 8; w < MaxBlock/8; w++ {
		if m.there[w/64]&(1<<(w%64)) != 0 {
			return true
		}
	}
	return false
}

// whole is the block once all of it has come, nil before.
func (m *mosaic) whole() []byte {
	if m.total == 0 || m.words < (m.total+7)/8 {
		return nil
	}
	return m.bytes[:m.total]
}

// missing is the first byte that has not come, or that comes after all that has: a multiple of 8.
func (m *mosaic) missing() int {
	for i, word := range m.there {
		if word != 1<<64-1 {
			return 512*i + 8*bits.TrailingZeros64(^word)
		}
	}
	return MaxBlock
}

// mosaicOf makes *m a mosaic if it is none; false: the peer has too many.
func (p *peer) mosaicOf(m **mosaic) bool {
	if *m != nil {
		return true
	}
	if !p.reserve() {
		return false
	}
	*m = mosaics.Get().(*mosaic)
	(*m).there, (*m).words, (*m).total = [len((*m).there)]uint64{}, 0, 0
	return true
}

// freeMosaic gives *m back, if there is one.
func (p *peer) freeMosaic(m **mosaic) {
	if *m != nil {
		mosaics.Put(*m)
		*m = nil
		p.partial.Add(-1)
	}
}

// reserve sets aside a buffer of 64 KiB for what comes from the peer; false: it has too many.
func (p *peer) reserve() bool {
	if p.partial.Add(1) > maxPartial {
		p.partial.Add(-1)
		return false
	}
	return true
}
