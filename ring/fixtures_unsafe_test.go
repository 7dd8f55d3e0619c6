package ring

import "unsafe"

func addressOf(p *uint32) unsafe.Pointer { return unsafe.Pointer(p) }
