package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

func TestParseSizes(t *testing.T) {
	for s, want := range map[string]string{
		"40":       "[40]",
		"64K":      "[65536]",
		"1M":       "[1048576]",
		"8..64":    "[8 16 32 64]",
		"8..63":    "[8 16 32]",
		"40..40":   "[40]",
		"512K..1M": "[524288 1048576]",
		"24..100":  "[24 48 96]",
	} {
		got, err := parseSizes(s)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("parseSizes(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0", "-1", "4x", "K", "1.5K", "8..", "..8", "64..8", "1G", "4096M", "99999999999999999999", "8..1M..2M"} {
		if got, err := parseSizes(s); err == nil {
			t.Errorf("parseSizes(%q) = %v, want an error", s, got)
		}
	}
}

func TestMeasuredSizes(t *testing.T) {
	for _, tt := range []struct{ operation, flag, want, wrong string }{
		{"write", "", "[40]", ""},
		{"block", "", "[65536]", ""},
		{"cas", "", "[8]", ""},
		{"cas", "4..8", "[4 8]", ""},
		{"notify", "", "[0]", ""},
		{"write", "1M", "[1048576]", ""},
		{"write", "2M", "", "write of 2097152 bytes cannot be measured; sizes are 1 to 1M"},
		{"fadd", "5", "", "fadd of 5 bytes cannot be measured; sizes are 4 or 8"},
		{"notify", "8", "", "notify carries no data: it has no size"},
	} {
		o, err := findBenchOperation(tt.operation)
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.measured(tt.flag)
		if tt.wrong != "" {
			if err == nil || err.Error() != tt.wrong {
				t.Errorf("%s -s %q: error %v, want %s", tt.operation, tt.flag, err, tt.wrong)
			}
		} else if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s -s %q = %v, %v, want %s", tt.operation, tt.flag, got, err, tt.want)
		}
	}
}

func TestNewBenchRefuses(t *testing.T) {
	good := benchFlags{count: 1, rounds: 1, engine: "ptrace", format: "text"}
	if _, err := newBench(good, nil); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]func(*benchFlags) []string{
		"there is no benchmark":     func(*benchFlags) []string { return []string{"jump"} },
		"name the operation":        func(f *benchFlags) []string { f.sizes = "8"; return nil },
		"must be at least 1":        func(f *benchFlags) []string { f.rounds = 0; return nil },
		"--count 0":                 func(f *benchFlags) []string { f.count = 0; return nil },
		"--format=xml":              func(f *benchFlags) []string { f.format = "xml"; return nil },
		"--engine=warp":             func(f *benchFlags) []string { f.engine = "warp"; return nil },
		"is less than":              func(f *benchFlags) []string { f.sizes = "8..4"; return []string{"write"} },
		"cas of 16 bytes cannot be": func(f *benchFlags) []string { f.sizes = "16"; return []string{"cas"} },
	} {
		flags := good
		args := f(&flags)
		if _, err := newBench(flags, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %v %+v: error %v, want %q in it", args, flags, err, want)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	for s, want := range map[string]string{"0": "[0]", "0,2-4": "[0 2 3 4]", "7-7": "[7]"} {
		if got, err := parseCPUs(s); err != nil || fmt.Sprint(got) != want {
			t.Errorf("parseCPUs(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "a", "1-0", "0,", "-1", "0-2000", "1-2-3"} {
		if got, err := parseCPUs(s); err == nil {
			t.Errorf("parseCPUs(%q) = %v, want an error", s, got)
		}
	}
}

func TestGuestArgs(t *testing.T) {
	want := guestArgs{operation: "write", sizes: []int{8, 40, 1 << 20}, count: 2000, warmup: 200, limit: 100 * time.Millisecond}
	list := want.list()
	if got, err := parseGuestArgs(list[2:]); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseGuestArgs(%q) = %+v, %v", list, got, err)
	}
	for i := 1; i < 5; i++ {
		bad := append([]string{}, list[2:]...)
		bad[i] = "-1"
		if i == 4 {
			bad[i] = "soon"
		}
		if got, err := parseGuestArgs(bad); err == nil {
			t.Errorf("parseGuestArgs(%q) = %+v, want an error", bad, got)
		}
	}
}

func words(w ...int64) []byte {
	var b []byte
	for _, v := range w {
		for i := range 8 {
			b = append(b, byte(v>>(8*i)))
		}
	}
	return b
}

func TestReadSamples(t *testing.T) {
	got, err := readSamples(words(60, 3, 10, 20, 30, 7, 1, 7), 2)
	want := []guestSamples{{60, []int64{10, 20, 30}}, {7, []int64{7}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("readSamples = %+v, %v, want %+v", got, err, want)
	}
	for _, raw := range [][]byte{nil, words(1), words(10, 2, 5), words(10, -1, 5), words(10, 1, 5, 6), append(words(10, 1, 5), 1)} {
		if got, err := readSamples(raw, 1); err == nil {
			t.Errorf("readSamples(%x) = %+v, want an error", raw, got)
		}
	}
}

func FuzzReadSamples(f *testing.F) {
	f.Add(words(60, 3, 10, 20, 30, 7, 1, 7), 2)
	f.Add(words(60, -1), 1)
	f.Fuzz(func(t *testing.T, raw []byte, sizes int) {
		if sizes < 0 || sizes > 100 {
			return
		}
		samples, err := readSamples(raw, sizes)
		n := 0
		for _, s := range samples {
			n += 2 + len(s.each)
		}
		if err == nil && (len(samples) != sizes || n*8 != len(raw)) {
			t.Fatalf("%d samples from %d bytes", n, len(raw))
		}
	})
}

// testReport is a report of made-up samples, to test how they are counted and printed.
func testReport(t *testing.T) *benchReport {
	t.Helper()
	r := &benchReport{
		Version: 1, Rounds: 2, Count: 3,
		Machine: benchMachine{CPU: "Test", CPUs: 2, Pinned: []int{0}, Kernel: "Linux 6", Go: "go1"},
	}
	for _, name := range []string{"write", "notify"} {
		o, err := findBenchOperation(name)
		if err != nil {
			t.Fatal(err)
		}
		b := newBenchResult(o, "ptrace", o.size, 2)
		for range 2 {
			b.Engine = b.Engine.add("ptrace", guestSamples{60 * time.Microsecond, []int64{10000, 20000, 30000}}, o)
			b.Floor = b.Floor.add("floor", guestSamples{45 * time.Microsecond, []int64{10000, 10000, 25000}}, o)
		}
		b.finish()
		r.Results = append(r.Results, b)
	}
	r.Results[1].Floor, r.Results[1].Ratio = nil, nil
	return r
}

func TestBenchFigures(t *testing.T) {
	r := testReport(t)
	write, notify := r.Results[0], r.Results[1]
	if write.Engine.Count != 6 || write.Engine.PerSecond != 50000 || write.Engine.Cells != 100000 {
		t.Errorf("count, op/s, cells/s = %d, %g, %g, want 6, 50000, 100000", write.Engine.Count, write.Engine.PerSecond, write.Engine.Cells)
	}
	// Three significant digits are kept.
	near := func(got, want float64) bool { return got > want*0.999 && got < want*1.001 }
	for name, want := range map[string]float64{"min": 10000, "p50": 20000, "p99": 30000, "max": 30000, "mean": 20000} {
		if !near(write.Engine.NS[name], want) {
			t.Errorf("%s = %g, want %g", name, write.Engine.NS[name], want)
		}
		if !near(notify.Engine.NS[name], want/2) {
			t.Errorf("one way: %s = %g, want %g", name, notify.Engine.NS[name], want/2)
		}
	}
	if !near(write.Ratio["p50"], 2) || !near(write.Ratio["max"], 1.2) || !near(write.medianRatio(), 2) {
		t.Errorf("ratios %v, %g, want p50 2, max 1.2, median 2", write.Ratio, write.medianRatio())
	}
}

// What is known when a write is over depends on the engine.
func TestExplain(t *testing.T) {
	o, err := findBenchOperation("write")
	if err != nil {
		t.Fatal(err)
	}
	for engine, want := range map[string]string{"ptrace": "acknowledged by then", "patch": "posted by then"} {
		if got := o.explain(engine); !strings.HasSuffix(got, want) {
			t.Errorf("under %s: %q, want %q at its end", engine, got, want)
		}
	}
}

func TestBenchText(t *testing.T) {
	const want = `Test (2 CPUs), Linux 6, go1; everything on CPU 0.
Two nodes back to back; 2 × up to 3 operations. Times in µs; one clock reading is in each.
Floor: the same guest under a minimal C ptrace tracer, in turn with rmemrun.

write, round trip: from a write to the next instruction; the data is deposited and acknowledged by then
  bytes          ops    min    p50    p99  p99.9    max   op/s  cells/s
     40  ptrace    6  10.00  20.02  30.02  30.02  30.02  50000   100000
          floor    6  10.00  10.01  25.01  25.01  25.01  66667
          ratio        1.00   2.00   1.20   1.20   1.20

notify, one way: from notify in one program to the return of wait in the other; half of there and back
  bytes          ops   min    p50    p99  p99.9    max   op/s  cells/s
      -  ptrace    6  5.00  10.01  15.01  15.01  15.01  50000   100000
`
	checkFormat(t, "text", want)
}

func TestBenchPerftest(t *testing.T) {
	const want = `# Test (2 CPUs), Linux 6, go1; everything on CPU 0.
# Two nodes back to back; 2 × up to 3 operations. Times in µs; one clock reading is in each.
# Floor: the same guest under a minimal C ptrace tracer, in turn with rmemrun.
---------------------------------------------------------------------------------------
# write, round trip: from a write to the next instruction; the data is deposited and acknowledged by then
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]
 40      6          10.00          30.02          20.02            20.01          8.17            30.02                  30.02
# floor 40      6          10.00          25.01          10.01            15.00          7.07            25.01                  25.01
---------------------------------------------------------------------------------------
# notify, one way: from notify in one program to the return of wait in the other; half of there and back
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]
 0       6          5.00           15.01          10.01            10.00          4.08            15.01                  15.01
---------------------------------------------------------------------------------------
`
	checkFormat(t, "perftest", want)
}

func TestBenchOSU(t *testing.T) {
	const want = `# rmemrun bench write, round trip: from a write to the next instruction; the data is deposited and acknowledged by then
# Test (2 CPUs), Linux 6, go1; everything on CPU 0.
# Two nodes back to back; 2 × up to 3 operations. Times in µs; one clock reading is in each.
# Floor: the same guest under a minimal C ptrace tracer, in turn with rmemrun.
# Size            Latency (us)
40                       20.01
# rmemrun bench notify, one way: from notify in one program to the return of wait in the other; half of there and back
# Test (2 CPUs), Linux 6, go1; everything on CPU 0.
# Two nodes back to back; 2 × up to 3 operations. Times in µs; one clock reading is in each.
# Floor: the same guest under a minimal C ptrace tracer, in turn with rmemrun.
# Size            Latency (us)
0                        10.00
`
	checkFormat(t, "osu", want)
}

// checkFormat compares without the blanks at line ends, which perftest's columns have.
func checkFormat(t *testing.T, format, want string) {
	t.Helper()
	var out bytes.Buffer
	if err := benchFormats[format](&out, testReport(t)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	if diff := cmp.Diff(want, strings.Join(lines, "\n")); diff != "" {
		t.Errorf("--format %s (-want +got):\n%s", format, diff)
	}
}

// The JSON form has everything, and its histogram is one that others can read.
func TestBenchJSON(t *testing.T) {
	var out bytes.Buffer
	if err := writeBenchJSON(&out, testReport(t)); err != nil {
		t.Fatal(err)
	}
	var got benchReport
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	e := got.Results[0].Engine
	h, err := hdrhistogram.Decode(e.Histogram)
	if err != nil {
		t.Fatal(err)
	}
	if h.TotalCount() != 6 || got.Results[0].Size != 40 || got.Results[0].Cells != 2 || len(e.RoundP50) != 2 {
		t.Errorf("%d samples, %+v", h.TotalCount(), got.Results[0])
	}
}
