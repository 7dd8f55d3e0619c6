//go:build !amd64

package atm

// Processors for which there is no assembly use the tables; see clmul_amd64.go.

func crc10Remainder(p *[PayloadSize]byte) uint16 { return crc10RemainderTables(p) }

func crc10Right(p *[PayloadSize]byte) bool { return crc10Syndrome(p) == 0 }

func writeSSM(c *Cell, header, front uint64, data []byte) { writeSSMTables(c, header, front, data) }

func openSSM(*AlignedData, *Aligned, uint64, uint32) (word uint32, n int) { return 0, 0 }

func crc32Update(r uint32, p []byte) uint32 { return crc32UpdateTables(r, p) }

func crc32Finish(r uint32, p *[PayloadSize]byte) uint32 {
	return crc32UpdateTables(r, p[:PayloadSize-4])
}
