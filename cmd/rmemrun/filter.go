package main

import (
	"slices"
	"strconv"
	"strings"

	"rmemrun/decode"
	"rmemrun/runtime"
)

// A filter says which instructions a view shows.
//
//	filter = ["!"] term {"," term}
//	term   = operation | "error" | "node=" number | "all"
//
// An instruction is shown if its operation is one of the operations, it failed if
// error is there, and its node is one of the nodes; a kind of term that is
// absent asks nothing. A leading ! shows what would not be shown without it.
type filter struct {
	ops    []decode.Op
	nodes  []int
	failed bool
	not    bool
}

func parseFilter(text string) (filter, error) {
	var f filter
	text, f.not = strings.CutPrefix(text, "!")
	if text == "" && !f.not {
		return f, nil
	}
	for _, term := range strings.Split(text, ",") {
		node, isNode := strings.CutPrefix(term, "node=")
		switch {
		case isNode:
			n, err := strconv.Atoi(node)
			if err != nil || n < 0 {
				return f, usage("--trace: node=%s: a node is a number from 0", node)
			}
			f.nodes = append(f.nodes, n)
		case term == "error":
			f.failed = true
		case term == everything:
		default:
			op, ok := opNamed(term)
			if !ok {
				return f, usage("--trace: nothing is called %q; there are %s, error, node=N and all", term, opNames())
			}
			f.ops = append(f.ops, op)
		}
	}
	return f, nil
}

// shows reports whether the instruction, which e finishes, is shown.
func (f filter) shows(e *runtime.Event) bool {
	_, failed := errorOf(e.Result)
	match := (f.ops == nil || slices.Contains(f.ops, e.Inst.Op)) && f.showsNode(e.Node) && (!f.failed || failed)
	return match != f.not
}

// showsUnfinished reports whether the instruction is shown that e has begun, or
// given up: it is not known whether it would have failed.
func (f filter) showsUnfinished(e *runtime.Event) bool { return !f.failed && f.shows(e) }

// showsNode reports whether the node is one of those asked for.
func (f filter) showsNode(node int) bool { return f.nodes == nil || slices.Contains(f.nodes, node) }

// showsExit reports whether the beginning and the end of a node are shown: they
// are, unless the filter names other nodes.
func (f filter) showsExit(node int) bool { return f.nodes == nil || f.showsNode(node) != f.not }

func opNamed(name string) (decode.Op, bool) {
	for _, op := range decode.Ops() {
		if op.String() == name {
			return op, true
		}
	}
	return 0, false
}

func opNames() string {
	var names []string
	for _, op := range decode.Ops() {
		names = append(names, op.String())
	}
	return strings.Join(names, ", ")
}
