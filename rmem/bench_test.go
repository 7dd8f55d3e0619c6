package rmem

import (
	"io"
	"testing"
)

func BenchmarkWrite40(b *testing.B) {
	p := newPair(b, 4096, access)
	var src io.ReaderAt = mem(make([]byte, 40))
	var o Operation
	b.ReportAllocs()
	for b.Loop() {
		p.a.Write(&o, p.d, 0, src, 40, 1, false)
	}
	if e := fenced(p.a, p.d); e != OK || o.Result() != OK {
		b.Fatal(e, o.Result())
	}
}

func BenchmarkRead40(b *testing.B) {
	p := newPair(b, 4096, access)
	var dst io.WriterAt = mem(make([]byte, 40))
	var o Operation
	b.ReportAllocs()
	for b.Loop() {
		p.a.Read(&o, p.d, 0, dst, 40, 1, false)
	}
}

func BenchmarkFAdd(b *testing.B) {
	p := newPair(b, 4096, access)
	var o Operation
	b.ReportAllocs()
	for b.Loop() {
		p.a.FAdd(&o, p.d, 8, 8, 1, false)
	}
}

func BenchmarkFence(b *testing.B) {
	p := newPair(b, 4096, access)
	var o Operation
	b.ReportAllocs()
	for b.Loop() {
		p.a.Fence(&o, p.d)
	}
}

func BenchmarkWriteBlock(b *testing.B) {
	const size = 1 << 20
	p := newPair(b, size, access)
	var src io.ReaderAt = mem(make([]byte, size))
	var o Operation
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		p.a.Write(&o, p.d, 0, src, size, 1, false)
	}
}

func BenchmarkDeposit(b *testing.B) {
	src, dst := make([]byte, MaxBlock), make([]byte, MaxBlock)
	b.SetBytes(MaxBlock)
	for b.Loop() {
		deposit(dst, src)
	}
}
