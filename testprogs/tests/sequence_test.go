package tests

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"

	"rmemrun/rmem"
)

// A circuit names a circuit in all runs of a job alike.
type circuit struct {
	importer, exporter int
	segment            string // without the numbers that are of one run
	ordinal            int    // of those that the importer has had to the segment, and used
	part               uint64 // of the segment: operations on different ones have no order
}

func (c circuit) String() string {
	return fmt.Sprintf("circuit %d of node %d to %q of node %d, part %d", c.ordinal, c.importer, c.segment, c.exporter, c.part)
}

// A view is what a program lays down of the operations on a segment. The zero view: all of it, in order.
type view struct {
	// values: what others change at the same time is read and compared, so that what is found is a matter of who was first. Neither that is
	// compared, nor what was computed from it, nor that a cas has found another value, and how often.
	values bool
	// repeats: what is found half changed is read again, so that how often is a matter of when. Of the same operation several times in a row one is compared.
	repeats bool
	// order: threads use one circuit, each as it comes; the operations are compared, and not their order.
	order bool
	// part: threads use one circuit, each on so many bytes of its own. 0: no.
	part uint64
}

// views are those of the segments of a program that have not the zero view.
type views map[string]view

// A recording is what became of the operations of one run, by circuit, as text.
type recording struct {
	views    views
	circuits map[rmem.CircuitID]map[uint64][]string // by part
	names    map[rmem.CircuitID]string
	by       [rmem.ByGuest + 1]int // how many there were, but blocks, by who carried them out
}

func newRecording(v views) *recording {
	return &recording{views: v, circuits: map[rmem.CircuitID]map[uint64][]string{}, names: map[rmem.CircuitID]string{}}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// tell is a runtime.Witness's.
func (r *recording) tell(e *rmem.Effect) {
	if e.Len <= rmem.MaxCell {
		r.by[e.By]++
	}
	name := numbers.ReplaceAllString(e.Segment, "#")
	v := r.views[name]
	parts := r.circuits[e.Circuit]
	if parts == nil {
		parts = map[uint64][]string{}
		r.circuits[e.Circuit], r.names[e.Circuit] = parts, name
	}
	part := uint64(0)
	if v.part != 0 {
		part = e.Offset / v.part
	}
	if v.values && e.Op == rmem.OpCAS && e.Status == rmem.OK && e.Old != e.Expected {
		return
	}
	line := text(e, v.values)
	if n := len(parts[part]); v.repeats && n > 0 && parts[part][n-1] == line {
		return
	}
	parts[part] = append(parts[part], line)
}

// text is an operation and what became of it. Without the values it is what was asked for.
func text(e *rmem.Effect, without bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d+%d", e.Op, e.Offset, e.Len)
	if e.Notify {
		b.WriteString(" notify")
	}
	if !without {
		switch {
		case len(e.Data) > rmem.MaxCell:
			h := fnv.New64a()
			h.Write(e.Data)
			fmt.Fprintf(&b, " #%x", h.Sum64())
		case len(e.Data) > 0:
			fmt.Fprintf(&b, " %x", e.Data)
		case e.Op == rmem.OpCAS, e.Op == rmem.OpFAdd, e.Op == rmem.OpSwap:
			fmt.Fprintf(&b, " %x,%x: %x", e.Expected, e.Operand, e.Old)
		}
	}
	if e.Status != rmem.OK {
		b.WriteString(" " + e.Status.Name())
	}
	return b.String()
}

// sequences is what happened on each circuit.
func (r *recording) sequences() map[circuit][]string {
	ids := slices.SortedFunc(maps.Keys(r.circuits), func(a, b rmem.CircuitID) int {
		return cmp.Or(a.Importer-b.Importer, int(int32(a.Number-b.Number)))
	})
	ordinals := map[circuit]int{}
	all := map[circuit][]string{}
	for _, id := range ids {
		c := circuit{importer: id.Importer, exporter: id.Exporter, segment: r.names[id]}
		ordinal := ordinals[c]
		ordinals[c]++
		for part, lines := range r.circuits[id] {
			c.ordinal, c.part = ordinal, part
			if r.views[c.segment].order {
				slices.Sort(lines)
			}
			all[c] = lines
		}
	}
	return all
}

// deviation is where two runs first differ, on each circuit that they do on; "": nowhere.
func deviation(right, got map[circuit][]string) string {
	circuits := maps.Clone(right)
	maps.Copy(circuits, got)
	var b strings.Builder
	for _, c := range slices.SortedFunc(maps.Keys(circuits), func(a, b circuit) int { return strings.Compare(a.String(), b.String()) }) {
		want, have := right[c], got[c]
		if slices.Equal(want, have) {
			continue
		}
		n := 0
		for n < min(len(want), len(have)) && want[n] == have[n] {
			n++
		}
		fmt.Fprintf(&b, "%v: %d operations, not %d; from number %d on\n", c, len(have), len(want), n)
		for i := n; i < min(n+4, max(len(want), len(have))); i++ {
			fmt.Fprintf(&b, "\t%-40s not %s\n", at(have, i), at(want, i))
		}
	}
	return b.String()
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(nothing)"
}
