package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var chart = Chart{
	Title: `a "chart" <of> two lines`, X: "x (cells)", Y: "y, share", LogX: true, MaxY: 1,
	Lines: []Line{
		{Name: "formula", Points: []Point{{32, 0}, {64, 0.5}, {128, 1}}},
		{Name: "measured", Points: []Point{{32, 0.01}, {128, 0.123456}}, Dots: true, Color: 1},
	},
}

func TestCSV(t *testing.T) {
	const want = "line,x (cells),\"y, share\"\nformula,32,0\nformula,64,0.5\nformula,128,1\nmeasured,32,0.01\nmeasured,128,0.1235\n"
	if got := string(chart.CSV()); got != want {
		t.Errorf("got\n%s", got)
	}
}

// The SVG is XML, and the points stand where they should: 32 at the left, 128 at the right, 64 in the middle, 0 below, 1 on top.
func TestSVG(t *testing.T) {
	svg := string(chart.SVG())
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`d="M64.0 348.0L364.0 194.0L664.0 40.0"`, `<circle cx="64.0" cy="344.9"`, "&lt;of&gt;"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		want      string
	}{
		{0, 1, "[0 0.2 0.4 0.6 0.8 1]"},
		{0, 3, "[0 0.5 1 1.5 2 2.5 3]"},
		{0, 1234, "[0 200 400 600 800 1000 1200]"},
	} {
		var got []string
		for _, v := range ticks(tt.low, tt.high) {
			got = append(got, number(v))
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%v to %v: %v, want %s", tt.low, tt.high, got, tt.want)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if d := chart.Differs(dir, "c"); d == "" {
		t.Error("files that are not there do not differ")
	}
	if err := chart.Write(dir, "c"); err != nil {
		t.Fatal(err)
	}
	if d := chart.Differs(dir, "c"); d != "" {
		t.Errorf("%s differs from what was written", d)
	}
	csv := filepath.Join(dir, "c.csv")
	if err := os.WriteFile(csv, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if d := chart.Differs(dir, "c"); d != csv {
		t.Errorf("%q differs, want %s", d, csv)
	}
	if err := chart.Write(filepath.Join(dir, "none"), "c"); err == nil {
		t.Error("written into a directory that does not exist")
	}
}

// With both axes logarithmic the y axis has the powers of ten around the points, and x in bytes is said so.
func TestLogarithmic(t *testing.T) {
	c := Chart{Title: "t", X: "bytes", Y: "µs", LogX: true, LogY: true, Bytes: true, Wide: true, Lines: []Line{
		{Name: "one", Points: []Point{{8, 0.5}, {1 << 20, 50}}},
		{Name: "five", Points: []Point{{8, 1}}, Color: 4},
	}}
	svg := string(c.SVG())
	for _, want := range []string{">1M<", ">4K<", ">0.1<", ">100<", `width="960"`, `stroke-dasharray="6 3"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	// 0.1 at the bottom, 348, and 100 on top, 40: 1 is a third of the way up.
	if want := `d="M64.0 245.3`; !strings.Contains(svg, want) {
		t.Errorf("no %s in\n%s", want, svg)
	}
}

// Bars stand one below the other; on a logarithmic scale their lengths go with the powers of ten.
func TestBars(t *testing.T) {
	c := Chart{Title: "ladder", Y: "ns", LogY: true, Bars: []Bar{{"trap", 1000, 0}, {"store", 10, 1}, {"least", 1, 1}}}
	svg := string(c.SVG())
	for _, want := range []string{`width="374.0"`, `width="124.7"`, `width="0.0"`, ">trap<", ">1000<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	if got := string(c.CSV()); got != "bar,ns\ntrap,1000\nstore,10\nleast,1\n" {
		t.Errorf("got\n%s", got)
	}
}
