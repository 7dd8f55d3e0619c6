package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rmemrun/decode"
	"rmemrun/runtime"
)

// trace prints one line for each instruction when it is finished, as strace does
// for system calls:
//
//	[node pid] operation(name=value, ...) = result <time, cells>
type trace struct {
	w     *lineWriter
	show  filter
	paint paint
	cells cells
	begun map[uint64]begun // instructions that are not finished
}

// begun is what a line says of an instruction before its result is known.
type begun struct {
	node int
	text string
}

func newTrace(w *lineWriter, show filter, paint paint) *trace {
	return &trace{w: w, show: show, paint: paint, cells: newCells(), begun: map[uint64]begun{}}
}

func (t *trace) observe(e *runtime.Event) {
	t.cells.observe(e)
	switch e.Kind {
	case runtime.Decode:
		if t.show.showsUnfinished(e) {
			t.begun[e.Tag] = begun{e.Node, call(e)}
		}
	case runtime.Patch:
		if e.Why != nil && t.show.showsUnfinished(e) {
			t.w.printf("%s %s\n", t.paint.dim(fmt.Sprintf("[%d %d]", e.Node, e.PID)),
				t.paint.dim(fmt.Sprintf("%s at %#x is left to the trap: %v", e.Inst.Mnemonic(), e.PC, e.Why)))
		}
	case runtime.Resume:
		delete(t.begun, e.Tag)
		n := t.cells.take(e.Tag)
		if !t.show.shows(e) {
			return
		}
		t.w.printf("%s = %s %s\n", t.head(e.Node, call(e)), t.result(e), t.paint.dim(cost(e, n)))
	case runtime.Restart:
		delete(t.begun, e.Tag)
		t.cells.take(e.Tag)
		if t.show.showsUnfinished(e) {
			t.w.printf("%s = ? %s\n", t.head(e.Node, call(e)), t.paint.dim("(interrupted by a signal; runs again)"))
		}
	case runtime.OnLink:
		if text := linkText(e.Link); text != "" {
			t.w.printf("%s%s\n", t.paint.dim("[net] "), text)
		}
	case runtime.Exit:
		t.unfinished(e.Node)
		if t.show.showsExit(e.Node) {
			t.w.printf("%s+++ exited with status %d +++\n", t.paint.dim(fmt.Sprintf("[%d] ", e.Node)), e.Status)
		}
	}
}

// linkText says what has happened to a link, or, if that is not of the links but of cells, nothing.
func linkText(l *runtime.LinkEvent) string {
	switch l.What {
	case runtime.LinkFailed:
		return fmt.Sprintf("link %s failed: %s receives nothing from %s (%v)", l.Link, l.To, l.From, l.Defect)
	case runtime.LinkRepaired:
		return fmt.Sprintf("link %s repaired: %s receives from %s again", l.Link, l.To, l.From)
	case runtime.LinkRerouted:
		return fmt.Sprintf("because of link %s %s led on another way; %s", l.Link, plural(l.Moved, "circuit was", "circuits were"),
			plural(l.Stranded, "has none", "have none"))
	}
	return ""
}

// unfinished prints the instructions in which a node's threads have died.
func (t *trace) unfinished(node int) {
	var tags []uint64
	for tag, b := range t.begun {
		if b.node == node {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	for _, tag := range tags {
		t.w.printf("%s = ? %s\n", t.head(node, t.begun[tag].text), t.paint.dim("(died in it)"))
		delete(t.begun, tag)
	}
}

func (t *trace) close() error { return t.w.err }

// head puts the node before a call. The process is part of the call's text.
func (t *trace) head(node int, call string) string {
	pid, rest, _ := strings.Cut(call, " ")
	return t.paint.dim(fmt.Sprintf("[%d %s]", node, pid)) + " " + rest
}

// call writes the process and the instruction with its operands: "4711 write(desc=0, ...)".
// A thread other than the first is process/thread.
func call(e *runtime.Event) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(e.PID))
	if e.TID != e.PID {
		fmt.Fprintf(&b, "/%d", e.TID)
	}
	b.WriteByte(' ')
	b.WriteString(e.Inst.Mnemonic())
	b.WriteByte('(')
	separator := ""
	for _, o := range e.Inst.Op.Operands() {
		text := o.Format(operand(e, o))
		if e.Name != "" { // the name itself instead of where it is and how long
			switch o.Name {
			case "name":
				text = strconv.Quote(e.Name)
			case "name_length":
				continue
			}
		}
		b.WriteString(separator + o.Name + "=" + text)
		separator = ", "
	}
	b.WriteByte(')')
	return b.String()
}

// operand returns the value of an operand.
func operand(e *runtime.Event, o decode.Operand) uint64 {
	v := [...]uint64{
		decode.FieldV: e.V, decode.FieldA: e.A, decode.FieldP: e.P, decode.FieldC: e.C, decode.FieldD: e.D,
	}[o.Field]
	if o.Kind == decode.KindWord && e.Inst.Width == 4 {
		v &= 0xffffffff
	}
	return v
}

func (t *trace) result(e *runtime.Event) string {
	err, failed := errorOf(e.Result)
	switch {
	case failed:
		return t.paint.red(fmt.Sprintf("%d %s (%s)", e.Result, err.Name(), err.Error()))
	case e.Inst.Op.Atomic():
		return fmt.Sprintf("%d, old=%#x", e.Result, e.Old)
	}
	if e.Inst.Op == decode.Map {
		return fmt.Sprintf("%#x", e.Result)
	}
	return strconv.FormatInt(e.Result, 10)
}

func cost(e *runtime.Event, cells int) string {
	switch cells {
	case 0:
		return "<" + format(e.Took) + ">"
	case 1:
		return "<" + format(e.Took) + ", 1 cell>"
	}
	return fmt.Sprintf("<%s, %d cells>", format(e.Took), cells)
}
