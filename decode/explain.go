package decode

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Explain draws the encoding of the instruction that the bytes are, bit by bit
// as docs/isa.md does, and says what each field means. The bytes must be one
// instruction and no more; the error is that of [AMD64] or [ARM64], or says
// where the instruction ends.
func Explain(arch Arch, code []byte) (string, error) {
	var i Instruction
	var err error
	var units []unit
	switch arch {
	case ArchAMD64:
		i, err = AMD64(code)
	case ArchARM64:
		i, err = ARM64(code)
	default:
		err = errArch
	}
	if err != nil {
		return "", err
	}
	if len(code) > int(i.Len) {
		return "", fmt.Errorf("%w: %d bytes after the end of %v", foreign("longer than an instruction"), len(code)-int(i.Len), i)
	}
	if arch == ArchAMD64 {
		units = unitsAMD64(code)
	} else {
		units = unitsARM64(code)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v    %v, %d bytes: % x\n\n", i.Mnemonic(), arch, i.Len, code)
	draw(&b, units)
	b.WriteByte('\n')
	fmt.Fprintf(&b, "op      %2d    %v\n", i.Op, i.Op)
	fmt.Fprintf(&b, "flags   %2d    %v\n", i.Flags, i.Flags)
	fmt.Fprintf(&b, "W       %2d    %s\n", log2(i.Width), meaning(i))
	for f := FieldV; f <= FieldD; f++ {
		name, used := "unused", false
		for _, o := range i.Op.Operands() {
			if o.Field == f {
				name, used = o.Name, true
			}
		}
		switch {
		case f <= FieldP && used:
			fmt.Fprintf(&b, "%v       %2d    %-4s %s\n", f, i.Reg(f), arch.RegName(i.Reg(f)), name)
		case f <= FieldP:
			fmt.Fprintf(&b, "%v       %2d    -    %s\n", f, i.Reg(f), name)
		case used:
			fmt.Fprintf(&b, "%v  implied    %-4s %s\n", f, arch.RegName(i.Reg(f)), name)
		}
	}
	fmt.Fprintf(&b, "   implied    %-4s result", arch.RegName(0))
	if i.Op.Atomic() {
		fmt.Fprintf(&b, "; %s receives the old word", arch.RegName(i.V))
	}
	b.WriteByte('\n')
	return b.String(), nil
}

// meaning says what the width of i is.
func meaning(i Instruction) string {
	switch {
	case i.Op.Atomic():
		return fmt.Sprintf("a word of %d bytes", i.Width)
	case i.Width > 1:
		return fmt.Sprintf("the bytes of each %d-byte word are reversed", i.Width)
	case i.Op == Write || i.Op == Read:
		return "no bytes are reversed"
	}
	return "-"
}

// String lists the flags, "NOTIFY"; "-" for none.
func (f Flags) String() string {
	var set []string
	if f&FlagNotify != 0 {
		set = append(set, "NOTIFY")
	}
	if f&FlagAsync != 0 {
		set = append(set, "ASYNC")
	}
	if rest := f &^ (FlagNotify | FlagAsync); rest != 0 {
		set = append(set, fmt.Sprintf("%#x", uint8(rest)))
	}
	if set == nil {
		return "-"
	}
	return strings.Join(set, "|")
}

// A unit is a byte or word of an encoding, cut into fields from the most
// significant bit down.
type unit struct {
	title  string
	value  uint32
	fields []bitField
}

type bitField struct {
	name string
	bits int
}

func unitsAMD64(code []byte) []unit {
	hex := func(name string, b byte) string { return strings.TrimLeft(fmt.Sprintf("%s %02X", name, b), " ") }
	var units []unit
	if isREX(code[0]) {
		units = append(units, unit{hex("REX", code[0]), uint32(code[0]), []bitField{{"", 5}, {"R", 1}, {"X", 1}, {"B", 1}}})
		code = code[1:]
	}
	disp := binary.LittleEndian.Uint32(code[4:])
	return append(units,
		unit{hex("", code[0]), uint32(code[0]), []bitField{{"UD1", 8}}},
		unit{hex("", code[1]), uint32(code[1]), []bitField{{"", 8}}},
		unit{hex("ModRM", code[2]), uint32(code[2]), []bitField{{"mod", 2}, {"V", 3}, {"rm", 3}}},
		unit{hex("SIB", code[3]), uint32(code[3]), []bitField{{"W", 2}, {"P", 3}, {"A", 3}}},
		unit{fmt.Sprintf("disp32 %08X", disp), disp, []bitField{{"magic", 16}, {"op", 8}, {"flags", 8}}})
}

func unitsARM64(code []byte) []unit {
	first, second := binary.LittleEndian.Uint32(code), binary.LittleEndian.Uint32(code[4:])
	return []unit{
		{fmt.Sprintf("UDF %08X", first), first, []bitField{{"", 16}, {"magic", 8}, {"op", 5}, {"F", 1}, {"W", 2}}},
		{fmt.Sprintf("UDF %08X", second), second, []bitField{{"", 16}, {"", 1}, {"V", 5}, {"A", 5}, {"P", 5}}},
	}
}

// draw writes the units side by side: titles, boxes of bits, names.
func draw(b *strings.Builder, units []unit) {
	var rows [5]strings.Builder
	for _, u := range units {
		left := 32
		for _, f := range u.fields {
			left -= f.bits
		}
		value := u.value << left
		start := rows[1].Len()
		for _, f := range u.fields {
			bits := fmt.Sprintf("%0*b", f.bits, value>>(32-f.bits))
			value <<= f.bits
			width := max(f.bits, len(f.name))
			line := "+" + strings.Repeat("-", width)
			rows[1].WriteString(line)
			fmt.Fprintf(&rows[2], "|%-*s", width, bits)
			rows[3].WriteString(line)
			fmt.Fprintf(&rows[4], " %-*s", width, f.name)
		}
		rows[1].WriteString("+ ")
		rows[2].WriteString("| ")
		rows[3].WriteString("+ ")
		rows[4].WriteString("  ")
		fmt.Fprintf(&rows[0], " %-*s", rows[1].Len()-start-1, u.title)
	}
	for i := range rows {
		b.WriteString(strings.TrimRight(rows[i].String(), " "))
		b.WriteByte('\n')
	}
}
