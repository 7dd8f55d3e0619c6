package rmem

import (
	"fmt"
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

func BenchmarkBlock(b *testing.B) {
	for name, options := range map[string][]func(*fabric, *Config){"cells": nil, "whole": {whole}} {
		for _, size := range []int{4096, MaxBlock, 1 << 20} {
			b.Run(fmt.Sprintf("write/%s/%d", name, size), func(b *testing.B) { benchmarkBlock(b, size, false, options...) })
			b.Run(fmt.Sprintf("read/%s/%d", name, size), func(b *testing.B) { benchmarkBlock(b, size, true, options...) })
		}
	}
}

func benchmarkBlock(b *testing.B, size int, read bool, options ...func(*fabric, *Config)) {
	p := newPair(b, size, access, options...)
	m := mem(make([]byte, size))
	var src io.ReaderAt = m
	var dst io.WriterAt = m
	var o Operation
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if read {
			p.a.Read(&o, p.d, 0, dst, uint64(size), 1, false)
		} else {
			p.a.Write(&o, p.d, 0, src, uint64(size), 1, false)
		}
	}
	if e := fenced(p.a, p.d); e != OK || o.Result() != OK {
		b.Fatal(e, o.Result())
	}
}

func BenchmarkDeposit(b *testing.B) {
	src, dst := make([]byte, MaxBlock), make([]byte, MaxBlock)
	b.SetBytes(MaxBlock)
	for b.Loop() {
		deposit(dst, src)
	}
}

func BenchmarkCollect(b *testing.B) {
	src, dst := make([]byte, MaxBlock), make([]byte, MaxBlock)
	b.SetBytes(MaxBlock)
	for b.Loop() {
		collect(dst, src)
	}
}
