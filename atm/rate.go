package atm

import (
	"fmt"
	"math"
	"strings"
)

// Rates of SDH and SONET links in cells a second: what a concatenated C-4 container of 260 columns, 9 rows and 8000 frames a
// second has for cells, without the overhead of sections and paths (ITU-T G.707, I.432.2).
const (
	OC3   = 260 * 9 * 8000.0 / CellSize // 149.76 Mb/s, a cell in 2.831 µs
	OC12  = 4 * OC3                     // 599.04 Mb/s
	OC48  = 16 * OC3                    // 2396.16 Mb/s
	OC192 = 64 * OC3                    // 9584.64 Mb/s, a cell in 44.24 ns

	Unlimited = 0 // the rate of a link that takes no time for a cell
)

var rateNames = []struct {
	name string
	rate float64
}{{"OC-3", OC3}, {"OC-12", OC12}, {"OC-48", OC48}, {"OC-192", OC192}, {"unlimited", Unlimited}}

// RateByName is the rate, in cells a second, that is called OC-3, OC-12, OC-48, OC-192 or unlimited, in capitals or not.
func RateByName(name string) (rate float64, err error) {
	var names []string
	for _, r := range rateNames {
		if strings.EqualFold(name, r.name) {
			return r.rate, nil
		}
		names = append(names, r.name)
	}
	return 0, fmt.Errorf("no rate is called %q, known are %s", name, strings.Join(names, ", "))
}

// maxCellTime is the longest time for one cell in picoseconds: rates below one cell an hour are refused.
const maxCellTime = 3600 * 1e12

// cellTime is the time between cells at a rate, in picoseconds; 0 if the rate is 0, unlimited.
func cellTime(rate float64) (ps int64, err error) {
	if rate == Unlimited {
		return 0, nil
	}
	if t := 1e12 / rate; rate > 0 && t <= maxCellTime && t >= 1 {
		return int64(math.Round(t)), nil
	}
	return 0, fmt.Errorf("a rate of %v cells/s is not possible, give one cell an hour to 10^12 cells a second, or unlimited", rate)
}
