// Package plot draws the charts of docs/plots: an SVG that is readable on light and on dark ground, and its data as CSV. The same
// chart gives the same octets, so that a test can tell whether a chart in the tree is that of the code.
package plot

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// A Chart is a chart of x and y.
type Chart struct {
	Title string
	X, Y  string // what the axes are, with the unit
	LogX  bool   // the x axis has powers of 2 at equal distances; x is then positive
	MaxY  float64
	Lines []Line
}

// A Line is one row of points.
type Line struct {
	Name   string
	Points []Point
	Dots   bool // dots, as of measurements, rather than a line
	Color  int  // lines of the same number have the same colour
}

// A Point is one of a line.
type Point struct{ X, Y float64 }

// Colours that are told apart on white and on black, and by the colour blind (after Okabe and Ito).
var colours = [...]string{"#0077bb", "#d55e00", "#009e73", "#b07aa1"}

// Sizes in pixels.
const (
	width, height            = 680, 400
	left, right, top, bottom = 64, 16, 40, 52
)

// SVG draws the chart.
func (c Chart) SVG() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.Title))
	b.WriteString("<style>text{font:12px sans-serif;fill:#777}.t{font-size:14px}.g{stroke:#777;stroke-opacity:.25}.a{stroke:#777}</style>\n")
	text := func(x, y float64, anchor, class, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, class, html.EscapeString(s))
	}
	text(left, 22, "start", ` class="t"`, c.Title)

	lowX, highX := c.rangeX()
	x := func(v float64) float64 { return left + (c.scaleX(v)-lowX)/(highX-lowX)*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - v/c.MaxY*(height-top-bottom) }
	for _, v := range ticks(0, c.MaxY) {
		fmt.Fprintf(&b, `<path class="g" d="M%d %.1fH%d"/>`+"\n", left, y(v), width-right)
		text(left-8, y(v)+4, "end", "", number(v))
	}
	for _, v := range c.ticksX(lowX, highX) {
		fmt.Fprintf(&b, `<path class="a" d="M%.1f %dv5"/>`+"\n", x(v), height-bottom)
		text(x(v), height-bottom+19, "middle", "", number(v))
	}
	fmt.Fprintf(&b, `<path class="a" fill="none" d="M%d %dV%dH%d"/>`+"\n", left, top, height-bottom, width-right)
	text((left+width-right)/2, height-12, "middle", "", c.X)
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.Y))

	for i, l := range c.Lines {
		colour := colours[l.Color%len(colours)]
		if l.Dots {
			for _, p := range l.Points {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x(p.X), y(p.Y), colour)
			}
		} else {
			fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.8" d="`, colour)
			for k, p := range l.Points {
				fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], x(p.X), y(p.Y))
			}
			b.WriteString(`"/>` + "\n")
		}
		// The legend stands in the upper left.
		const rowX, rowY, row = left + 14, top + 14, 18
		if l.Dots {
			fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="3.5" fill="%s"/>`+"\n", rowX+9, rowY+i*row-4, colour)
		} else {
			fmt.Fprintf(&b, `<path stroke="%s" stroke-width="1.8" d="M%d %dh18"/>`+"\n", colour, rowX, rowY+i*row-4)
		}
		text(rowX+24, float64(rowY+i*row), "start", "", l.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scaleX is where x stands on its axis.
func (c Chart) scaleX(x float64) float64 {
	if c.LogX {
		return math.Log2(x)
	}
	return x
}

// rangeX is what the x axis covers: from 0, or all points if it is logarithmic.
func (c Chart) rangeX() (low, high float64) {
	low, high = 0, math.Inf(-1)
	if c.LogX {
		low = math.Inf(1)
	}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			low, high = min(low, c.scaleX(p.X)), max(high, c.scaleX(p.X))
		}
	}
	return low, high
}

func (c Chart) ticksX(low, high float64) (at []float64) {
	if !c.LogX {
		return ticks(low, high)
	}
	for e := math.Ceil(low); e <= high; e++ {
		at = append(at, math.Exp2(e))
	}
	return at
}

// ticks are about five round numbers from low to high.
func ticks(low, high float64) (at []float64) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if (high-low)/(step*m) <= 7 {
			step *= m
			break
		}
	}
	for k := math.Ceil(low / step); k*step <= high*(1+1e-9); k++ {
		at = append(at, k*step)
	}
	return at
}

// number writes v with up to four digits.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// CSV gives the data: name of the line, x, y.
func (c Chart) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	// Writing to memory does not fail.
	_ = w.Write([]string{"line", c.X, c.Y})
	for _, l := range c.Lines {
		for _, p := range l.Points {
			_ = w.Write([]string{l.Name, number(p.X), number(p.Y)})
		}
	}
	w.Flush()
	return b.Bytes()
}

// Files are the chart's files by their names: name.svg and name.csv.
func (c Chart) Files(name string) map[string][]byte {
	return map[string][]byte{name + ".svg": c.SVG(), name + ".csv": c.CSV()}
}

// Write writes the files of the chart into a directory.
func (c Chart) Write(dir, name string) error {
	for file, data := range c.Files(name) {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			return fmt.Errorf("plot: write the chart %q: %w", c.Title, err)
		}
	}
	return nil
}

// Differs says which file of the chart in a directory is missing or is not that of the chart, "" if they all are.
func (c Chart) Differs(dir, name string) string {
	for file, want := range c.Files(name) {
		path := filepath.Join(dir, file)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			return path
		}
	}
	return ""
}
