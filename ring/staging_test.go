package ring

import (
	"bytes"
	"sync/atomic"
	"testing"
)

// TestStaging: what is staged is given for the instruction that it belongs to, and no other; and never more than there is.
func TestStaging(t *testing.T) {
	s, err := NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const mine, other = 0x7fff_0000, 0x7fff_0180
	if s.Source(mine, 41) != nil {
		t.Error("there is a source, and none was staged")
	}
	copy(s.file.memory[page:], "the source") // as a guest's stub does
	atomic.StoreUint64(&s.staging.owner, mine)
	if got := s.Source(mine, 10); !bytes.Equal(got, []byte("the source")) || cap(got) != 10 {
		t.Errorf("the source is %q, of capacity %d", got, cap(got))
	}
	atomic.StoreUint32(&s.staging.processor, 77)
	if got := s.Processor(); got != 77 {
		t.Errorf("staged on processor %d, want 77", got)
	}
	if got := s.Source(mine, MaxStaged); len(got) != MaxStaged {
		t.Errorf("%d bytes, want %d", len(got), MaxStaged)
	}
	for _, n := range []uint64{MaxStaged + 1, 1 << 63, ^uint64(0)} {
		if s.Source(mine, n) != nil {
			t.Errorf("a source of %d bytes was given, of %d at most", n, MaxStaged)
		}
	}
	if s.Source(other, 10) != nil {
		t.Error("the source was given for another instruction")
	}
	s.Release(other)
	if s.Source(mine, 10) == nil {
		t.Error("another instruction has released it")
	}
	s.Release(mine)
	if s.Source(mine, 10) != nil || s.staging.owner != 0 {
		t.Errorf("released, it belongs to %#x", s.staging.owner)
	}
	s.Release(mine)
	if n := testing.AllocsPerRun(100, func() { s.Source(mine, 10); s.Release(mine) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
