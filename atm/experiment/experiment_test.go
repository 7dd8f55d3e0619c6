package experiment

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmemrun/internal/plot"
)

var update = flag.Bool("update", false, "write the charts into docs/plots")

const dir = "../../docs/plots"

// check compares a chart with that in docs/plots, or writes it there.
func check(t *testing.T, chart plot.Chart, name string) {
	t.Helper()
	if *update {
		if err := chart.Write(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if file := chart.Differs(dir, name); file != "" {
		t.Errorf("%s is not what the code draws; if it should be, run go generate ./atm/experiment", file)
	}
}

func TestPolicing(t *testing.T) {
	chart, err := Policing()
	if err != nil {
		t.Fatal(err)
	}
	policingIsFormula(t, chart)
	check(t, chart, "policing")
}

func TestGoodput(t *testing.T) {
	sizes := []int{32, 64, 128, 256, 512, 1024, 2048}
	if testing.Short() {
		sizes = []int{64, 256}
	}
	chart, err := Goodput(sizes...)
	if err != nil {
		t.Fatal(err)
	}
	discardRaisesGoodput(t, chart)
	if !testing.Short() {
		check(t, chart, "goodput")
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "goodput.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(chart.CSV())) {
		if !strings.Contains(string(data), line) {
			t.Errorf("docs/plots/goodput.csv does not have what the code measures: %s", line)
		}
	}
}

// What policing lets through is what the formulas say: to three cells for even sources, which begin with a burst, within the noise for random ones.
func policingIsFormula(t *testing.T, chart plot.Chart) {
	compared := 0
	for i := 0; i < len(chart.Lines); i += 2 {
		formula := map[float64]float64{}
		for _, p := range chart.Lines[i].Points {
			if _, ok := formula[p.X]; !ok {
				formula[p.X] = p.Y
			}
		}
		for _, p := range chart.Lines[i+1].Points {
			tolerance := 3 * p.X / policed // of 3 cells, in the policed/p.X that the PCR allows in that time
			if i == 4 {
				tolerance = 0.05
			}
			if math.Abs(p.Y-formula[p.X]) > tolerance {
				t.Errorf("%s: %v of the PCR passed at %v, the formula says %v", chart.Lines[i+1].Name, p.Y, p.X, formula[p.X])
			}
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("%d points were compared", compared)
	}
}

// Goodput as in the literature: EPD above PPD above neither, at every size; with EPD and a queue for the PDUs that are under way, nearly the whole line;
// without either much less, whatever the size.
func discardRaisesGoodput(t *testing.T, chart plot.Chart) {
	epd, ppd, plain := chart.Lines[0].Points, chart.Lines[1].Points, chart.Lines[2].Points
	for i := range epd {
		if !(epd[i].Y > ppd[i].Y && ppd[i].Y > plain[i].Y+0.1) {
			t.Errorf("queue of %v: goodput %.3f with EPD, %.3f with PPD, %.3f with neither", epd[i].X, epd[i].Y, ppd[i].Y, plain[i].Y)
		}
		if epd[i].X >= 256 && (epd[i].Y < 0.99 || plain[i].Y > 0.6) {
			t.Errorf("queue of %v: goodput %.3f with EPD, want nearly 1; %.3f with neither, want far less", epd[i].X, epd[i].Y, plain[i].Y)
		}
		if epd[i].Y > 1.02 { // blocks that were under way when the measurement began count as a whole
			t.Errorf("queue of %v: goodput %.3f is more than the line", epd[i].X, epd[i].Y)
		}
	}
}
