package decode

import (
	"encoding/binary"
)

// The encoding on arm64: two permanently undefined instructions, UDF #imm16 (Arm
// ARM, C6.2 "UDF"), 8 bytes. A64 instructions are little endian always.
//
//	 31                  16 15              8 7           3   2   1   0
//	+----------------------+-----------------+-------------+---+-------+
//	|          0           | 1011 0101 magic |     op      | F |   W   |
//	+----------------------+-----------------+-------------+---+-------+
//	 31                  16 15 14           10 9          5 4          0
//	+----------------------+--+---------------+------------+-----------+
//	|          0           | 1|   Rt = V      |   Rn = A   |  Rm = P   |
//	+----------------------+--+---------------+------------+-----------+
//
// W is log2 of the width, F the one flag that the operation may carry. The trap
// is always the first word's; the second is data to the processor, but is itself
// undefined, should a program jump into the middle.
//
// golang.org/x/arch/arm64/arm64asm does not know UDF and takes its time to say
// so, which is why the words are taken apart here.
const (
	arm64Magic  = 0xb5
	arm64Length = 8
)

// ARM64 decodes the arm64 instruction with which code begins. Bytes after it are
// not looked at. The error wraps [ErrForeign] or is [ErrTruncated].
func ARM64(code []byte) (Instruction, error) {
	// The fixed bytes in the order in which they are stored: 1, 2 and 3, then 5
	// (its top bit), 6 and 7.
	for n, s := range [arm64Length]struct{ value, mask byte }{
		1: {arm64Magic, 0xff}, 2: {0, 0xff}, 3: {0, 0xff}, 5: {0x80, 0x80}, 6: {0, 0xff}, 7: {0, 0xff},
	} {
		if n >= len(code) {
			return Instruction{}, ErrTruncated
		}
		if code[n]&s.mask != s.value {
			switch n {
			case 1:
				return Instruction{}, errMagic
			case 2, 3:
				return Instruction{}, errOpcode
			}
			return Instruction{}, errForm
		}
	}
	first := binary.LittleEndian.Uint32(code)
	second := binary.LittleEndian.Uint32(code[4:])
	i := Instruction{
		Arch:  ArchARM64,
		Op:    Op(first >> 3 & 0x1f),
		Width: 1 << (first & 3),
		V:     Reg(second >> 10 & 0x1f),
		A:     Reg(second >> 5 & 0x1f),
		P:     Reg(second & 0x1f),
		Len:   arm64Length,
	}
	if first&4 != 0 {
		i.Flags = i.Op.Flags()
		if i.Flags == 0 {
			if !i.Op.known() {
				return Instruction{}, errOp
			}
			return Instruction{}, errFlags
		}
	}
	if err := i.check(); err != nil {
		return Instruction{}, err
	}
	return i, nil
}

func encodeARM64(i Instruction) ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	if i.V > 31 || i.A > 31 || i.P > 31 {
		return nil, errRegister
	}
	if i.Len != 0 && i.Len != arm64Length {
		return nil, errLength
	}
	var flag uint32
	if i.Flags != 0 {
		flag = 1 << 2
	}
	b := make([]byte, 0, arm64Length)
	b = binary.LittleEndian.AppendUint32(b, arm64Magic<<8|uint32(i.Op)<<3|flag|uint32(log2(i.Width)))
	return binary.LittleEndian.AppendUint32(b, 0x8000|uint32(i.V)<<10|uint32(i.A)<<5|uint32(i.P)), nil
}
