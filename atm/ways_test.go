package atm

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// eachWay runs f with each way of computing checksums that the processor has. It is not for parallel tests.
func eachWay(t *testing.T, f func(t *testing.T)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if what := w.lacks(); what != "" {
				t.Skip("the processor has no " + what)
			}
			defer usedWay().use()
			w.use()
			f(t)
		})
	}
}

// available are the ways that the processor has.
func available() (have []way) {
	for _, w := range ways {
		if w.lacks() == "" {
			have = append(have, w)
		}
	}
	return have
}

// checkPayload compares what each way makes of a payload with division.
func checkPayload(t *testing.T, p *[PayloadSize]byte) {
	t.Helper()
	want := uint16(remainder(p[:], 0, 0x633, 10, 0))
	sealed := *p
	seal(sealed[:])
	for _, w := range available() {
		w.use()
		if got := crc10Remainder(p); got != want {
			t.Fatalf("%s: crc10Remainder(%x) = %03x, want %03x", w.name, *p, got, want)
		}
		if got := crc10Right(p); got != (want == 0) {
			t.Fatalf("%s: crc10Right(%x) = %v, its remainder is %03x", w.name, *p, got, want)
		}
		if !crc10Right(&sealed) {
			t.Fatalf("%s: crc10Right(%x) = false, its remainder is 0", w.name, sealed)
		}
	}
}

// checkCRC32 compares what each way makes of p with division.
func checkCRC32(t *testing.T, p []byte) {
	t.Helper()
	want := refCRC32(p)
	for _, w := range available() {
		w.use()
		if got := CRC32(p); got != want {
			t.Fatalf("%s: CRC32(%x) = %08x, want %08x", w.name, p, got, want)
		}
		if n := len(p); n >= PayloadSize-4 {
			last := [PayloadSize]byte(append(p[n-(PayloadSize-4):n:n], 0, 0, 0, 0))
			if got := ^crc32Finish(crc32Update(^uint32(0), p[:n-(PayloadSize-4)]), &last); got != want {
				t.Fatalf("%s: crc32Finish after %x = %08x, want %08x", w.name, p, got, want)
			}
		}
	}
}

func TestWays(t *testing.T) {
	defer usedWay().use()
	r := rand.New(rand.NewPCG(*seed, 3))
	var room [400]byte
	for range randomInputs() {
		var p [PayloadSize]byte
		fill(r, p[:])
		checkPayload(t, &p)
	}
	for range randomInputs() {
		from := r.IntN(64)
		p := room[from : from+r.IntN(301)]
		fill(r, p)
		checkCRC32(t, p)
	}
}

// Every length, beginning anywhere, and with any register: the short ones against division, all against the tables.
func TestCRC32Lengths(t *testing.T) {
	defer usedWay().use()
	r := rand.New(rand.NewPCG(*seed, 11))
	buf := make([]byte, 3000)
	fill(r, buf)
	for from := range 17 {
		for n := range 301 {
			checkCRC32(t, buf[from:from+n])
		}
		for n := range 2100 {
			p := buf[from : from+n]
			register := r.Uint32()
			want := crc32UpdateTables(register, p)
			for _, w := range available() {
				w.use()
				if got := crc32Update(register, p); got != want {
					t.Fatalf("%s: %d octets from %d: %08x, want %08x", w.name, n, from, got, want)
				}
			}
		}
	}
	checkCRC32(t, buf)
}

// Single segment messages of every length, from everywhere, by every way, against the definition.
func TestEncodeSSMWays(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 12))
	buf := make([]byte, 128)
	fill(r, buf)
	eachWay(t, func(t *testing.T) {
		for n := MinSSM; n <= MaxSSM; n++ {
			for from := range 64 {
				message := buf[from : from+n]
				sn, mid := uint8(r.IntN(16)), uint16(r.IntN(1024))
				h := Header{GFC: uint8(from & 0xf), VC: VC{uint8(n), uint16(r.Uint32())}, PT: PT(from & 7), CLP: n&1 != 0}
				var want Cell
				want.SetHeader(h)
				copy(want.Payload()[:], refSSM(sn, mid, message))

				var c [4]Cell
				for i := range c {
					fill(r, c[i][HeaderSize:])
					c[i].SetHeader(h)
				}
				word := uint32(message[0])<<24 | uint32(message[1])<<16 | uint32(message[2])<<8 | uint32(message[3])
				fill(r, c[0][:])
				for i, err := range []error{
					h.Octets().EncodeSSM(&c[0], sn, mid, word, message[4:]),
					EncodeSSM(&c[1], sn, mid, message),
					EncodeSSM(&c[2], sn, mid, message[:4], message[4:]),
					EncodeSSM(&c[3], sn, mid, message[:n/3], message[n/3:n/2], message[n/2:]),
				} {
					if err != nil || c[i] != want {
						t.Fatalf("%d octets from %d, encoder %d: %v\n%x, want\n%x", n, from, i, err, c[i], want)
					}
				}
				if m, err := DecodeSSM(&c[0]); err != nil || m.SN != sn || m.MID != mid || !bytes.Equal(m.Payload, message) {
					t.Fatalf("%d octets from %d: DecodeSSM = %+v, %v", n, from, m, err)
				}
			}
		}
	})
	for _, n := range []int{0, 1, 3, 41, 44, 100} {
		c := Cell{0: 1, 20: 2, 52: 3}
		before := c
		if err := Header.Octets(Header{}).EncodeSSM(&c, 0, 0, 0, make([]byte, n)); err != ErrSSMLength || c != before {
			t.Errorf("%d octets of data: error %v, cell changed: %v", n, err, c != before)
		}
	}
}

// What any way computes of any octets is what division gives.
func FuzzWays(f *testing.F) {
	f.Add(uint8(0), []byte("123456789"))
	f.Add(uint8(3), bytes.Repeat([]byte{0xff}, 600))
	f.Add(uint8(15), count(255))
	f.Fuzz(func(t *testing.T, from uint8, raw []byte) {
		defer usedWay().use()
		raw = raw[:min(len(raw), 1<<12)] // longer ones go the same ways, and the slow one would take longer than fuzzing does
		p := append(make([]byte, from%64), raw...)[from%64:]
		checkCRC32(t, p)
		var payload [PayloadSize]byte
		copy(payload[:], p)
		checkPayload(t, &payload)
	})
}
