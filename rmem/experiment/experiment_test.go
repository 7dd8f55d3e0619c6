package experiment

import (
	"flag"
	"testing"
)

var update = flag.Bool("update", false, "write the chart into docs/plots")

const dir = "../../docs/plots"

// Throughput falls with loss, but what was begun is always finished, and one cell in a thousand costs no more than half.
func TestThroughput(t *testing.T) {
	from, to := 14, 3
	if testing.Short() {
		from, to = 10, 7
	}
	chart, err := Throughput(from, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range chart.Lines {
		for _, p := range line.Points {
			t.Logf("%s: loss %.5f: %.3f", line.Name, p.X, p.Y)
			if p.Y <= 0 || p.Y > 1.05 {
				t.Errorf("%s: at a loss of %g the share is %g", line.Name, p.X, p.Y)
			}
		}
		if first, last := line.Points[0], line.Points[len(line.Points)-1]; last.Y >= first.Y {
			t.Errorf("%s: the throughput at a loss of %g is not below that at %g", line.Name, last.X, first.X)
		}
	}
	if testing.Short() {
		return
	}
	if *update {
		if err := chart.Write(dir, "loss"); err != nil {
			t.Fatal(err)
		}
	}
	if file := chart.Differs(dir, "loss"); file != "" {
		t.Errorf("%s is not what the code draws; if it should be, run go generate ./rmem/experiment", file)
	}
}
