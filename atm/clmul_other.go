//go:build !amd64

package atm

// See clmul_amd64.go.

func crc10Remainder(p *[PayloadSize]byte) uint16 { return crc10RemainderTables(p) }

func crc32Update(r uint32, p []byte) uint32 { return crc32UpdateTables(r, p) }
