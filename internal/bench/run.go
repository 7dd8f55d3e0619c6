package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A Bench is what to measure, and how.
type Bench struct {
	Self    string   // the program that is rmemrun
	CC      string   // a C compiler
	Engine  string   // that runs the guests
	CPUs    [2]int   // of the initiator and of the target
	Rounds  int      // pairs of one class that are wanted
	MS      int      // milliseconds that each item is given in each run
	Peers   bool     // the peers, too
	Sweep   bool     // all sizes and numbers of nodes, for plots
	Only    []string // figures with one of these in group, name or subjects; empty: all
	Machine json.RawMessage
	Log     hclog.Logger
	// Progress is told what is under way.
	Progress func(string)

	dir      string
	subjects map[string]*Subject
}

// A pair is two subjects that run one behind the other, or one alone.
type pair struct {
	ours, other *Subject // other may be nil
	items       [2][]string
}

func (p *pair) name() string {
	if p.other == nil {
		return p.ours.Name
	}
	return p.ours.Name + " | " + p.other.Name
}

// moreRounds is how many rounds there are at most for each that is wanted, if enough for a verdict are: as long as a pair has not as
// many quiet ones of one class as that.
const moreRounds = 3

// Run measures.
func (b *Bench) Run(ctx context.Context) (*Record, error) {
	dir, err := os.MkdirTemp("", "rmemrun-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the programs: %w", err)
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	b.Progress("compiling")
	if err := b.compile(ctx); err != nil {
		return nil, err
	}
	record := &Record{
		Version: Version, Began: time.Now().UTC(), Machine: b.Machine, Load: [2]string{loadAverage()},
		Settings: Settings{Engine: b.Engine, CPUs: b.CPUs, Rounds: b.Rounds, Milliseconds: b.MS, Peers: b.Peers, Sweep: b.Sweep},
		Subjects: b.ownSubjects(),
	}
	if b.Peers {
		record.Subjects = append(record.Subjects, b.peerSubjects(ctx)...)
	}
	b.subjects = map[string]*Subject{}
	for _, s := range record.Subjects {
		b.subjects[s.Name] = s
	}
	figures := b.figures(record.Subjects)
	if len(figures) == 0 {
		return nil, fmt.Errorf("no figure has one of %q in its name", b.Only)
	}
	pairs := b.pairs(figures)
	if err := b.rounds(ctx, record, pairs); err != nil {
		return nil, err
	}
	for _, f := range figures {
		record.Results = append(record.Results, record.judge(f, b.subjects))
	}
	record.Subjects = slices.DeleteFunc(record.Subjects, func(s *Subject) bool { return s.Command == "" && s.Missing == "" })
	record.Took = time.Since(record.Began).Seconds()
	record.Load[1] = loadAverage()
	return record, nil
}

// loadAverage is the first of the kernel's, "" if it does not say.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// figures are those that are asked for.
func (b *Bench) figures(subjects []*Subject) []Figure {
	all := judged()
	for _, s := range subjects {
		all = append(all, peerFigures(s)...)
	}
	all = append(all, floorFigures()...)
	if b.Sweep {
		all = append(all, sweepFigures(subjects)...)
	}
	return slices.DeleteFunc(all, func(f Figure) bool {
		text := f.Group + "\n" + f.Name + "\n" + f.Ours.String()
		if f.Other != nil {
			text += "\n" + f.Other.String()
		}
		return len(b.Only) > 0 && !slices.ContainsFunc(b.Only, func(word string) bool { return strings.Contains(text, word) })
	})
}

// pairs are what has to run for the figures, with the items of each.
func (b *Bench) pairs(figures []Figure) []*pair {
	var pairs []*pair
	for _, f := range figures {
		ours := b.subjects[f.Ours.Subject]
		var other *Subject
		if f.Other != nil {
			if other = b.subjects[f.Other.Subject]; other == nil || other.Missing != "" {
				continue
			}
		}
		i := slices.IndexFunc(pairs, func(p *pair) bool { return p.ours == ours && (p.other == other || other == nil) })
		if i < 0 {
			i = len(pairs)
			pairs = append(pairs, &pair{ours: ours, other: other})
		}
		add := func(side int, p Probe) {
			if k := key(p.Item, p.Bytes); !slices.Contains(pairs[i].items[side], k) {
				pairs[i].items[side] = append(pairs[i].items[side], k)
			}
		}
		add(0, f.Ours)
		if f.Other != nil {
			add(1, *f.Other)
		}
	}
	return pairs
}

// rounds runs the pairs in turn, until each has as many of one class as are wanted, or has been tried often enough.
func (b *Bench) rounds(ctx context.Context, record *Record, pairs []*pair) error {
	most := b.Rounds
	if most >= fewest {
		most *= moreRounds
	}
	for round := range most {
		for i, p := range pairs {
			if round >= b.Rounds && record.settled(p, b.Rounds) {
				continue
			}
			b.Progress(fmt.Sprintf("round %d of %d, pair %d of %d: %s", round+1, max(b.Rounds, round+1), i+1, len(pairs), p.name()))
			if err := b.runPair(ctx, record, p, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// runPair runs both of a pair, who is first changing from round to round, with canaries around.
func (b *Bench) runPair(ctx context.Context, record *Record, p *pair, round int) error {
	sides := []int{0, 1}
	if p.other == nil {
		sides = sides[:1]
	} else if round%2 == 1 {
		sides = []int{1, 0}
	}
	before, err := b.canary(ctx)
	if err != nil {
		return err
	}
	for order, side := range sides {
		s := []*Subject{p.ours, p.other}[side]
		l := &launcher{dir: b.dir, cpus: b.CPUs, ms: b.MS}
		used := newUsage()
		out, err := s.run(ctx, l, p.items[side])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.Command == "" && len(l.command) > 0 {
			s.Command = strings.ReplaceAll(strings.Join(l.command, " & "), b.dir+"/", "")
		}
		run := Run{Pair: p.name(), Round: round, Order: order, Subject: s.Name, Others: used.others()}
		var version string
		if err == nil {
			run.Items, version, err = parseLines(out)
		}
		if version != "" {
			s.Version = version
		}
		if err != nil {
			run.Failed = err.Error()
			b.Log.Warn("a program of the bench failed", "subject", s.Name, "error", err)
		}
		after, err := b.canary(ctx)
		if err != nil {
			return err
		}
		run.Canary = [2]float64{before, after}
		run.Class = class(run.Canary)
		if s.oneCPU || b.CPUs[0] == b.CPUs[1] {
			run.Class = OneCPU
		}
		record.Runs = append(record.Runs, run)
		before = after
	}
	return nil
}

// canaryMS is how long a canary runs.
const canaryMS = 3

// canary is the round trip of a word between the two CPUs, in ns.
func (b *Bench) canary(ctx context.Context) (float64, error) {
	l := &launcher{dir: b.dir, cpus: b.CPUs, ms: canaryMS}
	out, err := plain("shm")(ctx, l, []string{"pingpong:8"})
	if err != nil {
		return 0, fmt.Errorf("measure where the CPUs are: %w", err)
	}
	items, _, err := parseLines(out)
	if err == nil && (len(items) != 1 || items[0].Batches == 0) {
		err = errors.New("it printed no figure")
	}
	if err != nil {
		return 0, fmt.Errorf("measure where the CPUs are: %w", err)
	}
	return items[0].P50, nil
}

// Classes of runs, by the canaries around them.
const (
	SMT    = "smt"     // two threads of one core, presumably
	Near   = "near"    // cores that share a cache
	Far    = "far"     // cores that do not
	Busy   = "busy"    // the CPUs did something else
	Moved  = "moved"   // the canaries differ
	OneCPU = "one CPU" // there is nothing between CPUs
)

// class says where two CPUs are by the round trips before and after a run.
func class(canary [2]float64) string {
	of := func(ns float64) string {
		switch {
		case ns < 80:
			return SMT
		case ns < 300:
			return Near
		case ns < 2000:
			return Far
		}
		return Busy
	}
	before, after := of(canary[0]), of(canary[1])
	if before != after {
		return Moved
	}
	return before
}
