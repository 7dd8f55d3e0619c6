package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"rmemrun/atm"
)

// lab is a topology file that uses everything.
const lab = `
nodes: [alice, bob, carol]
switches: [west, east]
defaults: {rate: OC-3, delay: 10us}
links:
  - ends: [alice, west]
  - ends: [bob, east]
    rate: unlimited
    cut: 2s..4s
    silent: 5s..6s
  - {ends: [carol, east], rate: 1000, queue: {size: 64, clp: 16, epd: 32, efci: 48, ppd: true, weights: {cbr: 5, ubr: 2}}}
  - name: trunk
    ends: [west, east]
    rate: OC-12
    delay: 5ms
    loss: 1e-3
    forward: {loss: 0, drop: [3, 5], cut: ["1s..2s", "3s.."]}
    backward:
      burst: {enter: 0.01, leave: 0.5, loss: 1}
      header-errors: 1e-6
      payload-errors: 1e-7
      misinsert: 1e-5
      duplicate: 0.25
      jitter: 1ms
      reorder: 0.125
      reorder-delay: 2ms
tree: true
`

func TestParseTopology(t *testing.T) {
	got, err := ParseTopology("lab.yaml", []byte(lab))
	if err != nil {
		t.Fatal(err)
	}
	oc3 := Way{Rate: atm.OC3, Delay: 10 * time.Microsecond}
	bob := Way{Delay: 10 * time.Microsecond, Cuts: []atm.Outage{{From: 2 * time.Second, To: 4 * time.Second}},
		Impairment: atm.Impairment{Outages: []atm.Outage{{From: 5 * time.Second, To: 6 * time.Second}}}}
	carol := Way{Rate: 1000, Delay: 10 * time.Microsecond, Queueing: atm.Queueing{Size: 64, CLP: 16, EPD: 32, EFCI: 48, PPD: true, Weights: [atm.Classes]int{atm.UBR: 2, atm.CBR: 5}}}
	west := Way{Rate: atm.OC12, Delay: 5 * time.Millisecond, Impairment: atm.Impairment{Drop: []uint64{3, 5}},
		Cuts: []atm.Outage{{From: time.Second, To: 2 * time.Second}, {From: 3 * time.Second, To: atm.Forever}}}
	east := Way{Rate: atm.OC12, Delay: 5 * time.Millisecond, Impairment: atm.Impairment{
		Loss: 1e-3, Burst: atm.Burst{Enter: 0.01, Leave: 0.5, Loss: 1}, HeaderErrors: 1e-6, PayloadErrors: 1e-7,
		Misinsert: 1e-5, Duplicate: 0.25, Jitter: time.Millisecond, Reorder: 0.125, ReorderDelay: 2 * time.Millisecond,
	}}
	want := &Topology{
		Nodes: []string{"alice", "bob", "carol"}, Switches: []string{"west", "east"}, Tree: true,
		Links: []Link{
			{"alice-west", [2]string{"alice", "west"}, [2]Way{oc3, oc3}},
			{"bob-east", [2]string{"bob", "east"}, [2]Way{bob, bob}},
			{"carol-east", [2]string{"carol", "east"}, [2]Way{carol, carol}},
			{"trunk", [2]string{"west", "east"}, [2]Way{west, east}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseTopologyCounts(t *testing.T) {
	got, err := ParseTopology("t", []byte("nodes: 2\nswitches: 1\nlinks: [{ends: [n0, s0]}, {ends: [n1, s0]}]"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"n0", "n1"}; !slices.Equal(got.Nodes, want) {
		t.Errorf("the nodes are %q, want %q", got.Nodes, want)
	}
}

// Everything that can be wrong is said, with its place.
func TestParseTopologyRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "t: it is empty"},
		{"# nothing\n", "t: it is empty"},
		{"[]", `t:1:1: a topology is a mapping, and this is a list`},
		{"nodes: 1\n---\nnodes: 1", "there is more than one document"},
		{"nodes: [a\n", "t:"},
		{"nodes: 1\ncolour: red", `t:2:1: a topology has no key "colour"; there is contracts, defaults, links, nodes, switches, tree`},
		{"nodes: 1\nnodes: 1", "t:2:1: the key nodes is given twice"},
		{"nodes: 0", "there is no node"},
		{"nodes: 2000", "number up to 1024"},
		{"nodes: {a: b}", "t:1:8: nodes: a list of names, or a number up to 1024, is expected, and this is a mapping"},
		{"nodes: [a, [b]]", "t:1:12: a name is expected, and this is a list"},
		{"nodes: [a, 7up]", `t:1:12: "7up" is not a name`},
		{"nodes: [a, b, a]", "t:1:15: the name a is given twice"},
		{"nodes: [a]\nswitches: [a]", "t:2:12: the name a is given twice"},
		{"nodes: &x [a]\nswitches: *x", "t:2:11: "},
		{"nodes: [a, b]", "t:1:12: node b cannot be reached from node a"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b]}]\nswitches: [s]", "t:3:12: switch s cannot be reached from node a"},
		{"nodes: [a, b]\nlinks: {ends: [a, b]}", "t:2:8: links is a list, and this is a mapping"},
		{"nodes: [a, b]\nlinks: [{}]", "t:2:9: a link needs ends"},
		{"nodes: [a, b]\nlinks: [{ends: [a]}]", "t:2:16: a link has two ends, and here are 1"},
		{"nodes: [a, b]\nlinks: [{ends: a}]", `t:2:16: ends is a list, and this is "a"`},
		{"nodes: [a, b]\nlinks: [{ends: [a, c]}]", `t:2:20: link a-c leads to "c", which is neither a node nor a switch`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b]}, {ends: [b, b]}]", "t:2:25: link b-b leads from b to itself"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b]}, {ends: [a, b]}]", "t:2:25: there are two links a-b; give one another name"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], name: 0}]", `t:2:30: a name is expected, and this is the number 0`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: 0}]", "t:2:30: a rate of 0 would carry nothing"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: 1e-7}]", "give one cell an hour to 10^12 cells a second, or unlimited"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b]}]\ncontracts: [{pcr: 0}]", "t:3:19: a rate of 0 would let no cell conform"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: OC-5}]", `t:2:30: no rate is called "OC-5"`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: -1}]", "t:2:30: a rate of -1 is not possible"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: .nan}]", "t:2:30: a rate of NaN"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: 1e15}]", "t:2:9: line \"a-b\": a rate of 1e+15"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], rate: }]", "a rate is expected, and this is nothing"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], delay: 5}]", `t:2:31: "5" is not a time; it has a unit`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], delay: -5s}]", `t:2:31: "-5s" is not a time`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], delay: 5h}]", "the delay 5h0m0s is not between 0 and an hour"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], loss: 1.5}]", `t:2:30: the number 1.5 is not a probability`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], loss: nan}]", `"nan" is not a probability`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], drop: 0}]", `t:2:30: the number 0 is not the number of a cell`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], reorder: 0.1}]", "reordering needs the delay"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], reorder-delay: 1ms}]", "t:2:39: reorder-delay is given without reorder"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], forward: {reorder: 0.1}, backward: {reorder-delay: 1ms}}]", "t:2:75: reorder-delay is given without reorder"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], burst: {leave: 0.5, loss: 1}}]", "t:2:31: burst has no enter"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], queue: {size: 0}}]", `t:2:38: the number 0 is not a number of cells`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], queue: {size: 4, epd: 5}}]", "the EPD threshold 5 is not between 0 and the queue's 4"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], queue: {length: 4}}]", `t:2:32: queue has no key "length"; there is clp, efci, epd, ppd, size`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], cut: 2s}]", `"2s" is not from when to when`},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], cut: 2s..1s}]", "t:2:29: cut: from 2s to 1s does not end after it begins"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], silent: [1s.., 2s..2s]}]", "t:2:39: silent: from 2s to 2s does not end after it begins"},
		{"nodes: [a, b]\nlinks: [{ends: [a, b], forward: {ends: [a, b]}}]", `t:2:34: forward has no key "ends"`},
		{"nodes: 1\ntree: maybe", `t:2:7: true or false is expected, and this is "maybe"`},
		{"nodes: 1\n'a b': 1", `t:2:1: a topology has no key "a b"`},
		{"nodes: 1\n? [x]\n: 1", `t:2:3: a topology has no key ""`},
		// A cycle where none may be; without "tree" it is welcome.
		{"nodes: 1\ntree: true\nswitches: 3\nlinks: [{ends: [n0, s0]}, {ends: [s0, s1]}, {ends: [s1, s2]}, {ends: [s2, s0]}]",
			"t:4:63: link s2-s0 closes a cycle, and the topology is said to be a tree"},
		// Nodes pass nothing on.
		{"nodes: [a, b, c]\nlinks: [{ends: [a, b]}, {ends: [b, c]}]", "t:1:15: node c can be reached from node a only through another node"},
		{"nodes: 2\nswitches: 2\nlinks: [{ends: [n0, s0]}, {ends: [n1, s1]}]", "t:1:8: node n1 cannot be reached from node n0"},
	} {
		got, err := ParseTopology("t", []byte(c.text))
		if err == nil {
			t.Errorf("%q: %+v, want the error %s", c.text, got, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n%v\nwant %s", c.text, err, c.want)
		}
		var e *TopologyError
		if !errors.As(err, &e) || e.File != "t" {
			t.Errorf("%q: the error is a %T, want a TopologyError of the file t", c.text, err)
		}
	}
}

// Several errors are reported at once, not all of very many.
func TestParseTopologyManyErrors(t *testing.T) {
	_, err := ParseTopology("t", []byte("nodes: [$, $, $, $, $, $, $, $, $, $, $, $]"))
	if n := strings.Count(err.Error(), "is not a name"); n != maxTopologyErrors {
		t.Errorf("%d errors are reported, want %d:\n%v", n, maxTopologyErrors, err)
	}
	if !strings.Contains(err.Error(), "and 13 errors more") && !strings.Contains(err.Error(), "and 2 errors more") {
		t.Errorf("it is not said how many more there are:\n%v", err)
	}
}

// Two nodes that are linked, with a third that both reach through a switch, is a topology: nodes may have several links.
func TestTopologySeveralLinks(t *testing.T) {
	text := "nodes: [a, b, c]\nswitches: 1\nlinks: [{ends: [a, b]}, {ends: [a, s0]}, {ends: [b, s0]}, {ends: [c, s0]}, {name: second, ends: [c, s0]}]"
	if _, err := ParseTopology("t", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestParseWay(t *testing.T) {
	var got Way
	if err := ParseWay("loss=1e-2,delay=1ms,drop=[1,2],burst={enter=0.5,leave=1,loss=1},cut=1s..2s", &got); err != nil {
		t.Fatal(err)
	}
	want := Way{
		Delay: time.Millisecond, Impairment: atm.Impairment{Loss: 1e-2, Drop: []uint64{1, 2}, Burst: atm.Burst{Enter: 0.5, Leave: 1, Loss: 1}},
		Cuts: []atm.Outage{{From: time.Second, To: 2 * time.Second}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, text := range []string{"loss", "loss=2", "lost=1", "loss=0.1}", "delay=2h", "reorder-delay=1ms", "burst={leave=1}", "loss=0.1\nnodes: 1", "[", "---", "a: &a"} {
		if err := ParseWay(text, &got); err == nil {
			t.Errorf("%q was taken", text)
		} else if strings.Contains(err.Error(), `line "`) {
			t.Errorf("%q: %v: no such line was named", text, err)
		}
	}
}

// A burst loses all cells unless it says how many; a link may have half of what reordering needs from the defaults.
func TestParseTopologyImpairments(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		text string
		want atm.Impairment // of the first direction
	}{
		{"links: [{ends: [a, b], burst: {enter: 0.1, leave: 0.5}}]", atm.Impairment{Burst: atm.Burst{Enter: 0.1, Leave: 0.5, Loss: 1}}},
		{"links: [{ends: [a, b], burst: {enter: 0.1, loss: 0.5}}]", atm.Impairment{Burst: atm.Burst{Enter: 0.1, Loss: 0.5}}},
		{"links: [{ends: [a, b], burst: {enter: 0.1, loss: 0}}]", atm.Impairment{Burst: atm.Burst{Enter: 0.1}}},
		{"defaults: {burst: {enter: 0.1, loss: 0.5}}\nlinks: [{ends: [a, b], burst: {leave: 0.2}}]", atm.Impairment{Burst: atm.Burst{Enter: 0.1, Leave: 0.2, Loss: 0.5}}},
		{"defaults: {reorder-delay: 1ms}\nlinks: [{ends: [a, b], reorder: 0.1}]", atm.Impairment{Reorder: 0.1, ReorderDelay: ms}},
		{"defaults: {reorder: 0.1, reorder-delay: 1ms}\nlinks: [{ends: [a, b], reorder: 0}]", atm.Impairment{ReorderDelay: ms}},
		{"links: [{ends: [a, b], reorder-delay: 1ms, forward: {reorder: 0.1}}]", atm.Impairment{Reorder: 0.1, ReorderDelay: ms}},
	} {
		got, err := ParseTopology("t", []byte("nodes: [a, b]\n"+c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if diff := cmp.Diff(c.want, got.Links[0].Ways[0].Impairment); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.text, diff)
		}
	}
}

func TestBuiltinTopology(t *testing.T) {
	for _, c := range []struct {
		word                   string
		nodes, switches, links int
	}{
		{"star", 1, 1, 1}, {"star", 4, 1, 4}, {"star", 1024, 1, 1024},
		{"ring", 1, 1, 1}, {"ring", 2, 2, 3}, {"ring", 5, 5, 10},
		{"line", 1, 1, 1}, {"line", 2, 2, 3}, {"line", 5, 5, 9},
		{"mesh", 1, 1, 1}, {"mesh", 5, 5, 15},
		{"fattree", 1, 5, 5}, {"fattree", 2, 5, 6}, // k = 2: 1 core, 2 pods of 2
		{"fattree", 3, 20, 35}, {"fattree", 16, 20, 48}, // k = 4: 4 core, 4 pods of 4; 16 links up to the core and 16 in the pods
	} {
		got, err := BuiltinTopology(c.word, c.nodes)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Nodes) != c.nodes || len(got.Switches) != c.switches || len(got.Links) != c.links {
			t.Errorf("%s of %d nodes: %d nodes, %d switches and %d links, want %d, %d and %d",
				c.word, c.nodes, len(got.Nodes), len(got.Switches), len(got.Links), c.nodes, c.switches, c.links)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s of %d nodes: %v", c.word, c.nodes, err)
		}
	}
	for _, c := range []struct {
		word  string
		nodes int
	}{{"tree", 2}, {"star", 0}, {"star", 1025}, {"mesh", 129}} {
		if _, err := BuiltinTopology(c.word, c.nodes); err == nil {
			t.Errorf("%s of %d nodes was made", c.word, c.nodes)
		}
	}
}

// The schema has the keys that the loader has, no more and no less.
func TestTopologySchema(t *testing.T) {
	var schema struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(TopologySchema), &schema); err != nil {
		t.Fatal(err)
	}
	same := func(what string, properties map[string]any, accepted func(key string) bool, keys ...string) {
		for _, key := range keys {
			if properties[key] == nil {
				t.Errorf("the schema of %s has no %s", what, key)
			}
		}
		for key := range properties {
			if !accepted(key) {
				t.Errorf("the schema of %s has %s, which the loader refuses", what, key)
			}
		}
	}
	known := func(format string) func(string) bool {
		return func(key string) bool {
			_, err := ParseTopology("t", fmt.Appendf(nil, format, key))
			return !strings.Contains(err.Error(), fmt.Sprintf("has no key %q", key))
		}
	}
	var w Way
	ways := (&topologyReader{}).wayKeys(&w).names()
	same("a topology", schema.Properties, known("%s: {x: y}"), "nodes", "switches", "links", "defaults", "contracts", "tree")
	same("a direction", schema.Defs["way"].Properties, known("defaults: {%s: {x: y}}"), ways...)
	same("a link", schema.Defs["link"].Properties, known("links: [{%s: {x: y}}]"), "name", "ends", "forward", "backward")
	queue := schema.Defs["way"].Properties["queue"].(map[string]any)["properties"].(map[string]any)
	same("a queue", queue, known("defaults: {queue: {%s: {x: y}}}"), "size", "clp", "epd", "efci", "ppd", "weights")
	same("a contract", schema.Defs["contract"].Properties, known("contracts: [{%s: {x: y}}]"), "from", "to", "class", "police", "pcr", "scr", "mbs", "cdvt", "shape")
}

// FuzzParseTopology: any text is a topology that can be built, or an error of that file.
func FuzzParseTopology(f *testing.F) {
	f.Add(lab)
	f.Add("nodes: 3\nswitches: 1\nlinks: [{ends: [n0, s0]}, {ends: [n1, s0]}, {ends: [n2, s0]}, {name: x, ends: [n0, n1], cut: [1s..2s]}]")
	f.Add("a: &a [*a]")
	f.Add("? {a: b}\n: c")
	f.Add("nodes: 1\nlinks: !!binary aGVsbG8=")
	f.Add("%YAML 1.1\n---\nnodes: 1")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTopology("t", []byte(text))
		if (got == nil) == (err == nil) {
			t.Fatalf("%v and the error %v", got, err)
		}
		if err != nil {
			var e *TopologyError
			if !errors.As(err, &e) {
				t.Errorf("the error is %T: %v", err, err)
			}
			return
		}
		if err := got.Check(); err != nil {
			t.Errorf("it was loaded, and then: %v", err)
		}
		if len(got.Nodes) > 16 || len(got.Links) > 64 {
			return // correct, and slow to build
		}
		fabric, err := newFabric(fabricConfig{topology: got, clock: atm.NewSimClock()})
		if err != nil {
			t.Fatal(err)
		}
		fabric.close()
	})
}

// randomTopology draws a topology of switches that are joined at random, and nodes with one or two links.
func randomTopology(t *rapid.T) *Topology {
	top := &Topology{}
	nodes, switches := rapid.IntRange(1, 6).Draw(t, "nodes"), rapid.IntRange(1, 6).Draw(t, "switches")
	link := func(a, b string) {
		l := Link{Name: fmt.Sprint("l", len(top.Links)), Ends: [2]string{a, b}}
		if rapid.Bool().Draw(t, "turned") {
			l.Ends = [2]string{b, a}
		}
		top.Links = append(top.Links, l)
	}
	for i := range switches {
		top.addSwitch()
		if i > 0 {
			link(top.Switches[i], top.Switches[rapid.IntRange(0, i-1).Draw(t, "parent")])
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "more links") {
		a, b := rapid.IntRange(0, switches-1).Draw(t, "a"), rapid.IntRange(0, switches-1).Draw(t, "b")
		if a != b {
			link(top.Switches[a], top.Switches[b])
		}
	}
	for i := range nodes {
		name := fmt.Sprint("n", i)
		top.Nodes = append(top.Nodes, name)
		link(name, top.Switches[rapid.IntRange(0, switches-1).Draw(t, "at")])
		if rapid.Bool().Draw(t, "second link") {
			link(name, top.Switches[rapid.IntRange(0, switches-1).Draw(t, "at")])
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "direct link") == 0 {
			link(name, top.Nodes[rapid.IntRange(0, i-1).Draw(t, "to")])
		}
	}
	return top
}
