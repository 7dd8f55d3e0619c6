package atm

// crc10Division has what a sender divides by. The powers are times x^54, so that what is to be divided, all but the last ten bits of the
// sum, is its upper word. Pairs are as the assembly loads them: the first is for the lower word, which is the later one in the stream.
var crc10Division = func() [8]uint64 {
	x := func(n int) uint64 { return xPower(n, crc10Generator, 10) << 54 }
	return [8]uint64{
		x(256), x(320),
		x(128), x(192),
		x(0), x(64),
		xQuotient(73, crc10Generator, 10), crc10Generator & 0x3ff << 54,
	}
}()

// crc10Divisibility has what a receiver tries with: the powers, the inverse of the generator modulo x^64, the generator.
//
// A sum of 73 bits is a multiple of the generator if it is the product of the generator and a polynomial of 63 bits. There is one of which the product has
// the same lower 64 bits, these times the inverse (Montgomery's exact division); what remains is to compare the upper ones. So the receiver finds from the
// other end what the sender has divided, and an error in the constants of one shows in the other.
//
// The last word of a payload is taken as it is; x^384 in its place is for a word in front of 48 more octets.
var crc10Divisibility = func() [8]uint64 {
	x := func(n int) uint64 { return xPower(n, crc10Generator, 10) }
	return [8]uint64{
		x(256), x(320),
		x(128), x(192),
		x(384), x(64),
		xInverse(crc10Generator), crc10Generator,
	}
}()

// crc10CLMUL is the remainder of the 384 bits at p; constants are crc10Division.
//
//go:noescape
func crc10CLMUL(p *[PayloadSize]byte, constants *[8]uint64) uint16

// crc10Indivisible is 0 if the 384 bits at p are a multiple of the generator; constants are crc10Divisibility.
//
//go:noescape
func crc10Indivisible(p *[PayloadSize]byte, constants *[8]uint64) uint64

// openAligned is openSSM. It divides by crc10Divisibility.
//
//go:noescape
func openAligned(data *AlignedData, a *Aligned, first uint64, second uint32) (word uint32, n int)

// openSSM is OpenSSM of a cell whose first twelve octets are to be these, the first in the lowest byte.
func openSSM(data *AlignedData, a *Aligned, first uint64, second uint32) (word uint32, n int) {
	if !hasCLMUL {
		return 0, 0
	}
	return openAligned(data, a, first, second)
}

// sealSSM writes a whole cell: the five octets of header, the six of front (each the first in the lowest byte), n octets of data, 4 to 40, padded by
// 0 to 40, LI, which is n + 4, and the CRC-10; constants are crc10Division. What is sent is what the checksum is of, whatever else writes to data.
//
//go:noescape
func sealSSM(c *Cell, header, front uint64, data *byte, n int, constants *[8]uint64)

// crc10Remainder divides the 384 bits of a payload by the generator; with the CRC field 0 it is the value that belongs there.
func crc10Remainder(p *[PayloadSize]byte) uint16 {
	if hasCLMUL {
		return crc10CLMUL(p, &crc10Division)
	}
	return crc10RemainderTables(p)
}

// crc10Right reports whether a payload, its CRC field included, is a multiple of the generator, as an undamaged one is.
func crc10Right(p *[PayloadSize]byte) bool {
	if hasCLMUL {
		return crc10Indivisible(p, &crc10Divisibility) == 0
	}
	return crc10Syndrome(p) == 0
}

// writeSSM writes a whole cell; see sealSSM.
func writeSSM(c *Cell, header, front uint64, data []byte) {
	if hasCLMUL {
		sealSSM(c, header, front, &data[0], len(data), &crc10Division)
		return
	}
	writeSSMTables(c, header, front, data)
}
