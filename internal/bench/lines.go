package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// An Item is what a subject measured of one operation in one run.
type Item struct {
	Name  string `json:"item"`
	Bytes int    `json:"bytes"`
	// Absent is why it was not measured; then nothing follows.
	Absent     string `json:"absent,omitempty"`
	Batches    int    `json:"batches,omitempty"`
	Operations uint64 `json:"operations,omitempty"`
	// Nanoseconds of one operation, over the batches.
	Min float64 `json:"min_ns,omitempty"`
	P50 float64 `json:"p50_ns,omitempty"`
	P99 float64 `json:"p99_ns,omitempty"`
	Max float64 `json:"max_ns,omitempty"`
	// Histogram is of the batches: picoseconds of one operation, HdrHistogram V2, compressed. Absent where the program gives no
	// more than a median (ucx_perftest).
	Histogram []byte `json:"histogram_ps,omitempty"`
}

// A batch is one line of a program.
type batch struct{ operations, ns uint64 }

// key is how an item is asked for on a command line.
func key(name string, size int) string { return name + ":" + strconv.Itoa(size) }

// parseLines reads what a program printed: its items in their order, and what it says its version is. Lines of no known form are
// remarks, since launchers mix in their own; a line that begins like one of ours and is none is an error.
func parseLines(out []byte) (items []Item, version string, err error) {
	var all []struct {
		Item
		batches []batch
	}
	find := func(name string, size int) int {
		for i := range all {
			if all[i].Name == name && all[i].Bytes == size {
				return i
			}
		}
		all = append(all, struct {
			Item
			batches []batch
		}{Item: Item{Name: name, Bytes: size}})
		return len(all) - 1
	}
	for raw := range bytes.Lines(out) {
		line := strings.TrimRight(string(raw), "\r\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "version":
			version = rest
		case "batch":
			var name string
			var size int
			var b batch
			if n, err := fmt.Sscanf(rest, "%s %d %d %d", &name, &size, &b.operations, &b.ns); n != 4 || err != nil || b.operations == 0 || size < 0 {
				return nil, "", fmt.Errorf("a line that says %q is not of the form batch ITEM BYTES OPERATIONS NANOSECONDS", line)
			}
			i := find(name, size)
			all[i].batches = append(all[i].batches, b)
		case "none":
			name, rest, _ := strings.Cut(rest, " ")
			digits, reason, _ := strings.Cut(rest, " ")
			size, err := strconv.Atoi(digits)
			if err != nil || size < 0 {
				return nil, "", fmt.Errorf("a line that says %q is not of the form none ITEM BYTES REASON", line)
			}
			all[find(name, size)].Absent = reason
		}
	}
	for i := range all {
		all[i].summarize(all[i].batches)
		items = append(items, all[i].Item)
	}
	return items, version, nil
}

// summarize computes an item's figures from its batches.
func (i *Item) summarize(batches []batch) {
	if len(batches) == 0 {
		return
	}
	i.Absent, i.Batches = "", len(batches)
	each := make([]float64, len(batches))
	const highest = int64(100 * time.Second / time.Nanosecond * 1000)
	histogram := hdrhistogram.New(1, highest, 3)
	for k, b := range batches {
		i.Operations += b.operations
		each[k] = float64(b.ns) / float64(b.operations)
		// It is within the range, as it is brought there.
		_ = histogram.RecordValue(min(max(int64(each[k]*1000), 1), highest))
	}
	slices.Sort(each)
	i.Min, i.P50, i.P99, i.Max = each[0], quantile(each, 0.5), quantile(each, 0.99), each[len(each)-1]
	if encoded, err := histogram.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		i.Histogram = encoded
	}
}

// quantile is the smallest of sorted values that at least a share of q does not exceed.
func quantile(sorted []float64, q float64) float64 {
	at := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(at-1, 0), len(sorted)-1)]
}

// median is the middle of the values, the mean of both middles if their number is even.
func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.SortFunc(s, cmp.Compare[float64])
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
