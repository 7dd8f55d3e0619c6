package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A benchReport is everything that was measured. Its JSON form is stable within a Version.
type benchReport struct {
	Version int            `json:"version"`
	Machine benchMachine   `json:"machine"`
	Rounds  int            `json:"rounds"`
	Count   int            `json:"operations_per_round"` // at most; a round of one size ends after 100 ms
	NoFloor string         `json:"no_floor,omitempty"`   // why there is none
	Results []*benchResult `json:"results"`
}

// A benchResult is one operation with one size.
type benchResult struct {
	Operation string             `json:"operation"`
	Direction string             `json:"direction"`
	What      string             `json:"what"`
	Size      int                `json:"bytes"`
	Cells     float64            `json:"cells_per_operation"`
	Engine    *benchFigures      `json:"engine"`
	Floor     *benchFigures      `json:"floor,omitempty"`
	Ratio     map[string]float64 `json:"ratio,omitempty"` // engine to floor: min, p50, p99, p99.9, max

	posted bool // it is over when it is posted, and done later
}

// title is the heading of the operation's table.
func (r *benchResult) title() string {
	direction := r.Direction
	if r.posted {
		direction = "posted"
	}
	return fmt.Sprintf("%s, %s: %s", r.Operation, direction, r.What)
}

// floorName is what people are shown as the name of the floor. It bounds the ptrace engine alone: another one, which does
// not trap, may be far below.
func (r *benchResult) floorName() string {
	if r.Engine.Name == "ptrace" {
		return "floor"
	}
	return "C tracer"
}

// benchFigures are the times of one operation under the engine or the floor.
type benchFigures struct {
	Name      string             `json:"name"`
	Count     int64              `json:"operations"`
	Seconds   float64            `json:"seconds"` // that the operations took together
	NS        map[string]float64 `json:"ns"`      // min, p50, p99, p99.9, max, mean, stdev
	PerSecond float64            `json:"operations_per_second"`
	Cells     float64            `json:"cells_per_second,omitempty"`
	RoundP50  []float64          `json:"round_p50_ns"`
	Histogram []byte             `json:"histogram"` // HdrHistogram V2, compressed; nanoseconds of one or, for notify, both ways

	trips int
	histo *hdrhistogram.Histogram
}

// benchPoints are the points of a distribution that are printed.
var benchPoints = []struct {
	name     string
	quantile float64
}{{"min", 0}, {"p50", 50}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}}

func newBenchResult(o benchOperation, engine string, size int, cells float64) *benchResult {
	return &benchResult{
		Operation: o.name, Direction: o.direction, What: o.explain(engine), Size: size, Cells: cells,
		posted: o.posted(engine),
	}
}

// newHistogram holds 1 ns to 100 s with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(100*time.Second), 3)
}

// add takes in a round; f is nil at first.
func (f *benchFigures) add(name string, s guestSamples, o benchOperation) *benchFigures {
	if f == nil {
		f = &benchFigures{Name: name, trips: o.trips, histo: newHistogram()}
	}
	round := newHistogram()
	for _, ns := range s.each {
		// Outside the range is nothing that a guest can measure within its limit, but
		// it might; then the end of the range is what is noted.
		_ = round.RecordValue(min(max(ns, 1), round.HighestTrackableValue()))
	}
	f.histo.Merge(round)
	f.Count += int64(len(s.each))
	f.Seconds += s.total.Seconds()
	f.RoundP50 = append(f.RoundP50, f.at(round, 50))
	return f
}

// at is a quantile in nanoseconds.
func (f *benchFigures) at(h *hdrhistogram.Histogram, quantile float64) float64 {
	v := h.ValueAtPercentile(quantile)
	switch quantile {
	case 0:
		v = h.Min()
	case 100:
		v = h.Max()
	}
	return float64(v) / float64(f.trips)
}

// finish computes what is reported when all rounds are over.
func (r *benchResult) finish() {
	for _, f := range []*benchFigures{r.Engine, r.Floor} {
		if f == nil {
			continue
		}
		f.NS = map[string]float64{"mean": f.histo.Mean() / float64(f.trips), "stdev": f.histo.StdDev() / float64(f.trips)}
		for _, p := range benchPoints {
			f.NS[p.name] = f.at(f.histo, p.quantile)
		}
		f.PerSecond = float64(f.Count) / f.Seconds
		if encoded, err := f.histo.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
			f.Histogram = encoded
		}
	}
	r.Engine.Cells = r.Engine.PerSecond * r.Cells
	if r.Floor != nil {
		r.Ratio = map[string]float64{}
		for _, p := range benchPoints {
			r.Ratio[p.name] = r.Engine.NS[p.name] / r.Floor.NS[p.name]
		}
	}
}

// benchFormats are what --format may say.
var benchFormats = map[string]func(io.Writer, *benchReport) error{
	"text":     writeBenchText,
	"json":     writeBenchJSON,
	"perftest": writeBenchPerftest,
	"osu":      writeBenchOSU,
}

// byOperation gives the results of each operation together, in order.
func (r *benchReport) byOperation(f func([]*benchResult)) {
	for i := 0; i < len(r.Results); {
		end := i + 1
		for end < len(r.Results) && r.Results[end].Operation == r.Results[i].Operation {
			end++
		}
		f(r.Results[i:end])
		i = end
	}
}

// method is the lines about how was measured.
func (r *benchReport) method() []string {
	m := r.Machine
	where := "on all CPUs"
	if m.Pinned != nil {
		where = "everything on CPU " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(m.Pinned)), ","), "[]")
	}
	lines := []string{
		fmt.Sprintf("%s (%d CPUs), %s, %s; %s.", m.CPU, m.CPUs, m.Kernel, m.Go, where),
		fmt.Sprintf("Two nodes back to back; %d × up to %d operations. Times in µs; one clock reading is in each.", r.Rounds, r.Count),
	}
	if r.NoFloor != "" {
		return append(lines, "No floor: "+r.NoFloor)
	}
	name := "Floor"
	if len(r.Results) > 0 && r.Results[0].floorName() != "floor" {
		name = r.Results[0].floorName()
	}
	return append(lines, name+": the same guest under a minimal C ptrace tracer, in turn with rmemrun.")
}

func writeBenchText(w io.Writer, r *benchReport) error {
	var out bytes.Buffer
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range r.method() {
		fmt.Fprintln(t, line)
	}
	r.byOperation(func(results []*benchResult) {
		fmt.Fprintf(t, "\n%s\n", results[0].title())
		fmt.Fprintln(t, "bytes\t\tops\tmin\tp50\tp99\tp99.9\tmax\top/s\tcells/s\t")
		for _, b := range results {
			size := fmt.Sprint(b.Size)
			if b.Size == 0 {
				size = "-"
			}
			benchRow(t, size, b.Engine.Name, b.Engine)
			if b.Floor == nil {
				continue
			}
			benchRow(t, "", b.floorName(), b.Floor)
			fmt.Fprint(t, "\tratio\t\t")
			for _, p := range benchPoints {
				digits := 2
				if b.Ratio[p.name] < 0.1 {
					digits = 4
				}
				fmt.Fprintf(t, "%.*f\t", digits, b.Ratio[p.name])
			}
			fmt.Fprint(t, "\t\t\n")
		}
	})
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		// The last column of a row may be empty.
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func benchRow(w io.Writer, size, name string, f *benchFigures) {
	fmt.Fprintf(w, "%s\t%s\t%d\t", size, name, f.Count)
	for _, p := range benchPoints {
		fmt.Fprintf(w, "%.2f\t", f.NS[p.name]/1000)
	}
	fmt.Fprintf(w, "%.0f\t", f.PerSecond)
	if f.Cells > 0 {
		fmt.Fprintf(w, "%.0f", f.Cells)
	}
	fmt.Fprintln(w, "\t")
}

func writeBenchJSON(w io.Writer, r *benchReport) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeBenchPerftest prints the table of ib_write_lat and its kin (linux-rdma/perftest).
func writeBenchPerftest(w io.Writer, r *benchReport) error {
	var b strings.Builder
	line := strings.Repeat("-", 87)
	for _, text := range r.method() {
		fmt.Fprintf(&b, "# %s\n", text)
	}
	r.byOperation(func(results []*benchResult) {
		fmt.Fprintf(&b, "%s\n# %s\n", line, results[0].title())
		fmt.Fprintln(&b, " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]")
		for _, x := range results {
			perftestRow(&b, " ", x.Size, x.Engine)
			if x.Floor != nil {
				perftestRow(&b, "# "+x.floorName()+" ", x.Size, x.Floor)
			}
		}
	})
	fmt.Fprintln(&b, line)
	_, err := io.WriteString(w, b.String())
	return err
}

func perftestRow(w io.Writer, before string, size int, f *benchFigures) {
	us := func(name string) float64 { return f.NS[name] / 1000 }
	fmt.Fprintf(w, "%s%-7d %-10d %-14.2f %-14.2f %-16.2f %-14.2f %-15.2f %-22.2f %-7.2f\n", before, size, f.Count,
		us("min"), us("max"), us("p50"), us("mean"), us("stdev"), us("p99"), us("p99.9"))
}

// writeBenchOSU prints two columns as the OSU micro-benchmarks do; as there, the latency is the mean.
func writeBenchOSU(w io.Writer, r *benchReport) error {
	var b strings.Builder
	r.byOperation(func(results []*benchResult) {
		fmt.Fprintf(&b, "# rmemrun bench %s\n", results[0].title())
		for _, text := range r.method() {
			fmt.Fprintf(&b, "# %s\n", text)
		}
		fmt.Fprintf(&b, "%-10s%20s\n", "# Size", "Latency (us)")
		for _, x := range results {
			fmt.Fprintf(&b, "%-10d%20.2f\n", x.Size, x.Engine.NS["mean"]/1000)
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// medianRatio is the median over the rounds of the engine's p50 to the floor's: what a
// single disturbed round cannot change.
func (r *benchResult) medianRatio() float64 {
	ratios := make([]float64, 0, len(r.Engine.RoundP50))
	for i := range r.Engine.RoundP50 {
		ratios = append(ratios, r.Engine.RoundP50[i]/r.Floor.RoundP50[i])
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
