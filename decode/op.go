package decode

import "strconv"

// Op is the operation of an instruction. The numbers are those of the encoding,
// on every architecture, and of the op field of an event that a guest waits for.
type Op uint8

// The operations, in the order of docs/isa.md, which says what each does.
const (
	Export  Op = iota + 1 // make memory a named segment
	Revoke                // end a segment
	Inhibit               // refuse, or accept again, writes to a segment
	Import                // connect to a segment and get a descriptor
	Release               // end a descriptor
	Write                 // local memory to remote memory
	Read                  // remote memory to local memory
	CAS                   // remote compare-and-swap
	FAdd                  // remote fetch-and-add
	Swap                  // remote swap
	Fence                 // wait for the end of what a descriptor has begun
	Notify                // a notification with no data
	Wait                  // wait for a notification
	Node                  // the number of this node
	Nodes                 // the number of nodes
	Poll                  // take in what has arrived for own segments
	Map                   // remote memory into the address space
	Unmap                 // end a mapping
)

// Flags modify an operation.
//
//	  7                       2   1   0
//	+---+---+---+---+---+---+---+---+
//	|       reserved, 0     | A | N |
//	+---+---+---+---+---+---+---+---+
type Flags uint8

// The flags. Which operation may carry which is in the table of docs/isa.md.
const (
	FlagNotify Flags = 1 << iota // N: notify the exporter when the operation has taken effect
	FlagAsync                    // A: a read that returns at once and is completed by a fence
)

// size says what the width field of an operation means.
type size uint8

const (
	sizeNone   size = iota // no meaning; must be 1
	sizeSwap               // the word whose bytes are reversed: 1 (none), 2, 4 or 8
	sizeAtomic             // the word that is operated on: 4 or 8
)

// ops describes every operation. The order of the operands is that of the C
// binding's arguments. The field that a kind of operand lives in is the same for
// all operations that have it, which is why the whole set needs so little logic.
var ops = [...]struct {
	name     string
	flags    Flags
	size     size
	operands []Operand
}{
	Export: {"export", 0, sizeNone, []Operand{
		{FieldP, "name", KindAddress}, {FieldC, "name_length", KindSize}, {FieldV, "base", KindAddress},
		{FieldA, "length", KindSize}, {FieldD, "rights", KindRights}}},
	Revoke:  {"revoke", 0, sizeNone, []Operand{{FieldP, "seg", KindInt}}},
	Inhibit: {"inhibit", 0, sizeNone, []Operand{{FieldP, "seg", KindInt}, {FieldV, "on", KindInt}}},
	Import: {"import", 0, sizeNone, []Operand{
		{FieldP, "name", KindAddress}, {FieldC, "name_length", KindSize}, {FieldA, "node", KindInt},
		{FieldD, "rights", KindRights}, {FieldV, "timeout_ms", KindInt}}},
	Release: {"release", 0, sizeNone, []Operand{{FieldP, "desc", KindDescriptor}}},
	Write: {"write", FlagNotify, sizeSwap, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldV, "source", KindAddress},
		{FieldC, "length", KindSize}}},
	Read: {"read", FlagAsync, sizeSwap, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldV, "destination", KindAddress},
		{FieldC, "length", KindSize}}},
	CAS: {"cas", FlagNotify, sizeAtomic, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldD, "expected", KindWord},
		{FieldV, "desired", KindWord}}},
	FAdd: {"fadd", FlagNotify, sizeAtomic, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldV, "addend", KindWord}}},
	Swap: {"swap", FlagNotify, sizeAtomic, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldV, "value", KindWord}}},
	Fence: {"fence", 0, sizeNone, []Operand{{FieldP, "desc", KindDescriptor}}},
	Notify: {"notify", 0, sizeNone, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}}},
	Wait: {"wait", 0, sizeNone, []Operand{
		{FieldP, "seg", KindInt}, {FieldV, "event", KindAddress}, {FieldA, "timeout_ms", KindInt}}},
	Node:  {"node", 0, sizeNone, nil},
	Nodes: {"nodes", 0, sizeNone, nil},
	Poll:  {"poll", 0, sizeNone, nil},
	Map: {"map", 0, sizeNone, []Operand{
		{FieldP, "desc", KindDescriptor}, {FieldA, "offset", KindSize}, {FieldC, "length", KindSize},
		{FieldD, "rights", KindRights}}},
	Unmap: {"unmap", 0, sizeNone, []Operand{{FieldV, "base", KindAddress}}},
}

// Ops returns every operation, in the order of its number.
func Ops() []Op {
	all := make([]Op, 0, len(ops)-1)
	for op := Export; op.known(); op++ {
		all = append(all, op)
	}
	return all
}

func (op Op) known() bool { return op > 0 && int(op) < len(ops) }

// String returns the name of the operation in lower case, "op(37)" for a number
// that names none.
func (op Op) String() string {
	if !op.known() {
		return "op(" + strconv.Itoa(int(op)) + ")"
	}
	return ops[op].name
}

// Operands returns the operands of the operation, in the order of the C
// binding's arguments; nil for an unknown operation. The slice is shared: it
// must not be changed.
func (op Op) Operands() []Operand {
	if !op.known() {
		return nil
	}
	return ops[op].operands
}

// Flags returns the flags that the operation may carry.
func (op Op) Flags() Flags {
	if !op.known() {
		return 0
	}
	return ops[op].flags
}

// Atomic says whether the operation reads and changes one word and returns the
// old one in V.
func (op Op) Atomic() bool { return op.known() && ops[op].size == sizeAtomic }

// uses says which of V, A and P the operation uses.
func (op Op) uses(f Field) bool {
	for _, o := range op.Operands() {
		if o.Field == f {
			return true
		}
	}
	return false
}
