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
	Bytes bool   // x is a number of bytes: its axis says 1K for 1024
	LogY  bool   // the y axis has powers of 10 at equal distances and covers all points, which are positive
	MaxY  float64
	Wide  bool // the legend stands at the right of the lines, for there are many
	Lines []Line
	// Bars are in place of lines: one below the other, with their values.
	Bars []Bar
}

// A Bar is one bar.
type Bar struct {
	Name  string
	Value float64
	Color int
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

// With more lines than colours, the next round is dashed, so that each is another.
var dashes = [...]string{"", ` stroke-dasharray="6 3"`, ` stroke-dasharray="2 2"`, ` stroke-dasharray="8 3 2 3"`, ` stroke-dasharray="1 4"`, ` stroke-dasharray="12 4"`}

func dash(colour int) string { return dashes[colour/len(colours)%len(dashes)] }

// Sizes in pixels.
const (
	width, height            = 680, 400
	left, right, top, bottom = 64, 16, 40, 52

	legend = 280 // at the right, of a wide chart
)

// A drawing is an SVG in the making.
type drawing struct{ bytes.Buffer }

// begin writes the head of a drawing, and its title.
func (b *drawing) begin(c Chart, width, height int) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.Title))
	b.WriteString("<style>text{font:12px sans-serif;fill:#777}.t{font-size:14px}.g{stroke:#777;stroke-opacity:.25}.a{stroke:#777}</style>\n")
	b.text(left, 22, "start", ` class="t"`, c.Title)
}

func (b *drawing) text(x, y float64, anchor, class, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, class, html.EscapeString(s))
}

// SVG draws the chart.
func (c Chart) SVG() []byte {
	if len(c.Bars) > 0 {
		return c.bars()
	}
	var b drawing
	text := b.text
	whole := width
	if c.Wide {
		whole += legend
	}
	b.begin(c, whole, height)

	lowX, highX := c.rangeX()
	x := func(v float64) float64 { return left + (c.scaleX(v)-lowX)/(highX-lowX)*(width-left-right) }
	lowY, highY := c.rangeY()
	y := func(v float64) float64 { return height - bottom - (c.scaleY(v)-lowY)/(highY-lowY)*(height-top-bottom) }
	for _, v := range c.ticksY(lowY, highY) {
		fmt.Fprintf(&b, `<path class="g" d="M%d %.1fH%d"/>`+"\n", left, y(v), width-right)
		text(left-8, y(v)+4, "end", "", number(v))
	}
	for _, v := range c.ticksX(lowX, highX) {
		fmt.Fprintf(&b, `<path class="a" d="M%.1f %dv5"/>`+"\n", x(v), height-bottom)
		text(x(v), height-bottom+19, "middle", "", c.label(v))
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
			fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.8"%s d="`, colour, dash(l.Color))
			for k, p := range l.Points {
				fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], x(p.X), y(p.Y))
			}
			b.WriteString(`"/>` + "\n")
		}
		// The legend stands in the upper left, or beside the chart.
		rowX, rowY, row := left+14, top+14, 18
		if c.Wide {
			rowX = width + 4
		}
		if l.Dots {
			fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="3.5" fill="%s"/>`+"\n", rowX+9, rowY+i*row-4, colour)
		} else {
			fmt.Fprintf(&b, `<path stroke="%s" stroke-width="1.8"%s d="M%d %dh18"/>`+"\n", colour, dash(l.Color), rowX, rowY+i*row-4)
		}
		text(float64(rowX+24), float64(rowY+i*row), "start", "", l.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// bars draws the bars. With LogY they begin at the power of ten below the least.
func (c Chart) bars() []byte {
	const name, row, room = 220, 24, 70 // pixels of the names, of a row, and behind the longest bar for its value
	var b drawing
	b.begin(c, width, top+len(c.Bars)*row+bottom)
	low, high := 0.0, math.Inf(-1)
	if c.LogY {
		low = math.Inf(1)
	}
	for _, r := range c.Bars {
		low, high = min(low, c.scaleY(r.Value)), max(high, c.scaleY(r.Value))
	}
	low = math.Floor(low)
	for i, r := range c.Bars {
		y := float64(top + i*row)
		length := (c.scaleY(r.Value) - low) / (high - low) * (width - name - right - room)
		b.text(name-8, y+16, "end", "", r.Name)
		fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", name, y+3, length, row-6, colours[r.Color%len(colours)])
		b.text(name+length+6, y+16, "start", "", number(r.Value))
	}
	b.text(name, float64(top+len(c.Bars)*row+24), "start", "", c.Y)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scaleY is where y stands on its axis.
func (c Chart) scaleY(y float64) float64 {
	if c.LogY {
		return math.Log10(y)
	}
	return y
}

// rangeY is what the y axis covers: from 0 to MaxY, or the powers of ten around all points.
func (c Chart) rangeY() (low, high float64) {
	if !c.LogY {
		return 0, c.MaxY
	}
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, p := range l.Points {
			low, high = min(low, math.Floor(math.Log10(p.Y))), max(high, math.Ceil(math.Log10(p.Y)))
		}
	}
	return low, max(high, low+1)
}

func (c Chart) ticksY(low, high float64) (at []float64) {
	if !c.LogY {
		return ticks(0, c.MaxY)
	}
	for e := low; e <= high; e++ {
		at = append(at, math.Pow(10, e))
	}
	return at
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
	step := 1.0
	if high-low > 12 { // as many as there is room for
		step = 2
	}
	for e := math.Ceil(low); e <= high; e++ {
		if math.Mod(math.Floor(high)-e, step) == 0 {
			at = append(at, math.Exp2(e))
		}
	}
	return at
}

// label is what stands at a tick of the x axis.
func (c Chart) label(v float64) string {
	switch {
	case c.Bytes && v >= 1<<20:
		return number(v/(1<<20)) + "M"
	case c.Bytes && v >= 1<<10:
		return number(v/(1<<10)) + "K"
	}
	return number(v)
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
func number(v float64) string {
	if v >= 1000 && v < 1e7 && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64) // 1048576 and not 1.049e+06
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// CSV gives the data: name of the line, x, y.
func (c Chart) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	// Writing to memory does not fail.
	if len(c.Bars) > 0 {
		_ = w.Write([]string{"bar", c.Y})
		for _, r := range c.Bars {
			_ = w.Write([]string{r.Name, number(r.Value)})
		}
		w.Flush()
		return b.Bytes()
	}
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
