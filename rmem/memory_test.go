package rmem

import (
	"bytes"
	"testing"
)

func TestDepositAndCollect(t *testing.T) {
	const size = 320
	for at := range 17 {
		for n := range 290 {
			for skew := range 3 { // the other side is aligned differently
				src := pattern(size)[skew:]
				dst := bytes.Repeat([]byte{0xa5}, size)
				deposit(dst[at:], src[:n])
				want := bytes.Repeat([]byte{0xa5}, size)
				copy(want[at:], src[:n])
				if !bytes.Equal(dst, want) {
					t.Fatalf("deposit of %d bytes at %d:\n% x, want\n% x", n, at, dst, want)
				}
				got := bytes.Repeat([]byte{0xa5}, size)
				collect(got[skew:skew+n], want[at:])
				if !bytes.Equal(got[skew:skew+n], want[at:][:n]) || !bytes.Equal(got[skew+n:], bytes.Repeat([]byte{0xa5}, size-skew-n)) {
					t.Fatalf("collect of %d bytes at %d: % x", n, at, got)
				}
			}
		}
	}
}

func TestDepositStaysInside(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("deposit of more than there is room for")
		}
	}()
	deposit(make([]byte, 8), make([]byte, 9))
}
