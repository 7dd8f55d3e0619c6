package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"rmemrun/decode"
	"rmemrun/runtime"
)

// ndjsonVersion is raised when a field changes its meaning or goes away. New
// fields and new types of object do not raise it: readers skip what they do not know.
const ndjsonVersion = 1

// ndjson prints the trace and the summary for programs to read: one JSON object
// a line, https://github.com/ndjson/ndjson-spec. docs/commands/run.md lists the
// fields.
type ndjson struct {
	w       *lineWriter
	show    filter
	trace   bool
	summary bool
	tallies
	traced cells
}

type ndjsonHeader struct {
	Type     string          `json:"type"` // "rmemrun"
	Version  int             `json:"version"`
	Programs []ndjsonProgram `json:"programs,omitempty"` // not of doctor
}

type ndjsonProgram struct {
	Path  string   `json:"path"`
	Args  []string `json:"args"`
	Nodes int      `json:"nodes"`
}

type ndjsonStart struct {
	Type string `json:"type"` // "start"
	Time int64  `json:"time_ns"`
	Node int    `json:"node"`
	Path string `json:"path"`
}

type ndjsonExit struct {
	Type   string `json:"type"` // "exit"
	Time   int64  `json:"time_ns"`
	Node   int    `json:"node"`
	Status int    `json:"status"`
}

type ndjsonLink struct {
	Type     string `json:"type"` // "link"
	Time     int64  `json:"time_ns"`
	What     string `json:"what"` // "failed", "repaired", "rerouted"
	Link     string `json:"link"`
	From     string `json:"from"` // the direction
	To       string `json:"to"`
	Defect   string `json:"defect,omitempty"`   // of failed: "no signal", "loss of continuity"
	Moved    int    `json:"moved,omitempty"`    // of rerouted: circuits led on another way
	Stranded int    `json:"stranded,omitempty"` // and circuits for which there is none
}

type ndjsonPatch struct {
	Type     string `json:"type"` // "patch"
	Time     int64  `json:"time_ns"`
	Node     int    `json:"node"`
	PID      int    `json:"pid"`
	TID      int    `json:"tid"`
	Op       string `json:"op"`
	PC       string `json:"pc"`
	Replaced bool   `json:"replaced"`
	Why      string `json:"why,omitempty"` // it is left to the trap
}

type ndjsonInstruction struct {
	Type   string         `json:"type"` // "instruction"
	Time   int64          `json:"time_ns"`
	Node   int            `json:"node"`
	PID    int            `json:"pid"`
	TID    int            `json:"tid"`
	Tag    uint64         `json:"tag"`
	Op     string         `json:"op"`
	Notify bool           `json:"notify,omitempty"`
	Async  bool           `json:"async,omitempty"`
	Width  uint8          `json:"width"`
	PC     string         `json:"pc"`
	Code   string         `json:"code"`
	Args   map[string]any `json:"args"`
	Name   string         `json:"name,omitempty"` // of the segment; bytes that are not UTF-8 show as U+FFFD
	Result int64          `json:"result"`
	Error  string         `json:"error,omitempty"`
	Old    string         `json:"old,omitempty"`
	Took   int64          `json:"took_ns"`
	Cells  int            `json:"cells"`
}

type ndjsonSummary struct {
	Type   string `json:"type"` // "summary"
	Op     string `json:"op"`
	Calls  int    `json:"calls"`
	Errors int    `json:"errors"`
	Total  int64  `json:"total_ns"`
	Mean   int64  `json:"mean_ns"`
	P50    int64  `json:"p50_ns"`
	P99    int64  `json:"p99_ns"`
	Max    int64  `json:"max_ns"`
	Cells  int    `json:"cells"`
}

func newNDJSON(w *lineWriter, show filter, programs []runtime.Program, trace, summary bool) *ndjson {
	n := &ndjson{w: w, show: show, trace: trace, summary: summary, tallies: newTallies(), traced: newCells()}
	header := ndjsonHeader{Type: "rmemrun", Version: ndjsonVersion}
	for _, p := range programs {
		header.Programs = append(header.Programs, ndjsonProgram{p.Path, append([]string{}, p.Args...), p.Nodes})
	}
	n.print(header)
	return n
}

func (n *ndjson) print(object any) {
	line, err := json.Marshal(object)
	if err != nil {
		n.w.err = err
		return
	}
	n.w.printf("%s\n", line)
}

func (n *ndjson) observe(e *runtime.Event) {
	if n.summary {
		n.tallies.observe(e, n.show)
	}
	if !n.trace {
		return
	}
	n.traced.observe(e)
	switch e.Kind {
	case runtime.Start:
		if n.show.showsExit(e.Node) {
			n.print(ndjsonStart{"start", int64(e.Time), e.Node, e.Path})
		}
	case runtime.Exit:
		if n.show.showsExit(e.Node) {
			n.print(ndjsonExit{"exit", int64(e.Time), e.Node, e.Status})
		}
	case runtime.OnLink:
		if l := e.Link; linkText(l) != "" {
			n.print(ndjsonLink{"link", int64(e.Time), l.What.String(), l.Link, l.From, l.To, l.Defect.String(), l.Moved, l.Stranded})
		}
	case runtime.Patch:
		if n.show.showsUnfinished(e) {
			p := ndjsonPatch{
				Type: "patch", Time: int64(e.Time), Node: e.Node, PID: e.PID, TID: e.TID,
				Op: e.Inst.Op.String(), PC: fmt.Sprintf("%#x", e.PC), Replaced: e.Why == nil,
			}
			if e.Why != nil {
				p.Why = e.Why.Error()
			}
			n.print(p)
		}
	case runtime.Resume:
		if cells := n.traced.take(e.Tag); n.show.shows(e) {
			n.print(instruction(e, cells))
		}
	}
}

func instruction(e *runtime.Event, cells int) ndjsonInstruction {
	o := ndjsonInstruction{
		Type: "instruction", Time: int64(e.Time), Node: e.Node, PID: e.PID, TID: e.TID, Tag: e.Tag,
		Op: e.Inst.Op.String(), Width: e.Inst.Width,
		Notify: e.Inst.Flags&decode.FlagNotify != 0, Async: e.Inst.Flags&decode.FlagAsync != 0,
		PC: fmt.Sprintf("%#x", e.PC), Code: hex.EncodeToString(e.Code),
		Args: map[string]any{}, Name: e.Name, Result: e.Result, Took: int64(e.Took), Cells: cells,
	}
	for _, arg := range e.Inst.Op.Operands() {
		o.Args[arg.Name] = value(arg, operand(e, arg))
	}
	if err, failed := errorOf(e.Result); failed {
		o.Error = err.Name()
	} else if e.Inst.Op.Atomic() {
		o.Old = fmt.Sprintf("%#x", e.Old)
	}
	return o
}

// value is an operand as JSON has it: a number, but a string where it may
// have more than 53 bits, which is what a reader of JSON numbers keeps.
func value(o decode.Operand, v uint64) any {
	switch o.Kind {
	case decode.KindAddress, decode.KindWord, decode.KindRights:
		return o.Format(v)
	case decode.KindSize:
		return v
	}
	return int32(v)
}

func (n *ndjson) close() error {
	if n.summary {
		for _, c := range n.sorted() {
			n.print(ndjsonSummary{
				Type: "summary", Op: c.op.String(), Calls: c.calls, Errors: c.errors, Total: int64(c.total), Mean: int64(c.mean()),
				P50: int64(c.quantile(50)), P99: int64(c.quantile(99)), Max: c.took.Max(), Cells: c.cells,
			})
		}
	}
	return n.w.err
}
