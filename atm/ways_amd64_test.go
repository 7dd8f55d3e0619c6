package atm

import "golang.org/x/sys/cpu"

// ways are those of computing checksums, the slowest first.
var ways = []way{
	{name: "tables"},
	{name: "PCLMULQDQ", clmul: true},
	{name: "VPCLMULQDQ", clmul: true, vclmul: true},
}

type way struct {
	name          string
	clmul, vclmul bool
}

func (w way) use() { hasCLMUL, hasVCLMUL = w.clmul, w.vclmul }

func usedWay() way { return way{"", hasCLMUL, hasVCLMUL} }

// lacks is what of the processor the way needs, "" if it is there.
func (w way) lacks() string {
	switch {
	case w.clmul && !(cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3):
		return "PCLMULQDQ and SSSE3"
	case w.vclmul && !(cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VPCLMULQDQ):
		return "AVX-512 F, BW, DQ and VPCLMULQDQ"
	}
	return ""
}
