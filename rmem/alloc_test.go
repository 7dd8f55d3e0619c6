package rmem

import (
	"io"
	"testing"
)

// The operations that are made again and again do not allocate, from the
// call to the reply, at both ends.
func TestAllocations(t *testing.T) {
	p := newPair(t, 4096, access)
	var src io.ReaderAt = mem(make([]byte, 4096))
	var dst io.WriterAt = mem(make([]byte, 4096))
	var o, w Operation
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"write", func() { p.a.Write(&o, p.d, 8, src, 40, 1, false) }},
		{"short write", func() { p.a.Write(&o, p.d, 8, src, 3, 1, false) }},
		{"read", func() { p.a.Read(&o, p.d, 8, dst, 40, 1, false) }},
		{"asynchronous read", func() { p.a.Read(&o, p.d, 8, dst, 40, 1, true) }},
		{"cas", func() { p.a.CAS(&o, p.d, 8, 8, 0, 0, false) }},
		{"fadd", func() { p.a.FAdd(&o, p.d, 8, 4, 1, false) }},
		{"fence", func() { p.a.Fence(&o, p.d) }},
		{"notify and wait", func() { p.a.Notify(&o, p.d, 8); p.b.Wait(&w, p.seg) }},
		{"write with notify", func() { p.a.Write(&o, p.d, 8, src, 40, 1, true) }},
	} {
		if n := testing.AllocsPerRun(1000, c.run); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
		if !o.Done() || o.Result() != OK {
			t.Errorf("%s: %v", c.name, o.Result())
		}
	}
}
