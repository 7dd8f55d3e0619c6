package runtime

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rmemrun/atm"
)

// TopologySchema is the JSON schema (draft 2020-12) of topology files.
//
//go:embed topology.schema.json
var TopologySchema string

// maxTopologyFile is the longest topology file, in bytes.
const maxTopologyFile = 1 << 20

// maxTopologyErrors is how many errors of one file are reported.
const maxTopologyErrors = 10

// A TopologyError is something wrong in a topology file.
type TopologyError struct {
	File         string
	Line, Column int // from 1; 0: of the file as a whole
	Err          error
}

// Error is "file:line:column: what is wrong", as compilers have it.
func (e *TopologyError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns what is wrong, without the place.
func (e *TopologyError) Unwrap() error { return e.Err }

// LoadTopology reads a topology file. The error joins a [TopologyError] for each thing that is wrong, the first ten of
// them.
func LoadTopology(path string) (*Topology, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTopologyFile+1))
	if err != nil {
		return nil, err
	}
	return ParseTopology(path, text)
}

// ParseTopology is LoadTopology of a file that has been read: name is for errors.
func ParseTopology(name string, text []byte) (*Topology, error) {
	r := &topologyReader{file: name}
	root := r.parse(text)
	if root == nil {
		return nil, r.err()
	}
	t := r.topology(root)
	r.together()
	if len(r.errs) == 0 {
		t.check(func(p part, format string, args ...any) { r.fail(r.at[p], format, args...) })
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// ParseWay reads what a link is like from the form "key=value,...", with the keys and values that a link has in a topology file. It
// changes w.
func ParseWay(text string, w *Way) error {
	r := &topologyReader{file: text}
	root := r.parse([]byte("{" + strings.ReplaceAll(text, "=", ": ") + "}"))
	if root != nil {
		r.mapping(root, "a link", r.wayKeys(w))
		r.checkDelay(root, *w)
		r.together()
	}
	if len(r.errs) == 0 {
		if _, err := atm.NewLine(nowhere{}, w.config("", atm.NewSimClock(), 0)); err != nil {
			return errors.Unwrap(err) // nor does the name of the line, which has none
		}
		return nil
	}
	return errors.Unwrap(r.errs[0]) // the place says nothing in a single line
}

// A topologyReader turns the nodes of a YAML file into a Topology. It goes on after an error, so as to find others.
type topologyReader struct {
	file string
	errs []error
	at   map[part]*yaml.Node

	// later are checks of what keys have to do with each other, for when each is right by itself.
	later []func()
}

// together makes the checks that were left for later, if all is right so far.
func (r *topologyReader) together() {
	if len(r.errs) == 0 {
		for _, check := range r.later {
			check()
		}
	}
}

// fail notes an error at a node, or of the whole file if there is none.
func (r *topologyReader) fail(n *yaml.Node, format string, args ...any) {
	e := &TopologyError{File: r.file, Err: fmt.Errorf(format, args...)}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	r.errs = append(r.errs, e)
}

func (r *topologyReader) err() error {
	if n := len(r.errs); n > maxTopologyErrors {
		return errors.Join(append(r.errs[:maxTopologyErrors:maxTopologyErrors], fmt.Errorf("and %d errors more", n-maxTopologyErrors))...)
	}
	return errors.Join(r.errs...)
}

// parse parses the text, and returns the one value in it.
func (r *topologyReader) parse(text []byte) *yaml.Node {
	if len(text) > maxTopologyFile {
		r.fail(nil, "it is longer than %d bytes", maxTopologyFile)
		return nil
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	var document, next yaml.Node
	if err := d.Decode(&document); err == io.EOF {
		r.fail(nil, "it is empty: a topology has nodes and links")
		return nil
	} else if err != nil {
		r.syntax(err, d, text)
		return nil
	}
	if err := d.Decode(&next); err != nil && err != io.EOF {
		r.syntax(err, d, text)
		return nil
	} else if err == nil {
		r.fail(&next, "there is more than one document")
		return nil
	}
	if len(document.Content) != 1 {
		r.fail(nil, "it is empty: a topology has nodes and links")
		return nil
	}
	return document.Content[0]
}

// keys are what a mapping may have, and who reads it.
type keys map[string]func(*yaml.Node)

// mapping reads a mapping whose keys must be among those known.
func (r *topologyReader) mapping(n *yaml.Node, what string, known keys) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s is a mapping, and this is %s", what, kindOf(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || read == nil:
			r.fail(key, "%s has no key %q; there is %s", what, key.Value, strings.Join(known.names(), ", "))
		case seen[key.Value]:
			r.fail(key, "the key %s is given twice", key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

func (k keys) names() []string {
	var names []string
	for name := range k {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// kindOf says what a node is.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which topologies do not have; defaults says what links have in common"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	}
	return strconv.Quote(n.Value)
}

// text returns a value that is a string. A date is one: only YAML knows it as something else.
func (r *topologyReader) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Tag != "!!timestamp" {
		r.fail(n, "%s is expected, and this is %s", what, kindOf(n))
		return "", false
	}
	return n.Value, true
}

// number returns a value that is a number.
func number(n *yaml.Node) (v float64, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" {
		return 0, false
	}
	return v, n.Decode(&v) == nil
}

// whole returns a value that is a number without a fraction, at least 1 and of at most 15 digits.
func whole(n *yaml.Node) (v int, ok bool) {
	f, ok := number(n)
	return int(f), ok && f >= 1 && f < 1e15 && f == math.Trunc(f)
}

// topology reads the whole.
func (r *topologyReader) topology(root *yaml.Node) *Topology {
	t := &Topology{}
	r.at = map[part]*yaml.Node{wholeTopology: root}
	var common Way
	var links, contracts *yaml.Node
	r.mapping(root, "a topology", keys{
		"nodes":     func(n *yaml.Node) { t.Nodes = r.places(n, "nodes", "n", MaxNodes) },
		"switches":  func(n *yaml.Node) { t.Switches = r.places(n, "switches", "s", maxSwitches) },
		"defaults":  func(n *yaml.Node) { r.mapping(n, "defaults", r.wayKeys(&common)) },
		"links":     func(n *yaml.Node) { links = n },
		"contracts": func(n *yaml.Node) { contracts = n },
		"tree":      r.flag(&t.Tree),
	})
	if links != nil { // one node needs none
		r.list(links, "links", func(i int, n *yaml.Node) {
			l := r.link(n, i, common)
			t.Links = append(t.Links, l)
		})
	}
	if contracts != nil {
		r.list(contracts, "contracts", func(i int, n *yaml.Node) {
			t.Contracts = append(t.Contracts, r.contract(n, i))
		})
	}
	return t
}

// places reads the names of nodes or switches, or how many there are.
func (r *topologyReader) places(n *yaml.Node, list, prefix string, most int) (names []string) {
	if n.Kind != yaml.SequenceNode {
		count, ok := whole(n)
		if zero, isNumber := number(n); isNumber && zero == 0 {
			ok = true
		}
		if !ok || count > most {
			r.fail(n, "%s: a list of names, or a number up to %d, is expected, and this is %s", list, most, kindOf(n))
			return nil
		}
		for i := range count {
			names = append(names, fmt.Sprint(prefix, i))
			r.at[part{list, i, -1}] = n
		}
		return names
	}
	r.list(n, list, func(i int, n *yaml.Node) {
		name, _ := r.text(n, "a name")
		names = append(names, name)
		r.at[part{list, i, -1}] = n
	})
	return names
}

// list reads the items of a list.
func (r *topologyReader) list(n *yaml.Node, what string, read func(i int, n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "%s is a list, and this is %s", what, kindOf(n))
		return
	}
	for i, item := range n.Content {
		read(i, item)
	}
}

// link reads link i. What it does not say, common does.
func (r *topologyReader) link(n *yaml.Node, i int, common Way) Link {
	l := Link{}
	r.at[part{"links", i, -1}] = n
	var ends, name *yaml.Node
	var ways [2]*yaml.Node
	known := r.wayKeys(&common)
	known["name"] = func(n *yaml.Node) { name = n; l.Name, _ = r.text(n, "a name") }
	known["ends"] = func(n *yaml.Node) { ends = n }
	known["forward"] = func(n *yaml.Node) { ways[0] = n }
	known["backward"] = func(n *yaml.Node) { ways[1] = n }
	r.mapping(n, "a link", known)
	for way, name := range []string{"forward", "backward"} {
		l.Ways[way] = common
		if ways[way] != nil {
			r.mapping(ways[way], name, r.wayKeys(&l.Ways[way]))
			r.checkDelay(ways[way], l.Ways[way])
		}
	}
	r.checkDelay(n, l.Ways[0], l.Ways[1])
	switch {
	case ends == nil:
		r.fail(n, "a link needs ends: the two places that it joins")
	case ends.Kind == yaml.SequenceNode && len(ends.Content) != 2:
		r.fail(ends, "a link has two ends, and here are %d", len(ends.Content))
	default:
		r.list(ends, "ends", func(end int, n *yaml.Node) {
			l.Ends[end], _ = r.text(n, "the name of a node or a switch")
			r.at[part{"links", i, end}] = n
		})
	}
	if name == nil {
		l.Name = linkName(l.Ends[0], l.Ends[1])
	}
	return l
}

// contract reads contract i.
func (r *topologyReader) contract(n *yaml.Node, i int) (k Contract) {
	r.at[part{"contracts", i, -1}] = n
	classed := false
	text := func(to *string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to, _ = r.text(n, "the name of a node, or a pattern,") }
	}
	r.mapping(n, "a contract", keys{
		"from": text(&k.From), "to": text(&k.To),
		"class": func(n *yaml.Node) {
			classed = true
			r.word(n, "a class", int(atm.Classes), func(i int) string { return atm.Class(i).String() }, func(i int) { k.Class = atm.Class(i) })
		},
		"police": func(n *yaml.Node) {
			r.word(n, "a conformance definition", len(conformances), func(i int) string { return Conformance(i).String() }, func(i int) { k.Police = Conformance(i) })
		},
		"pcr":   func(n *yaml.Node) { r.rate(n, &k.Traffic.PCR, noTraffic) },
		"scr":   func(n *yaml.Node) { r.rate(n, &k.Traffic.SCR, noTraffic) },
		"mbs":   r.count(&k.Traffic.MBS),
		"cdvt":  r.duration(&k.Traffic.CDVT),
		"shape": r.count(&k.Shape),
	})
	if !classed && k.Police != Unpoliced {
		k.Class = conformances[k.Police].class
	}
	return k
}

// word reads one of some words, which are numbered; those that are empty are none.
func (r *topologyReader) word(n *yaml.Node, what string, words int, name func(int) string, is func(int)) {
	text, ok := r.text(n, what)
	if !ok {
		return
	}
	var known []string
	for i := range words {
		switch name(i) {
		case "":
			continue
		case text:
			is(i)
			return
		}
		known = append(known, name(i))
	}
	r.fail(n, "%q is not %s; there is %s", text, what, strings.Join(known, ", "))
}

// wayKeys read one direction of a link.
func (r *topologyReader) wayKeys(w *Way) keys {
	m, q := &w.Impairment, &w.Queueing
	return keys{
		"rate":  func(n *yaml.Node) { r.rate(n, &w.Rate, noLink) },
		"delay": r.duration(&w.Delay),
		"queue": func(n *yaml.Node) {
			r.mapping(n, "queue", keys{
				"size": r.count(&q.Size), "clp": r.count(&q.CLP), "epd": r.count(&q.EPD), "efci": r.count(&q.EFCI), "ppd": r.flag(&q.PPD),
				"weights": func(n *yaml.Node) {
					w := &q.Weights
					r.mapping(n, "weights", keys{"cbr": r.count(&w[atm.CBR]), "vbr": r.count(&w[atm.VBR]), "ubr": r.count(&w[atm.UBR])})
				},
			})
		},
		"loss":           r.probability(&m.Loss),
		"burst":          func(n *yaml.Node) { r.burst(n, &m.Burst) },
		"drop":           func(n *yaml.Node) { r.drop(n, &m.Drop) },
		"header-errors":  r.probability(&m.HeaderErrors),
		"payload-errors": r.probability(&m.PayloadErrors),
		"misinsert":      r.probability(&m.Misinsert),
		"duplicate":      r.probability(&m.Duplicate),
		"jitter":         r.duration(&m.Jitter),
		"reorder":        r.probability(&m.Reorder),
		"reorder-delay":  r.duration(&m.ReorderDelay),
		"cut":            func(n *yaml.Node) { r.times(n, "cut", &w.Cuts) },
		"silent":         func(n *yaml.Node) { r.times(n, "silent", &m.Outages) },
	}
}

// burst reads a Gilbert-Elliott model. Unless it says what is lost in the bad state, everything is (E. N. Gilbert, 1960).
func (r *topologyReader) burst(n *yaml.Node, b *atm.Burst) {
	if *b == (atm.Burst{}) {
		b.Loss = 1
	}
	r.mapping(n, "burst", keys{"enter": r.probability(&b.Enter), "leave": r.probability(&b.Leave), "loss": r.probability(&b.Loss)})
	if b.Enter == 0 && value(n, "enter") == nil {
		r.later = append(r.later, func() {
			r.fail(n, "burst has no enter, the probability to enter the bad state, so that it would never lose a cell")
		})
	}
}

// value is that of a key of a mapping; nil: it has none.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// checkDelay finds a delay of reordering where nothing is reordered: in a mapping that says what ways are like.
func (r *topologyReader) checkDelay(n *yaml.Node, ways ...Way) {
	delay := value(n, "reorder-delay")
	if delay == nil || value(n, "reorder") != nil || slices.ContainsFunc(ways, func(w Way) bool { return w.Impairment.Reorder > 0 }) {
		return
	}
	r.later = append(r.later, func() {
		r.fail(delay, "reorder-delay is given without reorder, the probability that a cell is held up for so long")
	})
}

// What is wrong with a rate of 0.
const (
	noLink    = "a rate of 0 would carry nothing; a link without a limit has the rate unlimited"
	noTraffic = "a rate of 0 would let no cell conform; give cells a second, or leave it out where there is no such limit"
)

// rate reads the name of a rate, or a number of cells a second; zero says why that is not 0.
func (r *topologyReader) rate(n *yaml.Node, to *float64, zero string) {
	if rate, ok := number(n); ok {
		switch {
		case rate == 0:
			r.fail(n, "%s", zero)
		case !(rate > 0 && rate <= math.MaxFloat64):
			r.fail(n, "a rate of %v is not possible, give a number of cells a second", rate)
		}
		*to = rate
		return
	}
	text, ok := r.text(n, "a rate")
	if !ok {
		return
	}
	rate, err := atm.RateByName(text)
	if err != nil {
		r.fail(n, "%w, or a number of cells a second", err)
	}
	*to = rate
}

// duration reads a time with its unit, such as 10us or 1.5s; 0 needs none.
func (r *topologyReader) duration(to *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		switch zero, isNumber := number(n); {
		case isNumber && zero == 0:
			*to = 0
		case isNumber:
			r.parseDuration(n, n.Value)
		default:
			if text, ok := r.text(n, "a time"); ok {
				*to = r.parseDuration(n, text)
			}
		}
	}
}

func (r *topologyReader) parseDuration(n *yaml.Node, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || strings.HasPrefix(text, "-") {
		r.fail(n, "%q is not a time; it has a unit, as in 10us, 1.5ms, 2s", text)
	}
	return d
}

// probability reads a number from 0 to 1.
func (r *topologyReader) probability(to *float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		p, ok := number(n)
		if !ok || !(p >= 0 && p <= 1) {
			r.fail(n, "%s is not a probability, a number from 0 to 1", kindOf(n))
		}
		*to = p
	}
}

// count reads a number of cells.
func (r *topologyReader) count(to *int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		count, ok := whole(n)
		if !ok {
			r.fail(n, "%s is not a number of cells, 1 or more", kindOf(n))
		}
		*to = count
	}
}

// flag reads true or false.
func (r *topologyReader) flag(to *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			r.fail(n, "true or false is expected, and this is %s", kindOf(n))
			return
		}
		*to = strings.EqualFold(n.Value, "true")
	}
}

// drop reads the numbers of the cells that are lost: one, or a list.
func (r *topologyReader) drop(n *yaml.Node, to *[]uint64) {
	*to = nil
	one := func(n *yaml.Node) {
		k, ok := whole(n)
		if !ok {
			r.fail(n, "%s is not the number of a cell, 1 or more", kindOf(n))
		}
		*to = append(*to, uint64(k))
	}
	if n.Kind != yaml.SequenceNode {
		one(n)
		return
	}
	r.list(n, "drop", func(_ int, n *yaml.Node) { one(n) })
}

// times reads when something is so: one time FROM..TO or FROM.., which is for ever, or a list.
func (r *topologyReader) times(n *yaml.Node, key string, to *[]atm.Outage) {
	*to = nil
	one := func(n *yaml.Node) {
		text, ok := r.text(n, "a time from..to")
		if !ok {
			return
		}
		from, until, ok := strings.Cut(text, "..")
		if !ok {
			r.fail(n, "%q is not from when to when: FROM..TO, as in 2s..4s, or FROM.., for ever", text)
			return
		}
		o := atm.Outage{From: r.parseDuration(n, from), To: atm.Forever}
		if until != "" {
			o.To = r.parseDuration(n, until)
		}
		if o.To <= o.From {
			r.fail(n, "%s: from %v to %v does not end after it begins", key, o.From, o.To)
		}
		*to = append(*to, o)
	}
	if n.Kind != yaml.SequenceNode {
		one(n)
		return
	}
	r.list(n, key, func(_ int, n *yaml.Node) { one(n) })
}
