package bench

import (
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestParseLines(t *testing.T) {
	const out = `version Open MPI v4.1.4
--------------------------------------------------------------------------
[node] batches of something else
batch put 40 100 11000
batch put 40 100 12000
batch put 40 100 60000
batch get 40 10 500
none map-put 40 rmem.h has no rmem_map
batch put 1048576 1 70000
`
	items, version, err := parseLines([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if version != "Open MPI v4.1.4" || len(items) != 4 {
		t.Fatalf("version %q, items %+v", version, items)
	}
	put := items[0]
	if put.Name != "put" || put.Bytes != 40 || put.Batches != 3 || put.Operations != 300 || put.Min != 110 || put.P50 != 120 || put.P99 != 600 || put.Max != 600 {
		t.Errorf("put: %+v", put)
	}
	if items[2].Absent != "rmem.h has no rmem_map" || items[2].Batches != 0 || items[2].Histogram != nil {
		t.Errorf("absent: %+v", items[2])
	}
	if items[3].Bytes != 1<<20 || items[3].P50 != 70000 {
		t.Errorf("large: %+v", items[3])
	}
	h, err := hdrhistogram.Decode(put.Histogram)
	if err != nil || h.TotalCount() != 3 || math.Abs(float64(h.ValueAtPercentile(50))-120000) > 120 {
		t.Errorf("histogram %v, %v: want three batches around 120000 ps", h, err)
	}
}

func TestParseLinesRefuses(t *testing.T) {
	for _, line := range []string{"batch put 40 100", "batch put 40 0 100", "batch put x 1 1", "batch put -1 1 1", "batch put 40 1 -1", "none put x reason"} {
		if items, _, err := parseLines([]byte(line + "\n")); err == nil {
			t.Errorf("%q: items %+v, want an error", line, items)
		}
	}
}

func FuzzParseLines(f *testing.F) {
	f.Add([]byte("batch put 40 100 11000\nnone cas 8 why\nversion 1\nremark\n"))
	f.Add([]byte("batch put 40 18446744073709551615 18446744073709551615\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		items, _, err := parseLines(out)
		if err != nil {
			return
		}
		for _, i := range items {
			if i.Min > i.P50 || i.P50 > i.P99 || i.P99 > i.Max || (i.Batches == 0) != (i.Operations == 0 && i.Histogram == nil) && i.Operations != 0 {
				t.Fatalf("%+v", i)
			}
		}
	})
}

func TestQuantiles(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.5: 5, 0.99: 10, 1: 10} {
		if got := quantile(ten, q); got != want {
			t.Errorf("quantile %v of 1 to 10 = %v, want %v", q, got, want)
		}
	}
	if got := median([]float64{9, 1, 4}); got != 4 {
		t.Errorf("median of 9, 1, 4 = %v", got)
	}
	if got := median([]float64{9, 1, 4, 6}); got != 5 {
		t.Errorf("median of 9, 1, 4, 6 = %v", got)
	}
}

// What ucx_perftest -f -v of UCX 1.13.1 prints, and the forms in which it may differ.
func TestParsePerftest(t *testing.T) {
	for _, tt := range []struct {
		name, out string
		want      float64
	}{
		{"long run", "iterations,50.0_percentile_lat,avg_lat,overall_lat,avg_bw,overall_bw,avg_mr,overall_mr\n100000,0.020,0.028,0.028,275.03,275.03,36049024,36049024\n", 0.020},
		{"short run, padded", "iterations,50.0_percentile_lat,avg_lat,overall_lat,avg_bw,overall_bw,avg_mr,overall_mr\n   500,0.010,0.014,0.014,2666.67,2666.67,69905067,69905067\n", 0.010},
		{"warnings before", "[1700000000.1] [host:1:0] sock.c:123 UCX WARN something, 50.0_percentile\niterations,50.0_percentile_lat,avg_lat\n1000,7.611,9.1\n", 7.611},
	} {
		if got, err := parsePerftest([]byte(tt.out)); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	for _, out := range []string{"", "iterations,50.0_percentile_lat\n", "100,0.1\n", "iterations,avg_lat\n100,0.1\n", "iterations,50.0_percentile_lat\n100,x\n", "iterations,50.0_percentile_lat\n100,0.000\n", "iterations,50.0_percentile_lat\n100\n"} {
		if got, err := parsePerftest([]byte(out)); err == nil {
			t.Errorf("%q: %v, want an error", out, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	const before = "cpu  100 0 50 800 10 0 0 40 0 0\ncpu0 1 2 3\n"
	const after = "cpu  160 0 60 880 10 0 0 40 0 0\n"
	var u, v usage
	u.total, u.busy = parseStat(before)
	v.total, v.busy = parseStat(after)
	if u.total != 1000 || u.busy != 150 {
		t.Errorf("total, busy = %v, %v, want 1000, 150", u.total, u.busy)
	}
	v.own = 400e6 // 40 ticks of the 70
	if got := v.less(u); math.Abs(got-0.2) > 1e-9 {
		t.Errorf("others had %v of the CPUs, want 0.2", got)
	}
	if total, busy := parseStat("intr 1 2 3"); total != 0 || busy != 0 {
		t.Errorf("no cpu line: %v, %v", total, busy)
	}
}
