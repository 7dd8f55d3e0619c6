package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

// events are a short run of two nodes: a write of one cell and its answer, a cas
// that is refused, a 4-byte fadd, a wait that a signal interrupts, another in which its thread dies.
func events() []*runtime.Event {
	ms := time.Millisecond
	write := runtime.Event{
		Node: 0, PID: 100, TID: 100, Tag: 1, PC: 0x401000, Code: []byte{0x0f, 0xb9},
		Inst: decode.Instruction{Arch: decode.ArchAMD64, Op: decode.Write, Flags: decode.FlagNotify, Width: 1},
		V:    0x7ffc0000, A: 64, P: 3, C: 40,
	}
	cas := runtime.Event{
		Node: 1, PID: 200, TID: 201, Tag: 2, PC: 0x402000, Code: []byte{0x0f, 0xb9},
		Inst: decode.Instruction{Arch: decode.ArchAMD64, Op: decode.CAS, Width: 8},
		V:    1 << 63, A: 8, P: 4, D: 5,
	}
	fadd := runtime.Event{
		Node: 1, PID: 200, TID: 200, Tag: 3, PC: 0x403000, Code: []byte{0x0f, 0xb9},
		Inst: decode.Instruction{Arch: decode.ArchAMD64, Op: decode.FAdd, Width: 4},
		V:    0xffffffff00000002, A: 12, P: 4,
	}
	wait := runtime.Event{
		Node: 1, PID: 200, TID: 200, Tag: 4, PC: 0x404000, Code: []byte{0x0f, 0xb9},
		Inst: decode.Instruction{Arch: decode.ArchAMD64, Op: decode.Wait, Width: 1},
		V:    0x7ffd0000, A: 0xffffffff, P: 0,
	}
	again := wait
	again.Tag = 5
	at := func(e runtime.Event, kind runtime.Kind, t time.Duration) *runtime.Event {
		e.Time, e.Kind = t, kind
		return &e
	}
	finished := func(e runtime.Event, t, took time.Duration, result int64, old uint64) *runtime.Event {
		e.Time, e.Kind, e.Took, e.Result, e.Old = t, runtime.Resume, took, result, old
		return &e
	}
	network := func(node int, kind rmem.Kind, tag uint64, id rmem.OpID) *runtime.Event {
		return &runtime.Event{Kind: runtime.Network, Node: node, Tag: tag, Net: &rmem.Event{Kind: kind, Node: node, Tag: tag, ID: id}}
	}
	first, other := rmem.OpID{Node: 0, VCI: 40, Seq: 7}, rmem.OpID{Node: 0, VCI: 40, Seq: 8}
	return []*runtime.Event{
		{Kind: runtime.Start, Node: 0, Path: "/bin/a"},
		at(write, runtime.Trap, ms), at(write, runtime.Decode, ms),
		network(0, rmem.Sent, 1, first), network(1, rmem.Received, 0, first), network(1, rmem.Deposited, 0, first),
		network(1, rmem.Sent, 0, first), network(0, rmem.Received, 1, first), network(0, rmem.Completed, 1, first),
		network(1, rmem.Sent, 0, first), // late: no instruction's any more
		network(1, rmem.Sent, 0, other), // of nobody here
		finished(write, 2*ms, 18100*time.Nanosecond, 0, 0),
		at(cas, runtime.Decode, 3*ms),
		finished(cas, 3*ms, 950*time.Nanosecond, int64(rmem.EALIGN), 0),
		at(fadd, runtime.Decode, 4*ms),
		finished(fadd, 4*ms, 2*ms, 0, 40),
		at(wait, runtime.Decode, 5*ms),
		at(wait, runtime.Restart, 6*ms),
		at(again, runtime.Decode, 7*ms),
		{Kind: runtime.Exit, Node: 1, Status: 137},
		{Kind: runtime.Exit, Node: 0, Status: 0},
	}
}

func TestTrace(t *testing.T) {
	const (
		write = "[0 100] write.notify(desc=3, offset=64, source=0x7ffc0000, length=40) = 0 <18.1us, 2 cells>\n"
		cas   = "[1 200/201] cas64(desc=4, offset=8, expected=0x5, desired=0x8000000000000000) = -4 EALIGN (not aligned to the word, or not a multiple of it) <950ns>\n"
		fadd  = "[1 200] fadd32(desc=4, offset=12, addend=0x2) = 0, old=0x28 <2.00ms>\n"
		wait  = "[1 200] wait(seg=0, event=0x7ffd0000, timeout_ms=-1) = ? (interrupted by a signal; runs again)\n"
		died  = "[1 200] wait(seg=0, event=0x7ffd0000, timeout_ms=-1) = ? (died in it)\n"
		exit1 = "[1] +++ exited with status 137 +++\n"
		exit0 = "[0] +++ exited with status 0 +++\n"
	)
	for text, want := range map[string]string{
		"all":            write + cas + fadd + wait + died + exit1 + exit0,
		"write":          write + exit1 + exit0,
		"write,wait":     write + wait + died + exit1 + exit0,
		"!write,wait":    cas + fadd + exit1 + exit0,
		"error":          cas + exit1 + exit0,
		"!error":         write + fadd + exit1 + exit0,
		"node=0":         write + exit0,
		"node=0,node=1":  write + cas + fadd + wait + died + exit1 + exit0,
		"!node=0":        cas + fadd + wait + died + exit1,
		"node=1,error":   cas + exit1,
		"write,node=1":   exit1,
		"cas,fadd,error": cas + exit1 + exit0,
	} {
		show, err := parseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		v := newTrace(&lineWriter{w: &out}, show, false)
		for _, e := range events() {
			v.observe(e)
		}
		if err := v.close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("--trace=%s: -want +got\n%s", text, diff)
		}
		if len(v.begun) != 0 || len(v.cells.count) != 0 {
			t.Errorf("--trace=%s: left behind: %v, %v", text, v.begun, v.cells.count)
		}
	}
}

func TestTraceColor(t *testing.T) {
	var out bytes.Buffer
	v := newTrace(&lineWriter{w: &out}, filter{failed: true}, true)
	for _, e := range events() {
		v.observe(e)
	}
	first, _, _ := strings.Cut(out.String(), "\n")
	const want = "\x1b[2m[1 200/201]\x1b[0m cas64(desc=4, offset=8, expected=0x5, desired=0x8000000000000000) = " +
		"\x1b[31m-4 EALIGN (not aligned to the word, or not a multiple of it)\x1b[0m \x1b[2m<950ns>\x1b[0m"
	if first != want {
		t.Errorf("got %q, want %q", first, want)
	}
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	v := newSummary(&lineWriter{w: &out}, filter{})
	for range 100 {
		for _, e := range events() {
			v.observe(e)
		}
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
	// The histogram keeps three digits: it may name a little more than was recorded.
	const want = `operation      calls  errors       total        mean         p50         p99     cells
fadd             100       0    200.00ms      2.00ms      2.00ms      2.00ms         0
write            100       0      1.81ms      18.1us      18.1us      18.1us       200
cas              100     100      95.0us       950ns       950ns       950ns         0
all              300     100    201.91ms     673.0us      18.1us      2.00ms       200
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestSummaryLong: a wait that is longer than the histogram reaches counts as the longest.
func TestSummaryLong(t *testing.T) {
	v := newSummary(&lineWriter{w: new(bytes.Buffer)}, filter{})
	v.observe(&runtime.Event{Kind: runtime.Resume, Inst: decode.Instruction{Op: decode.Wait}, Took: 3 * longest})
	c := v.byOp[decode.Wait]
	if c.total != 3*longest || c.took.TotalCount() != 1 || c.quantile(50) < longest {
		t.Errorf("total %v, %d recorded, p50 %v", c.total, c.took.TotalCount(), c.quantile(50))
	}
}

func TestNDJSON(t *testing.T) {
	var out bytes.Buffer
	programs := []runtime.Program{{Path: "a", Args: []string{"-x"}, Nodes: 1}, {Path: "b", Nodes: 1}}
	v := newNDJSON(&lineWriter{w: &out}, filter{}, programs, true, true)
	for _, e := range events() {
		v.observe(e)
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
	const want = `{"type":"rmemrun","version":1,"programs":[{"path":"a","args":["-x"],"nodes":1},{"path":"b","args":[],"nodes":1}]}
{"type":"start","time_ns":0,"node":0,"path":"/bin/a"}
{"type":"instruction","time_ns":2000000,"node":0,"pid":100,"tid":100,"tag":1,"op":"write","notify":true,"width":1,"pc":"0x401000","code":"0fb9","args":{"desc":3,"length":40,"offset":64,"source":"0x7ffc0000"},"result":0,"took_ns":18100,"cells":2}
{"type":"instruction","time_ns":3000000,"node":1,"pid":200,"tid":201,"tag":2,"op":"cas","width":8,"pc":"0x402000","code":"0fb9","args":{"desc":4,"desired":"0x8000000000000000","expected":"0x5","offset":8},"result":-4,"error":"EALIGN","took_ns":950,"cells":0}
{"type":"instruction","time_ns":4000000,"node":1,"pid":200,"tid":200,"tag":3,"op":"fadd","width":4,"pc":"0x403000","code":"0fb9","args":{"addend":"0x2","desc":4,"offset":12},"result":0,"old":"0x28","took_ns":2000000,"cells":0}
{"type":"exit","time_ns":0,"node":1,"status":137}
{"type":"exit","time_ns":0,"node":0,"status":0}
{"type":"summary","op":"fadd","calls":1,"errors":0,"total_ns":2000000,"mean_ns":2000000,"p50_ns":2000895,"p99_ns":2000895,"max_ns":2000895,"cells":0}
{"type":"summary","op":"write","calls":1,"errors":0,"total_ns":18100,"mean_ns":18100,"p50_ns":18111,"p99_ns":18111,"max_ns":18111,"cells":2}
{"type":"summary","op":"cas","calls":1,"errors":1,"total_ns":950,"mean_ns":950,"p50_ns":950,"p99_ns":950,"max_ns":950,"cells":0}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for n, line := range strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n") {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object["type"] == nil {
			t.Errorf("line %d: %v: %s", n+1, err, line)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, text := range []string{"nothing", "write,", ",", "node=", "node=x", "node=-1", "!", "!!write", "write,!read", "WRITE"} {
		f, err := parseFilter(text)
		var s *statusError
		if !errors.As(err, &s) || s.status != statusUsage {
			t.Errorf("--trace=%s: %+v, %v", text, f, err)
		}
	}
}

// failing is a full disk.
type failing struct{ writes int }

var errFull = errors.New("disk full")

func (f *failing) Write([]byte) (int, error) {
	f.writes++
	return 0, errFull
}

func TestViewsReportErrors(t *testing.T) {
	for name, make := range map[string]func(*lineWriter) view{
		"trace":   func(w *lineWriter) view { return newTrace(w, filter{}, false) },
		"summary": func(w *lineWriter) view { return newSummary(w, filter{}) },
		"ndjson":  func(w *lineWriter) view { return newNDJSON(w, filter{}, nil, true, true) },
	} {
		disk := &failing{}
		v := make(&lineWriter{w: disk})
		for _, e := range events() {
			v.observe(e)
		}
		if err := v.close(); !errors.Is(err, errFull) {
			t.Errorf("%s: %v, want %v", name, err, errFull)
		}
		if disk.writes != 1 {
			t.Errorf("%s: %d writes, want none after the first has failed", name, disk.writes)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ns", 999: "999ns", 1000: "1.0us", 18149: "18.1us", 2500 * time.Microsecond: "2.50ms", 61 * time.Second: "61.000s",
	} {
		if got := format(d); got != want {
			t.Errorf("%d ns: %q, want %q", d, got, want)
		}
	}
}

func TestTraceShowsNames(t *testing.T) {
	e := &runtime.Event{
		PID: 7, TID: 7, Name: "a \"b\"\x00", P: 0x1000, C: 6, A: 2, D: 2, V: 0xffffffff,
		Inst: decode.Instruction{Arch: decode.ArchAMD64, Op: decode.Import, Width: 1},
	}
	if got, want := call(e), `7 import(name="a \"b\"\x00", node=2, rights=WRITE, timeout_ms=-1)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	e.Name = "" // it could not be read
	if got, want := call(e), `7 import(name=0x1000, name_length=6, node=2, rights=WRITE, timeout_ms=-1)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// linkEvents are what happens to a link that fails and comes back, and what is of cells and circuits.
func linkEvents() []*runtime.Event {
	event := func(l runtime.LinkEvent) *runtime.Event {
		l.Link, l.From, l.To = "trunk", "west", "east"
		return &runtime.Event{Kind: runtime.OnLink, Node: -1, Time: time.Second, Link: &l}
	}
	return []*runtime.Event{
		event(runtime.LinkEvent{What: runtime.LinkFailed, Defect: runtime.NoContinuity}),
		event(runtime.LinkEvent{What: runtime.LinkAlarm}),
		event(runtime.LinkEvent{What: runtime.LinkDropped}),
		event(runtime.LinkEvent{What: runtime.LinkRerouted, Moved: 2, Stranded: 1}),
		event(runtime.LinkEvent{What: runtime.LinkRepaired}),
	}
}

// Failures of links are in the trace, whatever its filter.
func TestLinksAreTraced(t *testing.T) {
	show, err := parseFilter("node=7,error")
	if err != nil {
		t.Fatal(err)
	}
	var text, lines bytes.Buffer
	views := []view{newTrace(&lineWriter{w: &text}, show, false), newNDJSON(&lineWriter{w: &lines}, show, nil, true, false)}
	for _, e := range linkEvents() {
		for _, v := range views {
			v.observe(e)
		}
	}
	if diff := cmp.Diff(`[net] link trunk failed: east receives nothing from west (loss of continuity)
[net] because of link trunk 2 circuits were led on another way; 1 has none
[net] link trunk repaired: east receives from west again
`, text.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(`{"type":"rmemrun","version":1}
{"type":"link","time_ns":1000000000,"what":"failed","link":"trunk","from":"west","to":"east","defect":"loss of continuity"}
{"type":"link","time_ns":1000000000,"what":"rerouted","link":"trunk","from":"west","to":"east","moved":2,"stranded":1}
{"type":"link","time_ns":1000000000,"what":"repaired","link":"trunk","from":"west","to":"east"}
`, lines.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
