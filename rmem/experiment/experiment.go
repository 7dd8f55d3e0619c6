// Package experiment measures assured delivery in emulated time, where every run gives the same figures. Its chart is in docs/plots;
// "go generate ./rmem/experiment" draws it anew, and a test fails if it is not that of the code.
package experiment

//go:generate go test -update

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"rmemrun/atm"
	"rmemrun/internal/plot"
	"rmemrun/rmem"
)

// The two nodes are 10 km of fibre apart, on a link of 155 Mbit/s.
const (
	rate  = atm.OC3
	delay = 50 * time.Microsecond
	seed  = 1993
)

// A port joins one of the two nodes to the line that leads to the other. It is the node's rmem.Network and, since there is but
// one segment, its rmem.Directory.
type port struct {
	id   int
	line *atm.Line // to the other node
	node *rmem.Node
	pair *pair
}

// A pair is two nodes, back to back.
type pair struct {
	clock  *atm.SimClock
	ports  [2]*port
	vci    uint16 // the next that is free
	record rmem.Record
}

// newPair makes two nodes whose lines lose cells with the given probability.
func newPair(loss float64) (*pair, error) {
	p := &pair{clock: atm.NewSimClock(), vci: 64}
	for id := range p.ports {
		q := &port{id: id, pair: p}
		q.node = rmem.New(rmem.Config{ID: id, Nodes: 2, Network: q, Directory: q, Clock: p.clock})
		p.ports[id] = q
	}
	for id, q := range p.ports {
		var err error
		q.line, err = atm.NewLine(p.ports[1-id], atm.LineConfig{
			Name: fmt.Sprint("from ", id), Clock: p.clock, Rate: rate, Delay: delay,
			Impairment: atm.Impairment{Loss: loss}, Seed: seed,
		})
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (q *port) Open(int) (local, remote atm.VC, err error) {
	vc := atm.VC{VCI: q.pair.vci}
	q.pair.vci += 2
	return vc, vc, nil
}

func (q *port) Close(atm.VC)            {}
func (q *port) Peer(atm.VC) (int, bool) { return 1 - q.id, true }
func (q *port) Send(c *atm.Cell)        { q.line.Receive(c) }

// Receive takes a cell off the line. Each end names the control circuit after the other.
func (q *port) Receive(c *atm.Cell) {
	if h, ok := c.Header(); ok && h.VC.VCI == rmem.ControlVCI(q.id) {
		h.VC.VCI = rmem.ControlVCI(1 - q.id)
		c.SetHeader(h)
	}
	q.node.Receive(c)
}

func (q *port) Publish(_ int, _ string, r rmem.Record) rmem.Error { q.pair.record = r; return rmem.OK }
func (q *port) Withdraw(int, string)                              {}
func (q *port) Watch(int, string, func()) func()                  { return func() {} }
func (q *port) Lookup(int, string) (rmem.Record, rmem.Error)      { return q.pair.record, rmem.OK }

// A load is operations of one kind, one after the other, each begun when the one before it is done, which for a write is when it
// is on its way.
type load struct {
	name  string
	count int
	bytes int // that each carries
	begin func(s *rmem.Space, o *rmem.Operation, d rmem.Desc, n int)
}

const size = 64 << 10

var block = bytes.NewReader(make([]byte, size))

var loads = []load{
	{"64 KiB writes", 40, size, func(s *rmem.Space, o *rmem.Operation, d rmem.Desc, _ int) {
		s.Write(o, d, 0, block, size, 1, false)
	}},
	{"40-byte writes", 20000, 40, func(s *rmem.Space, o *rmem.Operation, d rmem.Desc, n int) {
		s.Write(o, d, uint64(n%1000)*40, block, 40, 1, false)
	}},
	{"fetch-and-add, one at a time", 2000, 8, func(s *rmem.Space, o *rmem.Operation, d rmem.Desc, _ int) {
		s.FAdd(o, d, 0, 8, 1, false)
	}},
}

// throughput is the operations per second of a load, until the last is acknowledged.
func (l load) throughput(loss float64) (float64, error) {
	p, err := newPair(loss)
	if err != nil {
		return 0, err
	}
	owner, user := p.ports[1].node.NewSpace(), p.ports[0].node.NewSpace()
	if _, e := owner.Export("segment", make([]byte, size), rmem.Read|rmem.Write|rmem.Atomic); e != rmem.OK {
		return 0, fmt.Errorf("export: %w", e)
	}
	var o rmem.Operation
	user.Import(&o, "segment", 1, rmem.Write|rmem.Atomic, false)
	p.clock.Run(atm.Forever)
	if e := o.Result(); e != rmem.OK {
		return 0, fmt.Errorf("import at a loss of %g: %w", loss, e)
	}
	d := rmem.Desc(o.Handle())

	begun, begin, end := 0, p.clock.Now(), time.Duration(0)
	failure := rmem.OK
	o.Reset()
	goOn := func() {
		for begun <= l.count { // the last is the fence
			if begun > 0 {
				if !o.Done() {
					return
				}
				if e := o.Result(); e != rmem.OK {
					failure = e
					return
				}
				o.Reset()
			}
			if begun < l.count {
				l.begin(user, &o, d, begun)
			} else {
				user.Fence(&o, d)
			}
			begun++
		}
		if o.Done() && end == 0 {
			end, failure = p.clock.Now(), o.Result()
		}
	}
	o.Wake = func() { p.clock.AfterFunc(0, goOn) }
	goOn()
	p.clock.Run(atm.Forever)
	if failure != rmem.OK || end == 0 {
		return 0, fmt.Errorf("%s at a loss of %g: %d of %d begun: %w", l.name, loss, begun, l.count, failure)
	}
	return float64(l.count) / (end - begin).Seconds(), nil
}

// Throughput is what is left of the throughput without loss, against the probability that a cell is lost: 2^-from down to 2^-to.
func Throughput(from, to int) (plot.Chart, error) {
	chart := plot.Chart{
		Title: "Throughput of assured delivery against cell loss, 155 Mbit/s, 50 µs each way",
		X:     "probability that a link loses a cell",
		Y:     "throughput, as a share of that without loss",
		LogX:  true,
		MaxY:  1,
	}
	for i, l := range loads {
		line := plot.Line{Name: l.name, Color: i}
		best, err := l.throughput(0)
		if err != nil {
			return chart, err
		}
		for k := from; k >= to; k-- {
			loss := math.Pow(2, -float64(k))
			got, err := l.throughput(loss)
			if err != nil {
				return chart, err
			}
			line.Points = append(line.Points, plot.Point{X: loss, Y: got / best})
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart, nil
}
