package bench

import (
	"fmt"
	"slices"
)

// fewest is how many pairs of one class a verdict needs.
const fewest = 5

// usable says whether runs of a class count.
func usable(class string) bool { return class != Moved && class != Busy }

// A sighting is a pair of runs of one round, of one class.
type sighting struct {
	class       string
	ours, other *Run // other may be nil
}

// quiet says whether others used little of the CPUs meanwhile.
func (s sighting) quiet() bool {
	return s.ours.Others <= quietShare && (s.other == nil || s.other.Others <= quietShare)
}

// sightings are the usable runs of a pair. A subject alone may be taken from any pair.
func (r *Record) sightings(ours, other string) []sighting {
	var all []sighting
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Subject != ours || !usable(run.Class) {
			continue
		}
		if other == "" {
			all = append(all, sighting{run.Class, run, nil})
			continue
		}
		for k := range r.Runs {
			with := &r.Runs[k]
			if with.Subject == other && with.Pair == run.Pair && with.Round == run.Round && with.Class == run.Class {
				all = append(all, sighting{run.Class, run, with})
			}
		}
	}
	return all
}

// settled says whether a pair has as many quiet sightings of one class as are wanted, or never will.
func (r *Record) settled(p *pair, wanted int) bool {
	failed := 0
	for i := range r.Runs {
		if r.Runs[i].Pair == p.name() && r.Runs[i].Failed != "" {
			failed++
		}
	}
	if failed >= wanted {
		return true
	}
	other := ""
	if p.other != nil {
		other = p.other.Name
	}
	classes := map[string]int{}
	for _, s := range r.sightings(p.ours.Name, other) {
		if s.ours.Pair == p.name() && s.quiet() {
			classes[s.class]++
		}
	}
	for _, n := range classes {
		if n >= wanted {
			return true
		}
	}
	return false
}

// item finds an item of a run.
func (r *Run) item(p Probe) *Item {
	i := slices.IndexFunc(r.Items, func(i Item) bool { return i.Name == p.Item && i.Bytes == p.Bytes })
	if i < 0 {
		return nil
	}
	return &r.Items[i]
}

// judge makes a result of what was measured.
func (r *Record) judge(f Figure, subjects map[string]*Subject) Result {
	result := Result{Figure: f, Verdict: Missing}
	if f.Other != nil {
		s := subjects[f.Other.Subject]
		switch {
		case s == nil:
			result.Reason = "a peer: see --peers"
			return result
		case s.Missing != "":
			result.Reason = s.Missing
			return result
		}
	}
	byClass, quiet := map[string][][3]float64{}, map[string][][3]float64{} // ours, other, value
	var longest float64
	var alone []float64 // the other's, where ours is absent
	other := ""
	if f.Other != nil {
		other = f.Other.Subject
	}
	for _, s := range r.sightings(f.Ours.Subject, other) {
		values, reason := f.value(s)
		if reason != "" {
			result.Reason = reason
			if f.Relation == Ratio && absent(s.other, s.other.item(*f.Other)) == "" {
				alone = append(alone, s.other.item(*f.Other).P50)
			}
			continue
		}
		byClass[s.class] = append(byClass[s.class], values)
		if s.quiet() {
			quiet[s.class] = append(quiet[s.class], values)
		}
		if s.other != nil {
			longest = max(longest, s.other.item(*f.Other).Max)
		}
	}
	// The first class with enough pairs for a verdict; if there is none, that with the most.
	most := func(of map[string][][3]float64) (class string) {
		for _, c := range []string{OneCPU, Near, SMT, Far} {
			if len(of[c]) >= fewest {
				return c
			}
			if len(of[c]) > len(of[class]) {
				class = c
			}
		}
		return class
	}
	// Quiet pairs, if there are enough for a verdict; else all, and the figure is said to be noisy.
	if c := most(quiet); len(quiet[c]) >= fewest {
		byClass = quiet
	} else {
		result.Noisy = len(quiet[most(byClass)]) < len(byClass[most(byClass)])
	}
	result.Class = most(byClass)
	result.Pairs = len(byClass[result.Class])
	if result.Pairs == 0 {
		if result.Reason == "" {
			result.Reason = r.failure(f)
		}
		if len(alone) > 0 {
			result.OtherNS = median(alone)
		}
		return result
	}
	column := func(k int) []float64 {
		var v []float64
		for _, row := range byClass[result.Class] {
			v = append(v, row[k])
		}
		return v
	}
	result.Reason = ""
	result.OursNS, result.OtherNS, result.Value = median(column(0)), median(column(1)), median(column(2))
	result.Low, result.High = slices.Min(column(2)), slices.Max(column(2))
	result.OtherMax = longest
	switch {
	case f.Limit == 0:
		result.Verdict = Unjudged
	case f.Engine != "" && f.Engine != r.Settings.Engine:
		result.Verdict, result.Reason = Unjudged, fmt.Sprintf("the limit is for the engine %s", f.Engine)
	case result.Pairs < fewest:
		result.Verdict, result.Reason = Unsettled, fmt.Sprintf("a verdict needs %d pairs of one class", fewest)
	case result.Value <= f.Limit:
		result.Verdict = Pass
	default:
		result.Verdict = Fail
	}
	return result
}

// value is what a sighting says of a figure: ours, other and the value, or why nothing.
func (f *Figure) value(s sighting) (values [3]float64, reason string) {
	ours := s.ours.item(f.Ours)
	if reason := absent(s.ours, ours); reason != "" {
		return values, reason
	}
	switch f.Relation {
	case Absolute:
		return [3]float64{ours.P50, 0, ours.P50}, ""
	case Longest:
		return [3]float64{ours.Max, 0, ours.Max}, ""
	}
	other := s.other.item(*f.Other)
	if reason := absent(s.other, other); reason != "" {
		return values, reason
	}
	if f.Relation == Difference {
		return [3]float64{ours.P50, other.P50, ours.P50 - other.P50}, ""
	}
	return [3]float64{ours.P50, other.P50, ours.P50 / other.P50}, ""
}

// absent is why an item of a run has no figures; "" if it has.
func absent(r *Run, i *Item) string {
	switch {
	case r.Failed != "":
		return r.Failed
	case i == nil:
		return r.Subject + " did not measure it"
	case i.Absent != "":
		return i.Absent
	case i.Batches == 0 || i.P50 <= 0:
		return r.Subject + " measured nothing"
	}
	return ""
}

// failure is why there is no usable run of a figure.
func (r *Record) failure(f Figure) string {
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Failed != "" && (run.Subject == f.Ours.Subject || f.Other != nil && run.Subject == f.Other.Subject) {
			return run.Failed
		}
	}
	return "the CPUs moved or were busy during every run"
}
