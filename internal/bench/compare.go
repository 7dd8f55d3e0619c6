package bench

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A Change is what became of a figure from one record to another.
type Change struct {
	A, B Result
	// Factor is B's value divided by A's: below 1 is better.
	Factor float64
	Kind   string
}

// Kinds of changes.
const (
	Better    = "better"
	Worse     = "worse"
	Same      = "same"      // the ranges of the pairs overlap
	Elsewhere = "elsewhere" // the CPUs were not in the same places: not comparable
	Few       = "few pairs" // too few for the ranges to mean anything
)

// Compare compares the figures that both records have. A change is one only if the ranges of the values of the pairs do not overlap.
func Compare(a, b *Record) []Change {
	var changes []Change
	for _, x := range a.Results {
		i := slices.IndexFunc(b.Results, func(y Result) bool { return sameFigure(x.Figure, y.Figure) })
		if i < 0 || x.Pairs == 0 || b.Results[i].Pairs == 0 {
			continue
		}
		y := b.Results[i]
		c := Change{A: x, B: y, Factor: y.Value / x.Value, Kind: Same}
		switch {
		case x.Class != y.Class:
			c.Kind = Elsewhere
		case x.Pairs < fewest || y.Pairs < fewest:
			c.Kind = Few
		case y.High < x.Low:
			c.Kind = Better
		case y.Low > x.High:
			c.Kind = Worse
		}
		changes = append(changes, c)
	}
	return changes
}

// sameFigure says whether two figures are of the same things; limits may differ.
func sameFigure(x, y Figure) bool {
	other := func(f Figure) Probe {
		if f.Other == nil {
			return Probe{}
		}
		return *f.Other
	}
	return x.Group == y.Group && x.Name == y.Name && x.Relation == y.Relation && x.Ours == y.Ours && other(x) == other(y)
}

// WriteChanges prints a comparison, and what differs in how the two were measured.
func WriteChanges(w io.Writer, a, b *Record) error {
	var out bytes.Buffer
	if !bytes.Equal(compact(a.Machine), compact(b.Machine)) {
		fmt.Fprintf(&out, "The machines or the programs differ:\nA: %s\nB: %s\n", compact(a.Machine), compact(b.Machine))
	}
	if a.Settings != b.Settings {
		fmt.Fprintf(&out, "The settings differ:\nA: %+v\nB: %+v\n", a.Settings, b.Settings)
	}
	changes := Compare(a, b)
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tbeside\tA\tB\tB to A\t")
	for _, c := range changes {
		if c.A.Group == GroupSweep {
			continue
		}
		beside := ""
		if c.A.Other != nil {
			beside = c.A.Other.Subject
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t%s\n", c.A.Name, beside, c.A.valueRange(), c.B.valueRange(), c.Factor, c.Kind)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&out, "%d figures are in both.\n", len(changes))
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func (x *Result) valueRange() string {
	write := number
	if x.Relation != Ratio {
		write = duration
	}
	return fmt.Sprintf("%s (%s–%s) %s", write(x.Value), write(x.Low), write(x.High), x.Class)
}

// compact takes the blanks out of JSON.
func compact(text []byte) []byte {
	return bytes.Join(bytes.Fields(text), nil)
}
