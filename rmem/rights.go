package rmem

// Rights are what an importer may do with a segment, and what kind of segment it is.
//
//	 31                       4     3       2       1       0
//	+--------------------------+-------+--------+-------+------+
//	|             0            | QUIET | ATOMIC | WRITE | READ |
//	+--------------------------+-------+--------+-------+------+
type Rights uint32

const (
	Read   Rights = 1 << iota // read
	Write                     // write
	Atomic                    // compare-and-swap, fetch-and-add, swap

	// Quiet refuses notifications. It is a property of the segment, given
	// with export only; without it, whoever holds any right may notify.
	Quiet

	access = Read | Write | Atomic
)

// grant answers an importer that asks for want: what it gets of a segment
// exported with r. It gets all it asks for, or EPERM.
func (r Rights) grant(want Rights) (Rights, Error) {
	switch {
	case want == 0 || want&^access != 0:
		return 0, EINVAL
	case want&^r != 0:
		return 0, EPERM
	}
	return want | r&Quiet, OK
}

// A Seg names a segment in the address space that exported it. It is never given
// out twice, save after 2^15 uses of its place in the table.
type Seg int32

// A Desc names what an address space has imported: one circuit. It is never
// given out twice, save after 2^15 uses of its place in the table.
type Desc int32

// Every stands for all descriptors of the address space (Space.Fence).
const Every Desc = 0x7fffffff
