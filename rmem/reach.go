package rmem

// A Reach is what a descriptor reaches: which segment, how long it is, and what its exporter has granted.
// It is for who knows another way to the memory than the network, and has to keep to the same rights.
type Reach struct {
	Node   int
	Record Record
	Size   uint64
	Rights Rights // Quiet too
}

// Reach returns what a descriptor reaches. EDESC: there is no such descriptor. EDOWN: the node is gone, or the circuit has
// failed; the rest is returned all the same.
func (s *Space) Reach(d Desc) (Reach, Error) {
	c := s.descriptors.get(int32(d))
	if c == nil {
		return Reach{}, EDESC
	}
	r := Reach{c.peer.number, c.reaches, c.size, c.rights}
	if c.down() {
		return r, EDOWN
	}
	return r, OK
}

// Record returns by what an importer's Reach names a segment of the space. EDESC: there is no such segment.
func (s *Space) Record(seg Seg) (Record, Error) {
	g := s.segments.get(int32(seg))
	if g == nil {
		return Record{}, EDESC
	}
	return g.record, OK
}
