package rmem

import "testing"

// What a descriptor reaches is what its exporter says of the segment, whatever else has had its number.
func TestReach(t *testing.T) {
	f := newFabric(t, 2)
	exporter, importer := f.nodes[1].NewSpace(), f.nodes[0].NewSpace()
	if _, e := importer.Reach(0); e != EDESC {
		t.Errorf("no descriptor: %v, want EDESC", e)
	}
	if _, e := exporter.Record(0); e != EDESC {
		t.Errorf("no segment: %v, want EDESC", e)
	}
	for _, size := range []int{5000, 7000} {
		seg, e := exporter.Export("box", make([]byte, size), Read|Write|Quiet)
		if e != OK {
			t.Fatal(e)
		}
		var o Operation
		importer.Import(&o, "box", 1, Read, false)
		if !o.Done() || o.Result() != OK {
			t.Fatal(o.Result())
		}
		record, e := exporter.Record(seg)
		if e != OK {
			t.Fatal(e)
		}
		want := Reach{Node: 1, Record: record, Size: uint64(size), Rights: Read | Quiet}
		got, e := importer.Reach(Desc(o.Handle()))
		if e != OK || got != want {
			t.Errorf("reaches %+v (%v), want %+v", got, e, want)
		}
		exporter.Revoke(seg)
		if got, e := importer.Reach(Desc(o.Handle())); e != OK || got != want {
			t.Errorf("revoked: reaches %+v (%v), want %+v: that it is revoked only its exporter knows", got, e, want)
		}
	}
	f.nodes[0].PeerDown(1)
	if _, e := importer.Reach(0); e != EDOWN {
		t.Errorf("the node is gone: %v, want EDOWN", e)
	}
}
