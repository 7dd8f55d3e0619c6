package atm

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// aligned lays a cell into an Aligned.
func aligned(front uint32, c *Cell) (a Aligned) {
	binary.LittleEndian.PutUint32(a[:], front)
	copy(a[5:], c[:])
	return a
}

// cell is the cell in a.
func (a *Aligned) cell() *Cell { return (*Cell)(a[5 : 5+CellSize]) }

// checkOpen compares OpenSSM with DecodeSSM and the rules of an Aligned. It reports whether the cell was opened.
func checkOpen(t rapid.TB, a *Aligned, front uint32, h HeaderOctets, number uint32) bool {
	t.Helper()
	m, err := DecodeSSM(a.cell())
	right := err == nil && binary.LittleEndian.Uint32(a[:]) == front && a[4] == 0 && a.cell().octets() == h &&
		uint32(m.MID)<<4|uint32(m.SN) == number&(1<<14-1) && [6]byte(a[58:]) == [6]byte{}
	for _, w := range available() {
		w.use()
		before := *a
		var data AlignedData
		word, n := OpenSSM(&data, a, front, h, number)
		if *a != before {
			t.Fatalf("%s: OpenSSM wrote to the cell", w.name)
		}
		opened := right && w.name != ways[0].name
		if (n != 0) != opened {
			t.Fatalf("%s: OpenSSM(% x) says %d, DecodeSSM %v; it is right: %v", w.name, *a, n, err, right)
		}
		if n == 0 {
			continue
		}
		if n != len(m.Payload)-4 || word != binary.BigEndian.Uint32(m.Payload) || string(data[:n]) != string(m.Payload[4:]) {
			t.Fatalf("%s: OpenSSM = %08x % x, want % x", w.name, word, data[:n], m.Payload)
		}
	}
	return right
}

// Slots as they should be, and with one to three octets changed anywhere, the checksum made right again or not.
func TestOpenSSM(t *testing.T) {
	defer usedWay().use()
	r := rand.New(rand.NewPCG(*seed, 7))
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t).Octets()
		number := rapid.Uint32().Draw(t, "number")
		front := rapid.Uint32().Draw(t, "front")
		payload := rapid.SliceOfN(rapid.Byte(), MinSSM, MaxSSM).Draw(t, "payload")
		var c Cell
		c.SetOctets(h)
		if err := EncodeSSM(&c, uint8(number&0xf), uint16(number>>4)&0x3ff, payload); err != nil {
			t.Fatal(err)
		}
		a := aligned(front, &c)
		if !checkOpen(t, &a, front, h, number) {
			t.Fatal("the cell as it was made is wrong")
		}
		for range 200 {
			b := a
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] ^= byte(1 << r.IntN(8))
			}
			if r.IntN(2) == 0 {
				seal(b.cell().Payload()[:])
			}
			checkOpen(t, &b, front, h, number)
		}
		checkOpen(t, &a, front+1, h, number)
		checkOpen(t, &a, front, h, number+1)
		checkOpen(t, &a, front, h^1<<rapid.IntRange(0, 39).Draw(t, "bit"), number)
	})
}

func BenchmarkOpenSSM(b *testing.B) {
	var c Cell
	h := Header{VC: VC{VCI: 77}}.Octets()
	c.SetOctets(h)
	if err := EncodeSSM(&c, 5, 0, count(MaxSSM)); err != nil {
		b.Fatal(err)
	}
	a := aligned(6, &c)
	var data AlignedData
	for b.Loop() {
		if _, n := OpenSSM(&data, &a, 6, h, 5); n != MaxSSM-4 {
			b.Skip("this processor has no fast way")
		}
	}
}
