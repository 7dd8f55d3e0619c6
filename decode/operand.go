package decode

import (
	"fmt"
	"strconv"
	"strings"
)

// Field is where an operand lives: in a register that the instruction names (V,
// A, P) or in one that it implies (C, D).
type Field uint8

// The fields. The implied registers are C = RCX or X1, D = RDX or X2; the result
// goes to RAX or X0.
const (
	FieldV Field = iota // value: a buffer's address, or a word
	FieldA              // address: an offset in a segment
	FieldP              // process environment: the segment or descriptor
	FieldC              // count: a length
	FieldD              // extra
)

// String returns the letter of the field.
func (f Field) String() string { return "VAPCD"[f : f+1] }

// Kind is what an operand is: how many bits of its register count and how it is
// written.
type Kind uint8

// The kinds of operand.
const (
	KindAddress    Kind = iota // an address in the guest, 64 bits
	KindSize                   // an offset or a length in bytes, 64 bits, unsigned
	KindWord                   // the operand of an atomic operation, 64 bits or its low 32
	KindInt                    // a signed number in the low 32 bits
	KindDescriptor             // a descriptor in the low 32 bits, or EVERY
	KindRights                 // a set of rights in the low 32 bits
)

// Every is the descriptor operand that stands for all descriptors.
const Every = 0x7fffffff

// Operand is one operand of an operation.
type Operand struct {
	Field Field
	Name  string // as docs/isa.md calls it
	Kind  Kind
}

// Format writes the value v of the operand's register as a person reads it.
func (o Operand) Format(v uint64) string {
	switch o.Kind {
	case KindAddress, KindWord:
		return "0x" + strconv.FormatUint(v, 16)
	case KindInt:
		return strconv.Itoa(int(int32(v)))
	case KindDescriptor:
		if int32(v) == Every {
			return "EVERY"
		}
		return strconv.Itoa(int(int32(v)))
	case KindRights:
		return formatRights(uint32(v))
	default:
		return strconv.FormatUint(v, 10)
	}
}

var rightNames = [...]string{"READ", "WRITE", "ATOMIC", "QUIET"}

func formatRights(v uint32) string {
	if v == 0 {
		return "0"
	}
	var set []string
	for i, name := range rightNames {
		if v&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if rest := v &^ (1<<len(rightNames) - 1); rest != 0 {
		set = append(set, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(set, "|")
}
