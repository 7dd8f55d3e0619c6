package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmemrun/decode"
	"rmemrun/runtime"
)

// summary counts the finished instructions and prints a table of them at the end,
// the operation that took most time first.
type summary struct {
	w    *lineWriter
	show filter
	tallies
}

// tallies are the counts of each operation.
type tallies struct {
	cells cells
	byOp  map[decode.Op]*tally
}

// A tally is what is counted of one operation. Times include waiting.
type tally struct {
	op     decode.Op
	calls  int
	errors int
	total  time.Duration
	cells  int
	took   *hdrhistogram.Histogram // nanoseconds
}

// longest is the longest time that the histogram tells from longer ones; its
// figures are right to three digits.
const longest = time.Hour

func newTallies() tallies { return tallies{newCells(), map[decode.Op]*tally{}} }

func (t tallies) observe(e *runtime.Event, show filter) {
	t.cells.observe(e)
	if e.Kind != runtime.Resume {
		return
	}
	cells := t.cells.take(e.Tag)
	if !show.shows(e) {
		return
	}
	c := t.byOp[e.Inst.Op]
	if c == nil {
		c = newTally(e.Inst.Op)
		t.byOp[e.Inst.Op] = c
	}
	c.calls++
	if _, failed := errorOf(e.Result); failed {
		c.errors++
	}
	c.total += e.Took
	c.cells += cells
	// The only error is a value that the histogram cannot hold.
	_ = c.took.RecordValue(int64(min(e.Took, longest)))
}

func newTally(op decode.Op) *tally {
	return &tally{op: op, took: hdrhistogram.New(1, int64(longest), 3)}
}

// sorted returns the tallies, the longest total first.
func (t tallies) sorted() []*tally {
	var all []*tally
	for _, c := range t.byOp {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *tally) int { return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.op, b.op)) })
	return all
}

func (c *tally) mean() time.Duration {
	if c.calls == 0 {
		return 0
	}
	return c.total / time.Duration(c.calls)
}

func (c *tally) quantile(percent float64) time.Duration {
	return time.Duration(c.took.ValueAtQuantile(percent))
}

func newSummary(w *lineWriter, show filter) *summary {
	return &summary{w: w, show: show, tallies: newTallies()}
}

func (s *summary) observe(e *runtime.Event) { s.tallies.observe(e, s.show) }

func (s *summary) close() error {
	s.w.printf("%-10s %9s %7s %11s %11s %11s %11s %9s\n", "operation", "calls", "errors", "total", "mean", "p50", "p99", "cells")
	var all tally
	all.took = newTally(0).took
	for _, c := range s.sorted() {
		s.row(c.op.String(), c)
		all.calls += c.calls
		all.errors += c.errors
		all.total += c.total
		all.cells += c.cells
		all.took.Merge(c.took)
	}
	s.row("all", &all)
	return s.w.err
}

func (s *summary) row(name string, c *tally) {
	s.w.printf("%-10s %9d %7d %11s %11s %11s %11s %9d\n", name, c.calls, c.errors,
		format(c.total), format(c.mean()), format(c.quantile(50)), format(c.quantile(99)), c.cells)
}
