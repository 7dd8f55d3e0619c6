package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"rmemrun/runtime"
)

// A benchOperation is one operation that rmemrun bench measures.
type benchOperation struct {
	name  string
	size  int    // measured unless -s says otherwise, in bytes; 0: it has none
	sizes string // what -s may say
	max   int

	// What one figure is the time of, and whether that is a one-way or a
	// round trip. A measured time is divided by trips.
	direction, what string
	trips           int

	// arrival is what is known of the data then: under ptrace, whose instructions are finished by then, and under engines that
	// post them.
	arrival [2]string
}

// arrivals are those of writes.
var arrivals = [2]string{"; the data is deposited and acknowledged by then", "; the data is posted by then"}

// posted reports whether the operation is over, for the guest, before it is done.
func (o benchOperation) posted(engine string) bool {
	return engine != "ptrace" && o.arrival != [2]string{}
}

// explain says what a figure is under an engine.
func (o benchOperation) explain(engine string) string {
	if engine == "ptrace" {
		return o.what + o.arrival[0]
	}
	return o.what + o.arrival[1]
}

var benchOperations = []benchOperation{
	{name: "write", size: 40, sizes: "1 to 1M", max: 1 << 20, trips: 1, direction: "round trip",
		what: "from a write to the next instruction", arrival: arrivals},
	{name: "read", size: 40, sizes: "1 to 1M", max: 1 << 20, trips: 1, direction: "round trip",
		what: "from a read to the next instruction"},
	{name: "cas", size: 8, sizes: "4 or 8", max: 8, trips: 1, direction: "round trip",
		what: "from a compare-and-swap that succeeds to the next instruction"},
	{name: "fadd", size: 8, sizes: "4 or 8", max: 8, trips: 1, direction: "round trip",
		what: "from a fetch-and-add to the next instruction"},
	{name: "notify", trips: 2, direction: "one way",
		what: "from notify in one program to the return of wait in the other; half of there and back"},
	{name: "block", size: 64 << 10, sizes: "1 to 1M", max: 1 << 20, trips: 1, direction: "round trip",
		what: "from a long write to the next instruction", arrival: arrivals},
}

func findBenchOperation(name string) (benchOperation, error) {
	i := slices.IndexFunc(benchOperations, func(o benchOperation) bool { return o.name == name })
	if i < 0 {
		return benchOperation{}, fmt.Errorf("there is no benchmark %q; there is %s", name, strings.Join(benchNames(), ", "))
	}
	return benchOperations[i], nil
}

func benchNames() []string {
	names := make([]string, len(benchOperations))
	for i, o := range benchOperations {
		names[i] = o.name
	}
	return names
}

// measured gives the sizes that are measured when -s says what; empty: the operation's own.
func (o benchOperation) measured(what string) ([]int, error) {
	if what == "" {
		return []int{o.size}, nil
	}
	if o.size == 0 {
		return nil, fmt.Errorf("%s carries no data: it has no size", o.name)
	}
	sizes, err := parseSizes(what)
	if err != nil {
		return nil, err
	}
	for _, n := range sizes {
		if n > o.max || o.max == 8 && n != 4 && n != 8 {
			return nil, fmt.Errorf("%s of %d bytes cannot be measured; sizes are %s", o.name, n, o.sizes)
		}
	}
	return sizes, nil
}

// parseSizes reads "40" or "8..1M": from the first, doubling, up to the second.
func parseSizes(s string) ([]int, error) {
	low, high, isRange := strings.Cut(s, "..")
	from, err := parseSize(low)
	if err != nil {
		return nil, err
	}
	if !isRange {
		return []int{from}, nil
	}
	to, err := parseSize(high)
	if err != nil {
		return nil, err
	}
	if to < from {
		return nil, fmt.Errorf("size %q: %d is less than %d", s, to, from)
	}
	var sizes []int
	for n := from; n <= to; n *= 2 {
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// parseSize reads a number of bytes from 1 on; K and M are 1024 and 1024².
func parseSize(s string) (int, error) {
	digits, unit := s, 1
	switch {
	case strings.HasSuffix(s, "K"):
		digits, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "M"):
		digits, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 || n > 1<<30/uint64(unit) {
		return 0, fmt.Errorf("size %q: not a number of bytes such as 40, 64K or 1M, or a range of them such as 8..1M", s)
	}
	return int(n) * unit, nil
}

// benchFlags are the flags of rmemrun bench.
type benchFlags struct {
	sizes  string
	count  int
	rounds int
	cpus   string
	engine string
	format string
}

// benchCommand makes the command rmemrun bench.
func (a *app) benchCommand() *cobra.Command {
	var flags benchFlags
	var all benchAllFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench [" + strings.Join(benchNames(), "|") + "]",
		Short: "Measure remote-memory instructions beside their floor",
		Long: `bench measures how long remote-memory instructions take between two nodes, as
the guest sees it, and beside them their floor: the same guest under a minimal
tracer written in C, which serves the same instructions with the same system
calls and does nothing else. The two run in turn. Without an operation, all are
measured.

--all measures every figure that has a limit, beside what bounds it, and says which
limits are kept; --peers other libraries for memory access between processes, too,
as far as they are installed. Then the status is 1 if a limit is not kept.`,
		Example: `  rmemrun bench                     all operations
  rmemrun bench write               a write of 40 bytes
  rmemrun bench read -s 8..1M       reads of 8, 16, 32 … bytes
  rmemrun bench cas --format json   histograms and all
  rmemrun bench --all               figures, limits, pass or fail
  rmemrun bench --peers -o a.json   and MPI, OpenSHMEM, UCX, libfabric
  rmemrun bench compare a.json b.json`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: benchNames(),
		RunE: func(c *cobra.Command, args []string) error {
			if asJSON {
				flags.format = "json"
			}
			if all.all || all.peers || all.sweep {
				if len(args) > 0 {
					return usage("--all measures all there is; to choose, use --only")
				}
				if err := checkEngine(flags.engine); err != nil {
					return usage("%w", err)
				}
				return a.benchAll(flags, all, c.Flags().Changed("rounds"))
			}
			if len(all.only) > 0 || all.output != "" || c.Flags().Changed("time") {
				return usage("--only, --output and --time are for --all, --peers and --sweep")
			}
			b, err := newBench(flags, args)
			if err != nil {
				return wrongCall(err)
			}
			b.log, b.stderr = a.log(), a.stderr
			report, err := b.run()
			if err != nil {
				return &statusError{status: statusFailed, err: err}
			}
			if err := benchFormats[flags.format](a.stdout, report); err != nil {
				return failed("print what was measured: %w", err)
			}
			if flags.format == "text" && slices.ContainsFunc(report.Results, func(r *benchResult) bool { return r.Operation == "write" && r.posted }) {
				fmt.Fprintln(a.stderr, "acknowledged writes: rmemrun bench --all --only acknowledged")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&flags.sizes, "size", "s", "", "bytes: one size, or a range that doubles, 8..1M (default: 40, 8 for atomics, 64K for block)")
	f.IntVarP(&flags.count, "count", "n", 2000, "operations in a round, at most")
	f.IntVar(&flags.rounds, "rounds", 10, "rounds; with --all the pairs of one class that are wanted")
	f.Lookup("rounds").DefValue = "10, with --all 5" // shown, and nothing else
	f.StringVar(&flags.cpus, "cpus", "", "CPUs to run on, as in 0,2-3, or all (default: one with ptrace, else all); with --all those of initiator and target (default: the first two)")
	f.StringVar(&flags.engine, "engine", runtime.Engines()[0], "how instructions are trapped: "+strings.Join(runtime.Engines(), ", "))
	f.StringVar(&flags.format, "format", "text", "text, json, perftest or osu")
	f.BoolVar(&asJSON, "json", false, "as --format json")
	f.BoolVar(&all.all, "all", false, "measure every figure that has a limit")
	f.BoolVar(&all.peers, "peers", false, "and other libraries, as far as they are installed")
	f.BoolVar(&all.sweep, "sweep", false, "and sizes from 8 bytes to 1 MiB and 2 to 16 nodes, for plots")
	f.StringArrayVar(&all.only, "only", nil, "with --all: figures with `WORD` in their name, group or subjects; may be given again")
	f.IntVar(&all.ms, "time", 10, "with --all: `MILLISECONDS` for each item in each run")
	f.StringVarP(&all.output, "output", "o", "", "with --all: write all that was measured to `FILE`, as JSON")
	complete(cmd, "engine", runtime.Engines()...)
	complete(cmd, "format", "text", "json", "perftest", "osu")
	cmd.AddCommand(benchGuestCommand(), a.benchCellsCommand(), a.benchCompareCommand(), a.benchPlotCommand())
	return cmd
}

// checkEngine says whether there is such an engine.
func checkEngine(name string) error {
	if !slices.Contains(runtime.Engines(), name) {
		return fmt.Errorf("--engine=%s: it is %s", name, strings.Join(runtime.Engines(), ", "))
	}
	return nil
}

// An operationBench is a checked request to measure operations beside the tracer.
type operationBench struct {
	flags      benchFlags
	operations []benchOperation
	sizes      [][]int // for each operation
	log        hclog.Logger
	stderr     *os.File // of the guests, and where progress is shown
}

func newBench(flags benchFlags, args []string) (*operationBench, error) {
	b := &operationBench{flags: flags, operations: benchOperations}
	if err := checkEngine(flags.engine); err != nil {
		return nil, err
	}
	if _, ok := benchFormats[flags.format]; !ok {
		return nil, fmt.Errorf("--format=%s: it is text, json, perftest or osu", flags.format)
	}
	if flags.count < 1 || flags.rounds < 1 {
		return nil, fmt.Errorf("--count %d, --rounds %d: both must be at least 1", flags.count, flags.rounds)
	}
	if len(args) == 1 {
		o, err := findBenchOperation(args[0])
		if err != nil {
			return nil, err
		}
		b.operations = []benchOperation{o}
	} else if flags.sizes != "" {
		return nil, fmt.Errorf("-s %s: name the operation whose size it is, as in rmemrun bench write -s %[1]s", flags.sizes)
	}
	for _, o := range b.operations {
		sizes, err := o.measured(flags.sizes)
		if err != nil {
			return nil, err
		}
		b.sizes = append(b.sizes, sizes)
	}
	return b, nil
}

// roundLimit bounds the time that a guest spends on one size in one round.
const roundLimit = 100 * time.Millisecond

// run measures everything.
func (b *operationBench) run() (*benchReport, error) {
	list := b.flags.cpus
	if list == "" && b.flags.engine != "ptrace" {
		list = "all" // guests and agent work at the same time
	}
	cpus, err := pinProcess(list)
	if err != nil {
		return nil, err
	}
	// The measuring guest is this program; the tracer has a /proc/self of its own.
	self := fmt.Sprintf("/proc/%d/exe", os.Getpid())
	floor, err := buildFloor()
	if err != nil {
		return nil, err
	}
	defer floor.close()

	report := &benchReport{Version: 1, Machine: thisMachine(cpus, floor.compiler), Rounds: b.flags.rounds, Count: b.flags.count, NoFloor: floor.missing}
	for i, o := range b.operations {
		results, err := b.measure(self, o, b.sizes[i], floor)
		if err != nil {
			return nil, fmt.Errorf("bench %s: %w", o.name, err)
		}
		report.Results = append(report.Results, results...)
	}
	return report, nil
}

// measure runs the rounds of one operation: the engine and the floor in turn, which of
// them begins changing from round to round, so that what drifts meets both.
func (b *operationBench) measure(self string, o benchOperation, sizes []int, floor *benchFloor) ([]*benchResult, error) {
	args := guestArgs{operation: o.name, sizes: sizes, count: b.flags.count, warmup: max(b.flags.count/10, 1), limit: roundLimit}
	results := make([]*benchResult, len(sizes))
	for i, size := range sizes {
		cells, err := b.cells(self, o, size)
		if err != nil {
			return nil, err
		}
		results[i] = newBenchResult(o, b.flags.engine, size, cells)
	}
	bar := newProgress(b.stderr, "bench "+o.name, b.flags.rounds)
	defer bar.end()
	for round := range b.flags.rounds {
		bar.show(round)
		for turn := range 2 {
			onFloor := (round+turn)%2 == 1
			if onFloor && floor.missing != "" {
				continue
			}
			samples, err := b.round(self, args, floor, onFloor)
			if err != nil {
				return nil, err
			}
			for i := range results {
				if onFloor {
					results[i].Floor = results[i].Floor.add("floor", samples[i], o)
				} else {
					results[i].Engine = results[i].Engine.add(b.flags.engine, samples[i], o)
				}
			}
		}
	}
	for _, r := range results {
		r.finish()
	}
	return results, nil
}

func (b *operationBench) round(self string, args guestArgs, floor *benchFloor, onFloor bool) ([]guestSamples, error) {
	if onFloor {
		return floor.round(self, args, b.stderr)
	}
	return b.engineRound(self, args, nil)
}
