package atm

// A crc32Constants has what the assembly multiplies by. Pairs are as it loads them: the first is for the lower word, which is the later one in the
// stream. The offsets are known to crc32_amd64.s.
type crc32Constants struct {
	fold512  [2]uint64    // 0: carries a block of 128 bits 512 places on
	fold128  [2]uint64    // 16
	last     [2]uint64    // 32: the last block, times x^32 if the register is to be 0 bits on, else times 1
	upper32  [2]uint64    // 48: the upper of 96 bits come to the lower 64
	barrett  [2]uint64    // 64: inverse, generator
	fold2048 [2]uint64    // 80
	fold1536 [2]uint64    // 96
	fold1024 [2]uint64    // 112
	lanes    [4][2]uint64 // 128: four blocks come to the place of the last
}

func newCRC32Constants(zeros int) *crc32Constants {
	const g, degree = 1<<32 | crc32Poly, 32
	fold := func(n int) [2]uint64 { return [2]uint64{xPower(n, g, degree), xPower(n+64, g, degree)} }
	return &crc32Constants{
		fold512:  fold(512),
		fold128:  fold(128),
		last:     fold(zeros),
		upper32:  [2]uint64{0, xPower(64, g, degree)},
		barrett:  [2]uint64{xQuotient(64, g, degree), g},
		fold2048: fold(2048),
		fold1536: fold(1536),
		fold1024: fold(1024),
		lanes:    [4][2]uint64{fold(384), fold(256), fold(128), fold(0)},
	}
}

var (
	crc32Register = newCRC32Constants(32) // gives the register, which stands for the message times x^32
	crc32Whole    = newCRC32Constants(0)  // gives the remainder of the message itself
)

// crc32CLMUL takes n octets at p, a multiple of 16 and not 0, into the register r, and gives it, or with crc32Whole as constants the remainder.
//
//go:noescape
func crc32CLMUL(r uint32, p *byte, n int, constants *crc32Constants) uint32

// crc32VCLMUL is crc32CLMUL for 64 octets and more.
//
//go:noescape
func crc32VCLMUL(r uint32, p *byte, n int, constants *crc32Constants) uint32

// How many octets are worth a multiplication of either kind.
const (
	minCLMUL  = 32
	minVCLMUL = 96
)

// crc32Update is the register r after the octets of p.
func crc32Update(r uint32, p []byte) uint32 {
	switch n := len(p) &^ 15; {
	case hasVCLMUL && n >= minVCLMUL:
		r, p = crc32VCLMUL(r, &p[0], n, crc32Register), p[n:]
	case hasCLMUL && n >= minCLMUL:
		r, p = crc32CLMUL(r, &p[0], n, crc32Register), p[n:]
	}
	return crc32UpdateTables(r, p)
}

// crc32Finish is the register r after all octets of the last cell of a PDU but the four of the CRC, which are 0.
func crc32Finish(r uint32, p *[PayloadSize]byte) uint32 {
	if hasCLMUL {
		return crc32CLMUL(r, &p[0], PayloadSize, crc32Whole)
	}
	return crc32UpdateTables(r, p[:PayloadSize-4])
}
