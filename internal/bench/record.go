package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Version is that of the record's form. Within a version names keep their meaning; members may be added.
const Version = 2

// A Record is one run of the bench. docs/commands/bench.md describes its JSON form.
type Record struct {
	Version  int             `json:"version"`
	Began    time.Time       `json:"began"`
	Took     float64         `json:"took_seconds"`
	Machine  json.RawMessage `json:"machine"` // the command's: CPU, kernel, versions
	Load     [2]string       `json:"load_average"`
	Settings Settings        `json:"settings"`
	Subjects []*Subject      `json:"subjects"`
	Runs     []Run           `json:"runs"`
	Results  []Result        `json:"figures"`
}

// Settings are how was measured.
type Settings struct {
	Engine string `json:"engine"`
	// CPUs are those of the initiator and of the target.
	CPUs   [2]int `json:"cpus"`
	Rounds int    `json:"rounds"`
	// Milliseconds that each item is given in each run.
	Milliseconds int  `json:"milliseconds_per_item"`
	Peers        bool `json:"peers"`
	Sweep        bool `json:"sweep"`
}

// A Run is one run of one subject.
type Run struct {
	Pair    string `json:"pair"`
	Round   int    `json:"round"`
	Order   int    `json:"order"` // within the pair
	Subject string `json:"subject"`
	// Class is where the two CPUs were, by Canary: the round trip of a word between them, in ns, before and after the run.
	Class  string     `json:"class"`
	Canary [2]float64 `json:"canary_ns"`
	// Others is the share of all CPUs' time that neither the run nor the bench used.
	Others float64 `json:"others"`
	Items  []Item  `json:"items,omitempty"`
	Failed string  `json:"failed,omitempty"`
}

// A Result is a figure with what was measured.
type Result struct {
	Figure
	Class    string  `json:"class,omitempty"`
	Pairs    int     `json:"pairs"`
	Noisy    bool    `json:"noisy,omitempty"`   // too few pairs were quiet: all are taken
	OursNS   float64 `json:"ours_ns,omitempty"` // median over the pairs
	OtherNS  float64 `json:"other_ns,omitempty"`
	Value    float64 `json:"value,omitempty"` // what the limit is for: a median
	Low      float64 `json:"low,omitempty"`   // of the values of the pairs
	High     float64 `json:"high,omitempty"`
	Verdict  Verdict `json:"verdict"`
	Reason   string  `json:"reason,omitempty"` // why there is no value, or no verdict
	OtherMax float64 `json:"other_max_ns,omitempty"`
}

// A Verdict says whether a figure keeps its limit.
type Verdict string

// The verdicts.
const (
	Pass      Verdict = "pass"
	Fail      Verdict = "fail"
	Unsettled Verdict = "unsettled" // too few pairs of one class
	Unjudged  Verdict = "-"         // there is no limit, or it is another engine's
	Missing   Verdict = "missing"   // there is nothing to judge
)

// Write writes the record as JSON.
func (r *Record) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Read reads a record's file.
func Read(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s is not a record of rmemrun bench --all: %w", path, err)
	}
	if r.Version != Version || len(r.Runs) == 0 {
		return nil, fmt.Errorf("%s is not a record of version %d of rmemrun bench --all (it has version %d and %d runs); write one with --all -o FILE", path, Version, r.Version, len(r.Runs))
	}
	return &r, nil
}
