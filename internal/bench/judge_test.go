package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made is a record of made-up runs of a pair.
type made struct{ *Record }

func newMade() made {
	return made{&Record{
		Version: Version, Machine: []byte(`{"cpu":"Test"}`), Load: [2]string{"0.10", "0.20"}, Took: 3,
		Settings: Settings{Engine: "patch", CPUs: [2]int{0, 1}, Rounds: 5, Milliseconds: 10},
		Subjects: []*Subject{{Name: Ours, Class: ClassOurs}, {Name: FloorMemory, Class: ClassFloor}},
	}}
}

func item1(name string, size int, p50 float64) Item {
	return Item{Name: name, Bytes: size, Batches: 10, Operations: 100, Min: p50, P50: p50, P99: p50 * 2, Max: p50 * 3}
}

// pair adds one round: ours with a put of that many ns, the floor with a round trip.
func (m made) pair(round int, class, classOther string, others, ours, other float64) {
	m.Runs = append(m.Runs,
		Run{Pair: "a | b", Round: round, Order: round % 2, Subject: Ours, Class: class, Others: others, Items: []Item{item1("put", 40, ours)}},
		Run{Pair: "a | b", Round: round, Order: 1 - round%2, Subject: FloorMemory, Class: classOther, Items: []Item{item1("pingpong", 8, other)}})
}

var putFigure = Figure{
	Group: GroupLimits, Name: "write", Ours: Probe{Ours, "put", 40}, Other: &Probe{FloorMemory, "pingpong", 8},
	Relation: Ratio, Trips: 1, Limit: 1.5, Engine: "patch",
}

func (m made) subjects() map[string]*Subject {
	subjects := map[string]*Subject{}
	for _, s := range m.Subjects {
		subjects[s.Name] = s
	}
	return subjects
}

func TestJudge(t *testing.T) {
	five := func(m made, ours float64) {
		for round := range 5 {
			m.pair(round, Near, Near, 0, ours+float64(round-2), 100)
		}
	}
	for _, tt := range []struct {
		name    string
		runs    func(made)
		figure  func(*Figure)
		verdict Verdict
		class   string
		pairs   int
		value   float64
		noisy   bool
		reason  string
	}{
		{name: "at the limit", runs: func(m made) { five(m, 150) }, verdict: Pass, class: Near, pairs: 5, value: 1.5},
		{name: "above it", runs: func(m made) { five(m, 151) }, verdict: Fail, class: Near, pairs: 5, value: 1.51},
		{name: "no limit", runs: func(m made) { five(m, 151) }, figure: func(f *Figure) { f.Limit = 0 }, verdict: Unjudged, class: Near, pairs: 5, value: 1.51},
		{name: "limit of another engine", runs: func(m made) { five(m, 151); m.Settings.Engine = "ptrace" }, verdict: Unjudged, class: Near, pairs: 5, value: 1.51, reason: "the limit is for the engine patch"},
		{name: "four pairs", runs: func(m made) { five(m, 150); m.Runs = m.Runs[2:] }, verdict: Unsettled, class: Near, pairs: 4, value: 1.505, reason: "a verdict needs 5 pairs"},
		{name: "the CPUs moved between the two of a pair", runs: func(m made) {
			five(m, 150)
			m.pair(5, Near, Far, 0, 1, 100)
			m.pair(6, Moved, Moved, 0, 1, 100)
			m.pair(7, Busy, Busy, 0, 1, 100)
		}, verdict: Pass, class: Near, pairs: 5, value: 1.5},
		{name: "the CPUs moved or were busy in all", runs: func(m made) {
			for round := range 6 {
				m.pair(round, Moved, Moved, 0, 100, 100)
				m.pair(10+round, Busy, Busy, 0, 100, 100)
			}
		}, verdict: Missing, reason: "during every run"},
		{name: "one class, and not both", runs: func(m made) {
			five(m, 150)
			for round := range 4 {
				m.pair(10+round, Far, Far, 0, 9000, 500)
			}
		}, verdict: Pass, class: Near, pairs: 5, value: 1.5},
		{name: "near, if there are enough", runs: func(m made) {
			for round := range 6 {
				m.pair(10+round, Far, Far, 0, 1000, 500)
			}
			five(m, 150)
		}, verdict: Pass, class: Near, pairs: 5, value: 1.5},
		{name: "else the class with more pairs", runs: func(m made) {
			five(m, 150)
			m.Runs = m.Runs[2:]
			for round := range 6 {
				m.pair(10+round, Far, Far, 0, 1000, 500)
			}
		}, verdict: Fail, class: Far, pairs: 6, value: 2},
		{name: "only quiet pairs, if there are enough", runs: func(m made) {
			five(m, 150)
			for round := range 20 {
				m.pair(10+round, Near, Near, 0.5, 9000, 100)
			}
		}, verdict: Pass, class: Near, pairs: 5, value: 1.5},
		{name: "all, if there are not", runs: func(m made) {
			for round := range 5 {
				m.pair(round, Near, Near, 0.5, 300, 100)
			}
		}, verdict: Fail, class: Near, pairs: 5, value: 3, noisy: true},
		{name: "nothing", runs: func(made) {}, verdict: Missing, reason: "during every run"},
		{name: "failed", runs: func(m made) {
			five(m, 150)
			for i := range m.Runs {
				m.Runs[i].Failed, m.Runs[i].Items = "guest: exit status 1", nil
			}
		}, verdict: Missing, reason: "exit status 1"},
		{name: "absent", runs: func(m made) {
			five(m, 150)
			for i := range m.Runs {
				m.Runs[i].Items = []Item{{Name: "put", Bytes: 40, Absent: "no such thing"}}
			}
		}, verdict: Missing, reason: "no such thing"},
		{name: "a peer that is not measured", runs: func(m made) { five(m, 150) }, figure: func(f *Figure) { f.Other = &Probe{"UCX", "put", 40} }, verdict: Missing, reason: "--peers"},
		{name: "a peer that is not installed", runs: func(m made) {
			five(m, 150)
			m.Subjects = append(m.Subjects, &Subject{Name: "UCX", Missing: "there is no ucx_perftest"})
		}, figure: func(f *Figure) { f.Other = &Probe{"UCX", "put", 40} }, verdict: Missing, reason: "there is no ucx_perftest"},
		{name: "difference", runs: func(m made) { five(m, 150) }, figure: func(f *Figure) { f.Relation, f.Limit = Difference, 49 }, verdict: Fail, class: Near, pairs: 5, value: 50},
		{name: "absolute", runs: func(m made) { five(m, 150) }, figure: func(f *Figure) { f.Relation, f.Limit, f.Other = Absolute, 150, nil }, verdict: Pass, class: Near, pairs: 5, value: 150},
		{name: "the longest", runs: func(m made) { five(m, 150) }, figure: func(f *Figure) { f.Relation, f.Limit, f.Other = Longest, 449, nil }, verdict: Fail, class: Near, pairs: 5, value: 450},
	} {
		m := newMade()
		tt.runs(m)
		f := putFigure
		if tt.figure != nil {
			tt.figure(&f)
		}
		got := m.judge(f, m.subjects())
		if got.Verdict != tt.verdict || got.Class != tt.class || got.Pairs != tt.pairs || got.Noisy != tt.noisy || got.Value < tt.value*0.999 || got.Value > tt.value*1.001 {
			t.Errorf("%s: %s of %d %s pairs, value %v, noisy %v; want %s, %d, %s, %v, %v", tt.name, got.Verdict, got.Pairs, got.Class, got.Value, got.Noisy, tt.verdict, tt.pairs, tt.class, tt.value, tt.noisy)
		}
		if !strings.Contains(got.Reason, tt.reason) || tt.reason == "" && got.Reason != "" {
			t.Errorf("%s: reason %q, want %q in it", tt.name, got.Reason, tt.reason)
		}
	}
}

func TestClass(t *testing.T) {
	for _, tt := range []struct {
		canary [2]float64
		want   string
	}{{[2]float64{45, 50}, SMT}, {[2]float64{110, 135}, Near}, {[2]float64{500, 540}, Far}, {[2]float64{110, 540}, Moved}, {[2]float64{8e6, 4e6}, Busy}} {
		if got := class(tt.canary); got != tt.want {
			t.Errorf("class of %v = %s, want %s", tt.canary, got, tt.want)
		}
	}
}

// A pair goes on until it has enough quiet sightings of one class, or has failed as often.
func TestSettled(t *testing.T) {
	m := newMade()
	p := &pair{ours: m.Subjects[0], other: m.Subjects[1]}
	add := func(class string, others float64) {
		n := len(m.Runs) / 2
		m.pair(n, class, class, others, 100, 100)
		m.Runs[2*n].Pair, m.Runs[2*n+1].Pair = p.name(), p.name()
	}
	add(Near, 0)
	add(Far, 0)
	add(Near, 0.5)
	add(Moved, 0)
	add(Moved, 0)
	if m.settled(p, 2) {
		t.Error("settled with one quiet near pair and one far pair, want two of one class")
	}
	if add(Near, 0); !m.settled(p, 2) {
		t.Error("not settled with two quiet near pairs")
	}
	for i := range m.Runs {
		m.Runs[i].Class, m.Runs[i].Failed = Moved, "it cannot run"
	}
	if !m.settled(p, 2) {
		t.Error("goes on with what always fails")
	}
}

// Each figure refers to subjects that exist, is a row of its own, and what it divides is asked for when its pair runs.
func TestFiguresAreMeasured(t *testing.T) {
	b := &Bench{Engine: "patch", Self: "rmemrun"}
	subjects := b.ownSubjects()
	for _, p := range peerSpecs() {
		subjects = append(subjects, &Subject{Name: p.name, Class: p.class, items: itemsOf(p.items)})
	}
	b.subjects = map[string]*Subject{}
	for _, s := range subjects {
		if b.subjects[s.Name] != nil {
			t.Errorf("two subjects are called %s", s.Name)
		}
		b.subjects[s.Name] = s
	}
	b.Sweep = true
	figures := b.figures(subjects)
	for i, f := range figures {
		if b.subjects[f.Ours.Subject] == nil || f.Other != nil && b.subjects[f.Other.Subject] == nil {
			t.Errorf("%s: no subject %v or %v", f.Name, f.Ours, f.Other)
		}
		if f.Group == "" || f.Name == "" || (f.Other != nil) != (f.Relation == Ratio || f.Relation == Difference) {
			t.Errorf("%+v", f)
		}
		for _, g := range figures[:i] {
			if sameFigure(f, g) {
				t.Errorf("%s is there twice", f.Name)
			}
		}
	}
	asked := func(p Probe) bool {
		return slices.ContainsFunc(b.pairs(figures), func(pair *pair) bool {
			return pair.ours.Name == p.Subject && slices.Contains(pair.items[0], key(p.Item, p.Bytes)) ||
				pair.other != nil && pair.other.Name == p.Subject && slices.Contains(pair.items[1], key(p.Item, p.Bytes))
		})
	}
	for _, f := range figures[:40] {
		if !asked(f.Ours) || f.Other != nil && !asked(*f.Other) {
			t.Errorf("%s: %v or %v is not asked for", f.Name, f.Ours, f.Other)
		}
	}
	// A peer's items fit into one call of its program.
	for _, p := range b.pairs(figures) {
		for _, items := range p.items {
			if len(items) > 64 {
				t.Errorf("%s: %d items", p.name(), len(items))
			}
		}
	}
	b.Only = []string{"no figure is called so"}
	if got := b.figures(subjects); len(got) != 0 {
		t.Errorf("--only of nothing leaves %d figures", len(got))
	}
}

func plainPaint(v Verdict) string { return string(v) }

func TestTable(t *testing.T) {
	m := newMade()
	for round := range 5 {
		m.pair(round, Near, Near, 0, 140, 100)
	}
	m.Subjects = append(m.Subjects,
		&Subject{Name: "UCX", Class: ClassUser, Missing: "there is no ucx_perftest", Install: "apt install ucx-utils"},
		&Subject{Name: "MPICH", Class: ClassUser})
	stalling := Figure{Group: GroupUser, Name: "40-byte write, acknowledged, target asleep", Ours: Probe{Ours, "put", 40}, Other: &Probe{"MPICH", "put-asleep", 40}, Relation: Ratio, Trips: 1}
	for round := range 5 {
		m.Runs = append(m.Runs,
			Run{Pair: "a | c", Round: round, Subject: Ours, Class: Near, Items: []Item{item1("put", 40, 140)}},
			Run{Pair: "a | c", Round: round, Order: 1, Subject: "MPICH", Class: Near, Items: []Item{item1("put-asleep", 40, 430e6)}})
	}
	oneWay := putFigure
	oneWay.Name, oneWay.Trips, oneWay.Limit = "one way", 2, 1
	absent := putFigure
	absent.Name, absent.Other = "beside a peer", &Probe{"UCX", "put", 40}
	for _, f := range []Figure{putFigure, oneWay, absent, stalling} {
		m.Results = append(m.Results, m.judge(f, m.subjects()))
	}
	var out bytes.Buffer
	if err := m.Table(&out, plainPaint); err != nil {
		t.Fatal(err)
	}
	const want = `Engine patch; initiator on CPU 0, target on CPU 1; 10 ms an item; load 0.10 to 0.20; 3 s.
Runs by where the CPUs were: 20 near.
A ratio is the median over pairs of runs of one class, one behind the other; in brackets the least and the greatest.

Figures and their limits
write          140 ns   shared memory 100 ns   1.40 (1.40–1.40)  ≤ 1.50  5 near  pass
one way        70.0 ns  shared memory 50.0 ns  1.40 (1.40–1.40)  ≤ 1.00  5 near  fail
beside a peer           UCX                                      ≤ 1.50          missing  there is no ucx_perftest

Peers, user-defined buffers: malloc'd or static memory, as our segments are
40-byte write, acknowledged, target asleep  140 ns  MPICH 430 ms stalls  <0.001 (<0.001–<0.001)    5 near  -

Peers that are missing, and what installs them on Debian
apt install ucx-utils: there is no ucx_perftest; needed by UCX

Limits: 1 pass, 1 fail, 1 missing.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if !m.Failed() {
		t.Error("a limit is not kept, and the record does not say so")
	}
}

func TestDurations(t *testing.T) {
	for ns, want := range map[float64]string{0.717: "0.72 ns", 4.05: "4.05 ns", 118: "118 ns", 999.4: "999 ns", 999.6: "1.00 µs", 1240: "1.24 µs", 67400: "67.4 µs", 999.96e3: "1.00 ms", 15e6: "15.0 ms", 432e6: "432 ms", 2e9: "2.00 s"} {
		if got := duration(ns); got != want {
			t.Errorf("duration(%v) = %q, want %q", ns, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	record := func(ours float64, class string, n int) *Record {
		m := newMade()
		for round := range n {
			m.pair(round, class, class, 0, ours+float64(round), 100)
		}
		m.Results = []Result{m.judge(putFigure, m.subjects())}
		return m.Record
	}
	for _, tt := range []struct {
		name string
		a, b *Record
		want string
	}{
		{"below all", record(140, Near, 5), record(130, Near, 5), Better},
		{"above all", record(140, Near, 5), record(150, Near, 5), Worse},
		{"overlapping", record(140, Near, 5), record(144, Near, 5), Same},
		{"overlapping, its median below all", record(144, Near, 5), record(141, Near, 5), Same},
		{"overlapping, its median above all", record(140, Near, 5), record(143, Near, 5), Same},
		{"other places", record(140, Near, 5), record(700, Far, 5), Elsewhere},
		{"too few", record(140, Near, 5), record(700, Near, 4), Few},
	} {
		got := Compare(tt.a, tt.b)
		if len(got) != 1 || got[0].Kind != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
	// A limit that changed does not make it another figure; another name does.
	a, b := record(140, Near, 5), record(130, Near, 5)
	b.Results[0].Limit = 1
	if got := Compare(a, b); len(got) != 1 {
		t.Errorf("with another limit: %d changes, want 1", len(got))
	}
	var out bytes.Buffer
	b.Settings.Milliseconds = 20
	if err := WriteChanges(&out, a, b); err != nil || !strings.Contains(out.String(), "The settings differ") || !strings.Contains(out.String(), "0.93    better") {
		t.Errorf("%v\n%s", err, out.String())
	}
	b.Results[0].Name = "another"
	if got := Compare(a, b); len(got) != 0 {
		t.Errorf("of other names: %+v", got)
	}
}

// A record is written and read without loss, and what is none is refused.
func TestRecordFile(t *testing.T) {
	m := newMade()
	m.pair(0, Near, Near, 0, 140, 100)
	m.Results = []Result{m.judge(putFigure, m.subjects())}
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text.String())
	got, err := Read(path)
	if err != nil || len(got.Runs) != 2 || got.Results[0].Value != m.Results[0].Value || got.Runs[0].Items[0].P50 != 140 {
		t.Fatalf("%+v, %v", got, err)
	}
	for want, text := range map[string]string{
		"is not a record of rmemrun bench": "{",
		"is not a record of version 2":     `{"version":1,"results":[]}`,
		"and 0 runs":                       `{"version":2}`,
	} {
		write(text)
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
}

// The charts have what was measured.
func TestPlots(t *testing.T) {
	m := newMade()
	m.Subjects = append(m.Subjects, &Subject{Name: "MPICH", Class: ClassUser})
	add := func(group string, ours Probe, oursNS float64, other *Probe, otherNS float64) {
		m.Results = append(m.Results, Result{Figure: Figure{Group: group, Ours: ours, Other: other}, Pairs: 5, OursNS: oursNS, OtherNS: otherNS})
	}
	if got := m.Plots(); len(got) != 0 {
		t.Errorf("charts of nothing: %v", got)
	}
	add(GroupLimits, Probe{Ours, "put", 40}, 140, &Probe{FloorMemory, "pingpong", 8}, 100)
	for _, size := range []int{8, 1 << 20} {
		add(GroupSweep, Probe{Ours, "put", size}, float64(size)*10, &Probe{"MPICH", "put", size}, float64(size)*20)
	}
	for _, n := range []int{2, 16} {
		add(GroupSweep, Probe{oursNodes(n), "put", 40}, 100*float64(n), nil, 0)
	}
	charts := m.Plots()
	var names []string
	for name := range charts {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"bench-bandwidth-user", "bench-ladder", "bench-latency-user", "bench-nodes"}, names); diff != "" {
		t.Errorf("charts (-want +got):\n%s", diff)
	}
	latency, bandwidth := charts["bench-latency-user"], charts["bench-bandwidth-user"]
	if len(latency.Lines) != 2 || latency.Lines[1].Name != "MPICH" || latency.Lines[1].Points[0].Y != 0.16 || bandwidth.Lines[0].Points[1].Y != 0.1 {
		t.Errorf("latency %+v, bandwidth %+v", latency.Lines, bandwidth.Lines)
	}
	dir := t.TempDir()
	if _, err := m.WritePlots(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bench-nodes.svg")); err != nil {
		t.Error(err)
	}
}
