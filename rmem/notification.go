package rmem

// A Notification is what Wait returns: somebody has changed the segment, or just
// rung. Notifications of one importer's circuit that nobody has waited for yet are merged into one.
type Notification struct {
	Node   uint32 // who
	Op     uint32 // the last operation: 6 write, 8 cas, 9 fadd, 10 swap, 12 notify, as in the instruction set
	Offset uint64 // lowest offset changed
	Len    uint64 // from there to the highest byte changed
	Count  uint64 // how many notifications were merged into this one
}
