package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Paint colours a verdict.
type Paint func(Verdict) string

// Table prints the figures, the limits first, and what is missing.
func (r *Record) Table(w io.Writer, paint Paint) error {
	var out bytes.Buffer
	r.head(&out)
	for _, group := range []string{GroupLimits, GroupUser, GroupMapped, GroupNet, GroupFloors} {
		results := slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.Group != group })
		if len(results) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n", groupTitles[group])
		if group == GroupUser || group == GroupMapped || group == GroupNet {
			slices.SortStableFunc(results, func(a, b Result) int { return cmp.Compare(itemRank(a.Other), itemRank(b.Other)) })
		}
		t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		last := ""
		for _, x := range results {
			name := x.Name
			if name == last {
				x.Name = "″"
			}
			last = name
			x.row(t, paint)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	r.missing(&out)
	r.verdicts(&out)
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// itemRank orders peers' figures by what was measured, so that those of one item stand together.
func itemRank(p *Probe) int {
	order := []string{"put:40", "write:40", "post:40", "put-asleep:40", "write-asleep:40", "get:40", "cas:8", "fadd:8", "pingpong:40", "put:1048576"}
	if i := slices.Index(order, key(p.Item, p.Bytes)); i >= 0 {
		return i
	}
	return len(order)
}

var groupTitles = map[string]string{
	GroupLimits: "Figures and their limits",
	GroupUser:   "Peers, " + GroupUser + ": malloc'd or static memory, as our segments are",
	GroupMapped: "Peers, " + GroupMapped + "; rmem_map is our counterpart",
	GroupNet:    "Peers, " + GroupNet + ": our two processes joined by UDP",
	GroupFloors: "Floors by themselves",
}

func (r *Record) head(w io.Writer) {
	s := r.Settings
	fmt.Fprintf(w, "Engine %s; initiator on CPU %d, target on CPU %d; %d ms an item; load %s to %s; %.0f s.\n",
		s.Engine, s.CPUs[0], s.CPUs[1], s.Milliseconds, r.Load[0], r.Load[1], r.Took)
	classes := map[string]int{}
	for i := range r.Runs {
		if r.Runs[i].Class != OneCPU {
			classes[r.Runs[i].Class]++
		}
	}
	var seen []string
	for _, c := range []string{SMT, Near, Far, Moved, Busy} {
		if classes[c] > 0 {
			seen = append(seen, fmt.Sprintf("%d %s", classes[c], c))
		}
	}
	if len(seen) > 0 {
		fmt.Fprintf(w, "Runs by where the CPUs were: %s.\n", strings.Join(seen, ", "))
	}
	fmt.Fprintln(w, "A ratio is the median over pairs of runs of one class, one behind the other; in brackets the least and the greatest.")
	if slices.ContainsFunc(r.Results, func(x Result) bool { return x.Noisy }) {
		fmt.Fprintf(w, "Noisy: in some of the runs other programs had more than %.0f %% of the CPUs, and too few were without.\n", quietShare*100)
	}
}

// row prints: figure, ours, other, value, limit, pairs, verdict.
func (x *Result) row(w io.Writer, paint Paint) {
	if x.Pairs == 0 {
		with := ""
		if x.Other != nil {
			with = x.Other.Subject
			if x.OtherNS > 0 {
				with += " " + duration(x.OtherNS/float64(max(x.Trips, 1)))
			}
		}
		fmt.Fprintf(w, "%s\t\t%s\t\t%s\t\t%s\t%s\n", x.Name, with, x.limit(), paint(x.Verdict), x.Reason)
		return
	}
	trips := float64(max(x.Trips, 1))
	other, value := "", ""
	switch x.Relation {
	case Ratio:
		other = x.Other.Subject + " " + duration(x.OtherNS/trips)
		if stalls(x.OtherNS) || strings.HasSuffix(x.Other.Item, "-asleep") && stalls(x.OtherMax) {
			other += " stalls"
		}
		value = fmt.Sprintf("%s (%s–%s)", number(x.Value), number(x.Low), number(x.High))
	case Difference:
		other = x.Other.Subject + " " + duration(x.OtherNS)
		value = fmt.Sprintf("+%s", duration(x.Value))
	case Absolute, Longest:
		value = fmt.Sprintf("(%s–%s)", duration(x.Low/trips), duration(x.High/trips))
	}
	reason := x.Reason
	if x.Verdict == Unjudged {
		reason = "" // said once, below
	}
	class := x.Class
	if x.Noisy {
		class += ", noisy"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d %s\t%s\t%s\n", x.Name, duration(x.OursNS/trips), other, value, x.limit(), x.Pairs, class, paint(x.Verdict), reason)
}

// stalls says whether a time is one that waited for a sleeper.
func stalls(ns float64) bool { return ns >= 100*ms }

func (x *Result) limit() string {
	switch {
	case x.Limit == 0:
		return ""
	case x.Relation == Ratio:
		return "≤ " + number(x.Limit)
	case x.Relation == Difference:
		return "≤ +" + duration(x.Limit)
	}
	return "≤ " + duration(x.Limit)
}

// duration writes nanoseconds with three digits and a unit.
func duration(ns float64) string {
	for _, u := range []struct {
		ns   float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
		if math.Abs(ns) >= u.ns*0.9995 {
			return number(ns/u.ns) + " " + u.name
		}
	}
	return number(ns) + " ns"
}

// number writes about three digits, without an exponent.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.0995 || a == 0:
		return fmt.Sprintf("%.2f", v)
	case a < 0.001:
		return "<0.001"
	}
	return fmt.Sprintf("%.2g", v)
}

// missing lists the peers that could not run, and what to install.
func (r *Record) missing(w io.Writer) {
	var reasons []string
	names := map[string][]string{}
	for _, s := range r.Subjects {
		if s.Missing == "" {
			continue
		}
		why := fmt.Sprintf("%s: %s", s.Install, s.Missing)
		if names[why] == nil {
			reasons = append(reasons, why)
		}
		names[why] = append(names[why], s.Name)
	}
	if len(reasons) > 0 {
		fmt.Fprintln(w, "\nPeers that are missing, and what installs them on Debian")
	}
	for _, why := range reasons {
		fmt.Fprintf(w, "%s; needed by %s\n", why, strings.Join(names[why], "; "))
	}
}

// verdicts counts them.
func (r *Record) verdicts(w io.Writer) {
	count := map[Verdict]int{}
	for _, x := range r.Results {
		if x.Limit > 0 {
			count[x.Verdict]++
		}
	}
	var parts []string
	for _, v := range []struct {
		verdict Verdict
		name    string
	}{{Pass, "pass"}, {Fail, "fail"}, {Unsettled, "unsettled"}, {Unjudged, "not judged"}, {Missing, "missing"}} {
		if n := count[v.verdict]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v.name))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "\nLimits: %s.\n", strings.Join(parts, ", "))
	}
	if count[Unjudged] > 0 {
		fmt.Fprintf(w, "Those that are not judged are limits of another engine than %s.\n", r.Settings.Engine)
	}
}

// Failed says whether a figure does not keep its limit.
func (r *Record) Failed() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Verdict == Fail })
}
