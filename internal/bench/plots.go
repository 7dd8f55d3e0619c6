package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"rmemrun/internal/plot"
)

// Plots are the charts of a record by the names of their files. Those that need what the record does not have are left out.
func (r *Record) Plots() map[string]plot.Chart {
	charts := map[string]plot.Chart{}
	if c := r.ladder(); len(c.Bars) > 0 {
		charts["bench-ladder"] = c
	}
	for _, class := range []struct{ class, file, title string }{
		{ClassUser, "user", "user-defined buffers"},
		{ClassMapped, "mapped", "memory mapped into the initiator"},
		{ClassNet, "network", "two processes, loopback"},
	} {
		lines := r.sizes(class.class)
		if len(lines) == 0 {
			continue
		}
		chart := plot.Chart{
			Title: "Acknowledged writes, " + class.title + ": time against size",
			X:     "bytes", Y: "µs", LogX: true, LogY: true, Bytes: true, Wide: true, Lines: lines,
		}
		charts["bench-latency-"+class.file] = chart
		chart.Title, chart.Y = "Acknowledged writes, "+class.title+": bandwidth against size", "GB/s"
		chart.Lines = bandwidth(lines)
		charts["bench-bandwidth-"+class.file] = chart
	}
	if lines := r.nodes(); len(lines) > 0 {
		charts["bench-nodes"] = plot.Chart{
			Title: "40-byte acknowledged writes: time of one", X: "nodes, each with a guest", Y: "µs", LogX: true, LogY: true, Lines: lines,
		}
	}
	return charts
}

// result finds what was measured of a figure.
func (r *Record) result(group string, ours Probe) *Result {
	i := slices.IndexFunc(r.Results, func(x Result) bool { return x.Group == group && x.Ours == ours && x.Pairs > 0 })
	if i < 0 {
		return nil
	}
	return &r.Results[i]
}

// ladder is what there is from a trap to a store, the dearest first.
func (r *Record) ladder() plot.Chart {
	c := plot.Chart{Title: "From trap to store: engine " + r.Settings.Engine, Y: "ns, logarithmic", LogY: true}
	for _, rung := range []struct {
		name  string
		group string
		ours  Probe
		trips float64
	}{
		{"write under the ptrace engine", GroupLimits, Probe{OursOneCPU, "write", 40}, 1},
		{"SIGILL, handled in the program", GroupFloors, Probe{FloorTraps, "sigill", 0}, 1},
		{"SIGSEGV, handled in the program", GroupFloors, Probe{FloorTraps, "sigsegv", 0}, 1},
		{"int3, handled in the program", GroupFloors, Probe{FloorTraps, "sigtrap", 0}, 1},
		{"system call", GroupFloors, Probe{FloorTraps, "syscall", 0}, 1},
		{"40-byte write, acknowledged", GroupLimits, Probe{Ours, "put", 40}, 1},
		{"40-byte read", GroupLimits, Probe{Ours, "get", 40}, 1},
		{"compare-and-swap", GroupLimits, Probe{Ours, "cas", 8}, 1},
		{"40-byte write, one way", GroupLimits, Probe{OursGuests, "pingpong-poll", 40}, 2},
		{"one cell: encode, decode, checks", GroupLimits, Probe{OursCells, "cell", 40}, 1},
		{"40-byte write, posted", GroupLimits, Probe{Ours, "post", 40}, 1},
	} {
		if x := r.result(rung.group, rung.ours); x != nil {
			c.Bars = append(c.Bars, plot.Bar{Name: rung.name, Value: x.OursNS / rung.trips, Color: colourOf(rung.ours.Subject)})
		}
	}
	// Floors that figures were divided by.
	for _, rung := range []struct {
		name  string
		other Probe
	}{
		{"process_vm_writev of 40 bytes", Probe{FloorVM, "put", 40}},
		{"C tracer: the same write", Probe{FloorTracer, "write", 40}},
		{"word to and fro, shared memory", Probe{FloorMemory, "pingpong", 8}},
		{"40-byte store", Probe{FloorMemory, "store", 40}},
	} {
		for _, x := range r.Results {
			if x.Group == GroupLimits && x.Other != nil && *x.Other == rung.other && x.Pairs > 0 {
				c.Bars = append(c.Bars, plot.Bar{Name: rung.name, Value: x.OtherNS, Color: 1})
				break
			}
		}
	}
	slices.SortStableFunc(c.Bars, func(a, b plot.Bar) int { return cmp.Compare(b.Value, a.Value) })
	return c
}

// colourOf tells ours from floors.
func colourOf(subject string) int {
	switch subject {
	case FloorTraps, FloorMemory, FloorVM, FloorNet:
		return 1
	}
	return 0
}

// sizes are lines of time against size, in µs: of ours, of the floors and of the peers of a class.
func (r *Record) sizes(class string) []plot.Line {
	classes := map[string]string{FloorVM: ClassUser}
	for _, s := range r.Subjects {
		if s.Class != ClassFloor && s.Class != ClassOurs {
			classes[s.Name] = s.Class
		}
	}
	var lines []plot.Line
	add := func(name string, size int, ns float64) {
		i := slices.IndexFunc(lines, func(l plot.Line) bool { return l.Name == name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, plot.Line{Name: name, Color: i})
		}
		if !slices.ContainsFunc(lines[i].Points, func(p plot.Point) bool { return p.X == float64(size) }) {
			lines[i].Points = append(lines[i].Points, plot.Point{X: float64(size), Y: ns / 1000})
		}
	}
	ours := map[string]string{ClassUser: "rmemrun", ClassMapped: "rmemrun, rmem_map", ClassNet: "rmemrun, UDP"}[class]
	for _, x := range r.Results {
		switch {
		case x.Group != GroupSweep || x.Pairs == 0:
		case x.Other != nil && classes[x.Other.Subject] == class:
			add(ours, x.Ours.Bytes, x.OursNS)
			add(x.Other.Subject, x.Other.Bytes, x.OtherNS)
		case x.Ours.Subject == FloorMemory && class != ClassNet && len(lines) > 0:
			add("memcpy", x.Ours.Bytes, x.OursNS)
		}
	}
	return lines
}

// bandwidth is the same data as GB/s.
func bandwidth(lines []plot.Line) []plot.Line {
	out := slices.Clone(lines)
	for i := range out {
		out[i].Points = slices.Clone(out[i].Points)
		for k, p := range out[i].Points {
			out[i].Points[k].Y = p.X / p.Y / 1000
		}
	}
	return out
}

// nodes are lines of time against the number of nodes.
func (r *Record) nodes() []plot.Line {
	idle := plot.Line{Name: "one guest writes, the others wait"}
	busy := plot.Line{Name: "all write to all: time divided by all writes", Color: 1}
	for _, n := range sweepNodes {
		for _, l := range []struct {
			line *plot.Line
			item string
		}{{&idle, "put"}, {&busy, "alltoall"}} {
			if x := r.result(GroupSweep, Probe{oursNodes(n), l.item, 40}); x != nil {
				l.line.Points = append(l.line.Points, plot.Point{X: float64(n), Y: x.OursNS / 1000})
			}
		}
	}
	var lines []plot.Line
	for _, l := range []plot.Line{idle, busy} {
		if len(l.Points) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// WritePlots writes the record's charts into a directory and returns their names.
func (r *Record) WritePlots(dir string) ([]string, error) {
	charts := r.Plots()
	var names []string
	for name := range charts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := charts[name]
		if !positive(c) {
			return nil, fmt.Errorf("the chart %q has values that are not positive", c.Title)
		}
		if err := c.Write(dir, name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// positive says whether a logarithmic axis can show all values.
func positive(c plot.Chart) bool {
	ok := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	for _, l := range c.Lines {
		if slices.ContainsFunc(l.Points, func(p plot.Point) bool { return !ok(p.X) || !ok(p.Y) }) {
			return false
		}
	}
	return !slices.ContainsFunc(c.Bars, func(b plot.Bar) bool { return !ok(b.Value) })
}
