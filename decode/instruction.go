package decode

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
)

// Arch is a processor architecture that has an encoding of the instructions.
type Arch uint8

// The architectures.
const (
	ArchAMD64 Arch = iota + 1
	ArchARM64
)

// String returns the name by which Go knows the architecture.
func (a Arch) String() string {
	switch a {
	case ArchAMD64:
		return "amd64"
	case ArchARM64:
		return "arm64"
	}
	return "arch(" + strconv.Itoa(int(a)) + ")"
}

// Reg is the number of a general register as the architecture numbers it: on
// x86-64 0 is RAX, 1 RCX, 2 RDX, 3 RBX, 4 RSP …, on arm64 n is Xn.
type Reg uint8

var amd64Regs = [16]string{
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
}

// RegName returns the name of the whole 64-bit register.
func (a Arch) RegName(r Reg) string {
	if a == ArchAMD64 && int(r) < len(amd64Regs) {
		return amd64Regs[r]
	}
	if a == ArchARM64 && r < 31 {
		return "x" + strconv.Itoa(int(r))
	}
	return "reg(" + strconv.Itoa(int(r)) + ")"
}

// Implied returns the register of an operand that the instruction does not name:
// FieldC or FieldD.
func (a Arch) Implied(f Field) Reg {
	// The registers of the C calling convention's string instructions on x86-64
	// (count in RCX), the first argument registers after the result on arm64.
	if f == FieldC {
		return 1 // RCX, X1
	}
	return 2 // RDX, X2
}

// Instruction is one decoded instruction. It is a value: two are equal if and
// only if their encodings are.
type Instruction struct {
	Arch  Arch
	Op    Op
	Flags Flags
	Width uint8 // bytes: the word of an atomic operation (4, 8) or of a byte swap (2, 4, 8); else 1
	V     Reg   // a field that the operation does not use is 0
	A     Reg
	P     Reg
	Len   uint8 // bytes of the encoding
}

// Reg returns the register that holds the operand in the given field.
func (i Instruction) Reg(f Field) Reg {
	switch f {
	case FieldV:
		return i.V
	case FieldA:
		return i.A
	case FieldP:
		return i.P
	}
	return i.Arch.Implied(f)
}

// Mnemonic returns the operation with its modifiers: "write.notify",
// "read.swab32.async", "cas64".
func (i Instruction) Mnemonic() string {
	var b strings.Builder
	b.WriteString(i.Op.String())
	switch {
	case i.Op.Atomic():
		b.WriteString(strconv.Itoa(8 * int(i.Width)))
	case i.Width > 1:
		b.WriteString(".swab")
		b.WriteString(strconv.Itoa(8 * int(i.Width)))
	}
	if i.Flags&FlagNotify != 0 {
		b.WriteString(".notify")
	}
	if i.Flags&FlagAsync != 0 {
		b.WriteString(".async")
	}
	return b.String()
}

// String returns the mnemonic and the register of each operand:
// "write desc=rsi, offset=rdi, source=rbx, length=rcx".
func (i Instruction) String() string {
	var b strings.Builder
	b.WriteString(i.Mnemonic())
	for n, o := range i.Op.Operands() {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		b.WriteString(o.Name)
		b.WriteByte('=')
		b.WriteString(i.Arch.RegName(i.Reg(o.Field)))
	}
	return b.String()
}

// ErrForeign is reported, wrapped with the reason, for bytes that are not an
// instruction of ours and never become one by more bytes following. The program
// that contains them gets the signal that the kernel would have given it.
var ErrForeign = errors.New("not a remote-memory instruction")

// ErrTruncated is reported for bytes that have the shape of an instruction of
// ours as far as they go, but end too early.
var ErrTruncated = errors.New("truncated remote-memory instruction")

// foreign is the reason for an ErrForeign. It is a string so that the reasons
// are constants: to refuse an instruction allocates nothing.
type foreign string

func (f foreign) Error() string { return ErrForeign.Error() + ": " + string(f) }
func (f foreign) Unwrap() error { return ErrForeign }

const (
	errOpcode   foreign = "another opcode"
	errForm     foreign = "another operand form"
	errMagic    foreign = "no magic number"
	errOp       foreign = "unknown operation"
	errFlags    foreign = "a reserved flag is set"
	errWidth    foreign = "a width that the operation does not have"
	errField    foreign = "an unused operand field is not zero"
	errRegister foreign = "a reserved register as operand"
	errResult   foreign = "the old value and the result in one register"
	errLength   foreign = "no such length"
	errArch     foreign = "unknown architecture"
)

// reserved are the numbers that a field cannot name: RSP is "no index" in a SIB
// byte and the register that a trampoline must not touch; 31 is XZR or SP.
func (a Arch) reserved() Reg {
	if a == ArchAMD64 {
		return 4
	}
	return 31
}

// check returns the reason why i is none of the instructions, or nil. The
// decoders and the encoder share it, so that they cannot differ.
func (i *Instruction) check() error {
	if !i.Op.known() {
		return errOp
	}
	d := &ops[i.Op]
	if i.Flags&^d.flags != 0 {
		return errFlags
	}
	switch {
	case d.size == sizeNone && i.Width == 1:
	case d.size == sizeSwap && (i.Width == 1 || i.Width == 2 || i.Width == 4 || i.Width == 8):
	case d.size == sizeAtomic && (i.Width == 4 || i.Width == 8):
	default:
		return errWidth
	}
	for f := FieldV; f <= FieldP; f++ {
		r := i.Reg(f)
		if !i.Op.uses(f) {
			if r != 0 {
				return errField
			}
			continue
		}
		if r == i.Arch.reserved() {
			return errRegister
		}
	}
	if d.size == sizeAtomic && i.V == 0 {
		return errResult
	}
	return nil
}

// Encode returns the bytes of an instruction: the only ones that decode to it.
// With a Len of 0 it chooses the shortest encoding. The error wraps ErrForeign
// and says which field has no encoding.
func Encode(i Instruction) ([]byte, error) {
	switch i.Arch {
	case ArchAMD64:
		return encodeAMD64(i)
	case ArchARM64:
		return encodeARM64(i)
	}
	return nil, errArch
}

// log2 returns the exponent of a width, 1, 2, 4 or 8.
func log2(width uint8) int { return bits.TrailingZeros8(width) }
