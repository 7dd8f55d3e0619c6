// Package experiment measures the network of package atm in emulated time, where every run gives the same figures, and draws
// what the theory and the literature say about it beside. Its charts are in docs/plots; "go generate ./atm/experiment" draws them anew, and a test fails
// if they are not those of the code.
package experiment

//go:generate go test -update

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"rmemrun/atm"
	"rmemrun/internal/plot"
)

// circuit is the circuit of the only source, or the first of several.
var circuit = atm.VC{VPI: 0, VCI: 100}

// seed is that of everything random here.
const seed = 1993

// A count counts cells.
type count int

func (n *count) Receive(*atm.Cell) { *n++ }

// policed is how many cells Policing sends for each point.
const policed = 3000

// passed is the share of the PCR that is left of a source of cells, which come at the given times, by a circuit that is policed with
// the tolerance cdvt.
func passed(pcr float64, cdvt time.Duration, cells int, at func(k int) time.Duration) (float64, error) {
	clock := atm.NewSimClock()
	sw := atm.NewSwitch(2)
	sw.Clock = clock
	var out count
	if err := sw.Attach(1, &out); err != nil {
		return 0, err
	}
	contract := atm.Contract{Class: atm.CBR, Traffic: atm.Traffic{PCR: pcr, CDVT: cdvt}, Policing: atm.PoliceDiscard}
	if err := sw.ConnectContract(0, circuit, 1, circuit, contract); err != nil {
		return 0, err
	}
	var send func(k int)
	send = func(k int) {
		var c atm.Cell
		c.SetHeader(atm.Header{VC: circuit})
		sw.Port(0).Receive(&c)
		if k++; k < cells {
			clock.AfterFunc(at(k)-clock.Now(), func() { send(k) })
		}
	}
	send(0)
	clock.Run(atm.Forever)
	return float64(out) / (clock.Now().Seconds() * pcr), nil
}

// Policing is the rate that policing leaves of a source, against the rate that the source sends. Three cases have a formula,
// with ρ the source's rate in units of the PCR:
//
//   - evenly spaced cells and no tolerance: a cell conforms if it comes I after the last that did, which every ⌈ρ⌉th does: ρ/⌈ρ⌉;
//   - evenly spaced cells and a tolerance of at least their distance: nothing is lost by the grid: min(ρ, 1);
//   - cells at random (Poisson) and no tolerance: after each cell that conforms, others do not for I, as in a counter with a dead time: ρ/(1+ρ).
func Policing() (plot.Chart, error) {
	const (
		pcr       = 1e5
		increment = 10 * time.Microsecond
		steps     = 10 // for 1 PCR
	)
	cases := []struct {
		name    string
		poisson bool
		cdvt    time.Duration
		formula func(rho float64) float64
	}{
		{"even, CDVT 1/PCR", false, increment, func(rho float64) float64 { return min(rho, 1) }},
		{"even, CDVT 0", false, 0, func(rho float64) float64 { return rho / math.Ceil(rho) }},
		{"Poisson, CDVT 0", true, 0, func(rho float64) float64 { return rho / (1 + rho) }},
	}
	chart := plot.Chart{Title: "A policed source: what GCRA(1/PCR, CDVT) lets through", X: "sent, in units of the PCR", Y: "passed, in units of the PCR", MaxY: 1.6}
	for i, c := range cases {
		line := plot.Line{Name: c.name + ": formula", Color: i}
		dots := plot.Line{Name: c.name + ": measured", Color: i, Dots: true}
		for j := 1; j <= 4*steps; j++ {
			rho := float64(j) / steps
			line.Points = append(line.Points, plot.Point{X: rho, Y: c.formula(rho)})
			if j%steps == 0 && j < 4*steps && !c.poisson && c.cdvt == 0 { // the formula leaps here
				line.Points = append(line.Points, plot.Point{X: rho, Y: c.formula(rho + 1e-9)})
			}
			if j%2 != 0 {
				continue
			}
			at := func(k int) time.Duration { // whole nanoseconds, rounded up, so that every ρth is I later if ρ is whole
				return time.Duration((int64(k)*steps*int64(increment) + int64(j) - 1) / int64(j))
			}
			if c.poisson {
				rng, t := rand.New(rand.NewPCG(seed, uint64(j))), 0.0
				at = func(int) time.Duration {
					t += rng.ExpFloat64() * float64(increment) / rho
					return time.Duration(t)
				}
			}
			y, err := passed(pcr, c.cdvt, policed, at)
			if err != nil {
				return chart, err
			}
			dots.Points = append(dots.Points, plot.Point{X: rho, Y: y})
		}
		chart.Lines = append(chart.Lines, line, dots)
	}
	return chart, nil
}

// What the sources of Goodput send: blocks of 1500 octets, 32 cells each, at the rate of their own OC-3 link, with pauses at random, and in sum
// half as much again as the port can carry.
const (
	sources   = 10
	blockSize = 1500
	blockLen  = (blockSize + 8 + atm.PayloadSize - 1) / atm.PayloadSize // in cells
	load      = 1.5
	blocks    = 150 // of each source

	cellTime = float64(time.Second) / atm.OC3
)

// lasting is how long n cells take at OC-3.
func lasting(n float64) time.Duration { return time.Duration(n * cellTime) }

// A source sends blocks as AAL5 PDUs.
type source struct {
	clock *atm.SimClock
	to    atm.Receiver
	vc    atm.VC
	rng   *rand.Rand
	seg   atm.Segmenter
	left  int // blocks
	err   error
}

var block [blockSize]byte

// cell sends the next cell and comes back for the one after that.
func (s *source) cell() {
	var c atm.Cell
	if s.seg.Next(&c) {
		s.to.Receive(&c)
		s.clock.AfterFunc(lasting(1), s.cell)
		return
	}
	if s.left--; s.left < 0 {
		return
	}
	s.err = s.seg.Begin(atm.Header{VC: s.vc}, 0, nil, block[:])
	const pause = blockLen * (sources/load - 1) // on average, in cells
	s.clock.AfterFunc(lasting(s.rng.ExpFloat64()*pause), s.cell)
}

// A destination puts the blocks of all sources together.
type destination struct {
	circuits [sources]*atm.Reassembler
	blocks   int // that came whole
}

func (d *destination) Receive(c *atm.Cell) {
	// A block that is not whole is refused by its CRC-32, which is what is counted here.
	if _, ok, _ := d.circuits[c.VC().VCI-circuit.VCI].Add(c); ok {
		d.blocks++
	}
}

// goodput is the share of a congested OC-3 port that carries blocks which arrive whole.
func goodput(q atm.Queueing, frames bool) (float64, error) {
	clock := atm.NewSimClock()
	sw := atm.NewSwitch(sources + 1)
	var d destination
	line, err := atm.NewLine(&d, atm.LineConfig{Name: "bottleneck", Clock: clock, Rate: atm.OC3, Queueing: q})
	if err != nil {
		return 0, err
	}
	if err := sw.Attach(sources, line); err != nil {
		return 0, err
	}
	var all [sources]source
	for i := range all {
		vc := atm.VC{VPI: 0, VCI: circuit.VCI + uint16(i)}
		if err := sw.ConnectContract(i, vc, sources, vc, atm.Contract{FrameDiscard: frames}); err != nil {
			return 0, err
		}
		d.circuits[i] = atm.NewReassembler(blockSize)
		all[i] = source{clock: clock, to: sw.Port(i), vc: vc, rng: rand.New(rand.NewPCG(seed, uint64(i))), left: blocks}
		all[i].cell()
	}
	// What is measured begins when the queue is in its steady state, and ends while all sources still send.
	const sending = float64(blocks * blockLen * sources / load) // in cells
	clock.Run(lasting(0.3 * sending))
	before := d.blocks
	clock.Run(lasting(0.8 * sending))
	for i := range all {
		if all[i].err != nil {
			return 0, all[i].err
		}
		if all[i].left < 0 {
			return 0, fmt.Errorf("experiment: source %d has sent all its blocks before the end of the measurement", i)
		}
	}
	return float64((d.blocks-before)*blockLen) / (0.5 * sending), nil
}

// Goodput is the share of a congested port that carries blocks which arrive whole, against the sizes of its queue: with cells discarded one by
// one, with the rest of a PDU discarded once it has lost a cell (PPD), and with PDUs that are not begun when the queue is half full (EPD). A. Romanow and S.
// Floyd, Dynamics of TCP traffic over ATM networks (1995), found that the first wastes the line on PDUs which have lost a cell, that PPD mends a part and EPD nearly all of it.
// Their sources were TCP connections, which slow down; these do not.
func Goodput(sizes ...int) (plot.Chart, error) {
	chart := plot.Chart{Title: "Blocks of 1500 octets through an OC-3 port that is offered 1.5 times its rate", X: "queue (cells)", Y: "goodput, share of the line", LogX: true, MaxY: 1.4}
	for i, c := range []struct {
		name string
		q    func(size int) atm.Queueing
	}{
		{"EPD at half the queue, PPD", func(size int) atm.Queueing { return atm.Queueing{Size: size, EPD: size / 2, PPD: true} }},
		{"PPD", func(size int) atm.Queueing { return atm.Queueing{Size: size, PPD: true} }},
		{"cells discarded one by one", func(size int) atm.Queueing { return atm.Queueing{Size: size} }},
	} {
		line := plot.Line{Name: c.name, Color: i}
		for _, size := range sizes {
			y, err := goodput(c.q(size), true)
			if err != nil {
				return chart, err
			}
			line.Points = append(line.Points, plot.Point{X: float64(size), Y: y})
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart, nil
}
