package decode

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

// The encoding on x86-64: UD1 with a memory operand, 8 bytes, or 9 with a REX
// prefix. Intel SDM volume 2, "UD - Undefined Instruction": the opcodes are
// reserved for software that wants an invalid-opcode exception.
//
//	byte 0   [0 1 0 0 0 R X B]     REX, only if a register is R8..R15 (or redundantly)
//	         [0 0 0 0 1 1 1 1]     0F
//	         [1 0 1 1 1 0 0 1]     B9
//	ModRM    [ 1 0 | V V V | 1 0 0 ]   mod = disp32, V = reg, rm = a SIB byte follows
//	SIB      [ W W | P P P | A A A ]   scale = log2 width, index = P, base = A
//	disp32    31                         16 15         8 7         0
//	         [ 0101 1010 0000 1101         |     op     |   flags   ]   little endian
//	                  magic 5A0D
//
// A processor that looks at the operand at all (none does) would see an address
// computation with no access. Disassemblers print "ud1 0x5a0d0601(%rdi,%rsi),%ebx".
const (
	amd64Magic  = 0x5a0d
	amd64Length = 8 // without the REX prefix
)

// amd64Shape is the part of the encoding, without REX, that is the same in every
// instruction: the value under the mask. It tells a truncated instruction from a
// foreign one, which x86asm does not.
var amd64Shape = [amd64Length]struct{ value, mask byte }{
	{0x0f, 0xff}, {0xb9, 0xff}, {0x84, 0xc7}, {}, {}, {}, {0x0d, 0xff}, {0x5a, 0xff},
}

func isREX(b byte) bool { return b&0xf8 == 0x40 } // without W

// AMD64 decodes the x86-64 instruction with which code begins. Bytes after it
// are not looked at. The error wraps [ErrForeign] or is [ErrTruncated].
func AMD64(code []byte) (Instruction, error) {
	rest := code
	if len(rest) > 0 && isREX(rest[0]) {
		rest = rest[1:]
	}
	if err := amd64Prefix(rest); err != nil {
		return Instruction{}, err
	}
	// Nothing but a REX prefix stands before the opcode now, and the bytes suffice.
	length := len(code) - len(rest) + amd64Length
	x, err := x86asm.Decode(code[:length], 64)
	if err != nil || x.Op != x86asm.UD1 || x.Len != length {
		return Instruction{}, errForm
	}
	value, ok := x.Args[0].(x86asm.Reg)
	mem, ok2 := x.Args[1].(x86asm.Mem)
	if !ok || !ok2 {
		return Instruction{}, errForm
	}
	if mem.Index == 0 { // index 100 without REX.X
		return Instruction{}, errRegister
	}
	word := uint32(mem.Disp)
	i := Instruction{
		Arch:  ArchAMD64,
		Op:    Op(word >> 8),
		Flags: Flags(word),
		Width: mem.Scale,
		V:     Reg(value - x86asm.EAX), // EAX..EDI, R8L..R15L are consecutive
		A:     Reg(mem.Base - x86asm.RAX),
		P:     Reg(mem.Index - x86asm.RAX),
		Len:   uint8(length),
	}
	if err := i.check(); err != nil {
		return Instruction{}, err
	}
	return i, nil
}

// amd64Prefix compares what there is of an instruction, after REX, with the
// shape that all share.
func amd64Prefix(code []byte) error {
	for n, s := range amd64Shape {
		if n >= len(code) {
			return ErrTruncated
		}
		if code[n]&s.mask != s.value {
			switch {
			case n < 2:
				return errOpcode
			case n == 2:
				return errForm
			}
			return errMagic
		}
	}
	return nil
}

func encodeAMD64(i Instruction) ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	if i.V > 15 || i.A > 15 || i.P > 15 {
		return nil, errRegister
	}
	rex := 0x40 | byte(i.V>>3)<<2 | byte(i.P>>3)<<1 | byte(i.A>>3)
	b := make([]byte, 0, amd64Length+1)
	switch {
	case i.Len == amd64Length+1, i.Len == 0 && rex != 0x40:
		b = append(b, rex)
	case i.Len == amd64Length && rex == 0x40, i.Len == 0:
	default:
		return nil, errLength
	}
	scale := byte(log2(i.Width))
	b = append(b, 0x0f, 0xb9, 0x84|byte(i.V&7)<<3, scale<<6|byte(i.P&7)<<3|byte(i.A&7))
	return binary.LittleEndian.AppendUint32(b, amd64Magic<<16|uint32(i.Op)<<8|uint32(i.Flags)), nil
}
