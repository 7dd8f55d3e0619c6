package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"rmemrun/rmem"
	"rmemrun/runtime"
)

// A view reads the event stream of a run and prints what it is about. Events
// come one at a time and are not kept.
type view interface {
	observe(*runtime.Event)
	// close prints what is left, and returns the first error of writing.
	close() error
}

// view makes the views that the flags ask for: the observer of the job, nil if
// there is nothing to see, and what is to be called when the job is done.
func (a *app) view(f *runFlags, programs []runtime.Program) (observer func(*runtime.Event), done func() error, err error) {
	if f.json && !f.summary && f.trace == "" {
		f.trace = everything
	}
	if f.trace == "" && !f.summary {
		if f.output != "" {
			return nil, nil, usage("-o %s: there is nothing to write; add --trace, -c or --json", f.output)
		}
		return nil, func() error { return nil }, nil
	}
	show, err := parseFilter(f.trace)
	if err != nil {
		return nil, nil, err
	}
	out := a.stderr
	closeFile := func() error { return nil }
	if f.output != "" {
		if out, err = os.Create(f.output); err != nil {
			return nil, nil, usage("-o: %w", err)
		}
		closeFile = out.Close
	}
	w := &lineWriter{w: out}
	var views []view
	switch {
	case f.json:
		views = append(views, newNDJSON(w, show, programs, f.trace != "", f.summary))
	default:
		if f.trace != "" {
			views = append(views, newTrace(w, show, paint(a.colored(out))))
		}
		if f.summary {
			views = append(views, newSummary(w, show))
		}
	}
	observer = func(e *runtime.Event) {
		for _, v := range views {
			v.observe(e)
		}
	}
	done = func() error {
		for _, v := range views {
			if errView := v.close(); err == nil {
				err = errView
			}
		}
		if errClose := closeFile(); err == nil {
			err = errClose
		}
		if err != nil {
			return fmt.Errorf("writing the trace: %w", err)
		}
		return nil
	}
	return observer, done, nil
}

// A lineWriter writes line by line, each in one system call, so that lines of a
// terminal that several programs share stay whole. After an error it writes no more.
type lineWriter struct {
	w   io.Writer
	err error
}

func (l *lineWriter) printf(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, format, args...)
	}
}

// cells counts the cells of each instruction: those that were sent for it,
// requests and replies, by whichever node, until it was finished.
type cells struct {
	tags  map[rmem.OpID]uint64 // the instruction that a request on the network belongs to
	count map[uint64]int
}

func newCells() cells {
	return cells{map[rmem.OpID]uint64{}, map[uint64]int{}}
}

func (c cells) observe(e *runtime.Event) {
	if e.Kind != runtime.Network {
		return
	}
	switch e.Net.Kind {
	case rmem.Sent:
		tag := e.Net.Tag
		if tag != 0 {
			c.tags[e.Net.ID] = tag
		} else if tag = c.tags[e.Net.ID]; tag == 0 {
			return
		}
		c.count[tag]++
	case rmem.Completed:
		delete(c.tags, e.Net.ID)
	}
}

// take returns the count of a finished instruction, and forgets it.
func (c cells) take(tag uint64) int {
	n := c.count[tag]
	delete(c.count, tag)
	return n
}

// errorOf returns the error that the result of an instruction stands for; false:
// it succeeded.
func errorOf(result int64) (rmem.Error, bool) {
	if result >= 0 {
		return rmem.OK, false
	}
	return rmem.Error(result), true
}

// format writes a duration with the three or four digits that mean something.
func format(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.1fus", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3fs", d.Seconds())
}
