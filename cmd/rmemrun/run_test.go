package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rmemrun/runtime"
)

func TestParsePrograms(t *testing.T) {
	for line, want := range map[string][]runtime.Program{
		"a":                     {{Path: "a", Args: []string{}, Nodes: 3}},
		"a -n 5 --x : b":        {{Path: "a", Args: []string{"-n", "5", "--x"}, Nodes: 3}, {Path: "b", Args: []string{}, Nodes: 1}},
		"a x : -n 2 b -n y : c": {{Path: "a", Args: []string{"x"}, Nodes: 3}, {Path: "b", Args: []string{"-n", "y"}, Nodes: 2}, {Path: "c", Args: []string{}, Nodes: 1}},
		"a : --nodes=4 b":       {{Path: "a", Args: []string{}, Nodes: 3}, {Path: "b", Args: []string{}, Nodes: 4}},
		"a : -n2 -- -b":         {{Path: "a", Args: []string{}, Nodes: 3}, {Path: "-b", Args: []string{}, Nodes: 2}},
		"a :x x: ::":            {{Path: "a", Args: []string{":x", "x:", "::"}, Nodes: 3}},
	} {
		got, err := parsePrograms(3, strings.Fields(line))
		if err != nil {
			t.Errorf("%q: %v", line, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", line, diff)
		}
	}
}

func TestParseProgramsRefuses(t *testing.T) {
	for _, c := range []struct {
		nodes int
		line  string
	}{
		{1, ":"}, {1, ": a"}, {1, "a :"}, {1, "a : :"}, {1, "a : -n 2"}, {1, "a : -n 2 : b"},
		{0, "a"}, {-1, "a"}, {runtime.MaxNodes + 1, "a"}, {runtime.MaxNodes, "a : b"},
		{1, "a : -n 0 b"}, {1, "a : -n x b"}, {1, "a : --trace b"}, {1, "a : --help"},
	} {
		programs, err := parsePrograms(c.nodes, strings.Fields(c.line))
		var s *statusError
		if !errors.As(err, &s) || s.status != statusUsage {
			t.Errorf("-n %d %q: %v, %v", c.nodes, c.line, programs, err)
		}
	}
}
