//go:build amd64

package stub

import (
	_ "embed"

	"golang.org/x/sys/cpu"

	"rmemrun/decode"
)

//go:generate ./generate.sh

// Image is the code, which can be put at any address that is a multiple of 64. It changes nothing in itself.
//
//go:embed image_amd64.bin
var Image []byte

// HelpSize is the length of the instruction at Help, which the thread goes on behind.
const HelpSize = 2

// Supported reports whether the processor has what the image uses. Otherwise instructions have to trap.
func Supported() bool { return cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3 }

// Entry is where the stub of an operation begins; false: there is none, it has to trap.
func Entry(op decode.Op) (offset uint32, ok bool) {
	if int(op) >= len(entries) || entries[op] == 0 {
		return 0, false
	}
	return entries[op], true
}

// A Field is a field of a struct of layout.h; without a name it is the whole struct.
type Field struct {
	Struct, Name string
	Offset, Size uintptr
}
