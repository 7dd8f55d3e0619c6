package decode

import "iter"

// valid yields instructions of every operation with every flag, every width and
// every register in every field that it has, one field varied at a time.
func valid(arch Arch) iter.Seq[Instruction] {
	registers := Reg(16)
	if arch == ArchARM64 {
		registers = 31
	}
	return func(yield func(Instruction) bool) {
		for _, op := range Ops() {
			for _, flags := range []Flags{0, FlagNotify, FlagAsync} {
				for _, width := range []uint8{1, 2, 4, 8} {
					for r := Reg(0); r < registers; r++ {
						for f := FieldV; f <= FieldP; f++ {
							i := Instruction{Arch: arch, Op: op, Flags: flags, Width: width}
							field := [...]*Reg{&i.V, &i.A, &i.P}
							for g, p := range field {
								if op.uses(Field(g)) {
									*p = 3
								}
							}
							if op.uses(f) {
								*field[f] = r
							}
							if i.check() == nil && !yield(i) {
								return
							}
						}
					}
				}
			}
		}
	}
}
