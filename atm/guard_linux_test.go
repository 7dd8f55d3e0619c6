package atm

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded is a page that has none on either side: whoever reads or writes beyond it is ended.
func guarded(t *testing.T) []byte {
	t.Helper()
	size := syscall.Getpagesize()
	all, err := syscall.Mmap(-1, 0, 3*size, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(all) })
	page := all[size : 2*size]
	if err := syscall.Mprotect(page, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return page
}

// The assembly touches nothing in front of its data, nothing behind them, and nothing around the cell.
func TestStaysInside(t *testing.T) {
	page := guarded(t)
	end := len(page)
	cell := func(at int) *Cell { return (*Cell)(unsafe.Pointer(&page[at])) }
	eachWay(t, func(t *testing.T) {
		for n := MinSSM - 4; n <= MaxSSM-4; n++ {
			for _, data := range [][]byte{page[:n], page[end-n:]} {
				var c Cell
				if err := Header.Octets(Header{}).EncodeSSM(&c, 0, 0, 0, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, at := range []int{0, end - CellSize} {
			c := cell(at)
			if err := Header.Octets(Header{}).EncodeSSM(c, 0, 0, 0, count(40)); err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeSSM(c); err != nil {
				t.Fatal(err)
			}
			before := page[CellSize]
			page[CellSize] = 0xa5
			_ = EncodeSSM(cell(0), 1, 1, count(44))
			if page[CellSize] != 0xa5 {
				t.Error("EncodeSSM wrote behind its cell")
			}
			page[CellSize] = before
		}
		for n := range 1500 {
			if CRC32(page[:n]) != ^crc32UpdateTables(^uint32(0), page[:n]) || CRC32(page[end-n:]) != ^crc32UpdateTables(^uint32(0), page[end-n:]) {
				t.Fatalf("CRC-32 of %d octets at the edge of a page is wrong", n)
			}
		}
	})
}
