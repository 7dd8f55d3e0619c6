package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"rmemrun/internal/bench"
)

// benchAllFlags are the flags of rmemrun bench --all.
type benchAllFlags struct {
	all, peers, sweep bool
	only              []string
	ms                int
	output            string
}

// defaultRounds are those of bench --all unless --rounds is given: a verdict needs as many.
const defaultRounds = 5

// benchAll measures the figures that have limits, and the peers if they are wanted.
func (a *app) benchAll(f benchFlags, all benchAllFlags, roundsGiven bool) error {
	cpus, err := twoCPUs(f.cpus)
	if err != nil {
		return usage("%w", err)
	}
	if f.sizes != "" {
		return usage("--size is for one operation; bench --all has sizes of its own, and --sweep measures more")
	}
	if f.rounds < 1 || all.ms < 1 {
		return usage("--rounds %d, --time %d: both must be at least 1", f.rounds, all.ms)
	}
	if f.format != "text" && f.format != "json" {
		return usage("--format=%s: with --all it is text or json", f.format)
	}
	cc, err := exec.LookPath(compiler(os.Getenv("CC"))[0])
	if err != nil {
		return failed("bench --all compiles its guests and floors, and there is no C compiler (%w); install one (Debian: apt install gcc libc6-dev) or set CC", err)
	}
	machine, err := json.Marshal(thisMachine(nil, firstLine(cc, "--version")))
	if err != nil {
		return failed("describe the machine: %w", err)
	}
	rounds := f.rounds
	if !roundsGiven {
		rounds = defaultRounds
	}
	progress := newProgress(a.stderr, "", 0)
	// All that the bench has started ends with it, and its directory is removed.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	b := &bench.Bench{
		Self: fmt.Sprintf("/proc/%d/exe", os.Getpid()), CC: cc, Engine: f.engine, CPUs: cpus, Rounds: rounds, MS: all.ms,
		Peers: all.peers, Sweep: all.sweep, Only: all.only, Machine: machine, Log: a.log(), Progress: progress.say,
	}
	record, err := b.Run(ctx)
	progress.end()
	if ctx.Err() != nil {
		return failed("bench: interrupted")
	}
	if err != nil {
		return failed("bench: %w", err)
	}
	if all.output != "" {
		if err := writeRecord(record, all.output); err != nil {
			return failed("write what was measured: %w", err)
		}
	}
	if f.format == "json" {
		err = record.Write(a.stdout)
	} else {
		err = a.printRecord(record)
	}
	if err != nil {
		return failed("print what was measured: %w", err)
	}
	if record.Failed() {
		return &statusError{status: statusFailed}
	}
	return nil
}

// printRecord prints the table.
func (a *app) printRecord(r *bench.Record) error {
	var m benchMachine
	if json.Unmarshal(r.Machine, &m) == nil {
		if _, err := fmt.Fprintf(a.stdout, "%s (%d CPUs), %s, rmemrun %s, %s.\n", m.CPU, m.CPUs, m.Kernel, m.Version, m.Compiler); err != nil {
			return err
		}
	}
	return r.Table(a.stdout, verdictPaint(paint(a.colored(a.stdout))))
}

// verdictPaint colours verdicts, all with as many characters, so that columns stay.
func verdictPaint(p paint) bench.Paint {
	return func(v bench.Verdict) string {
		switch v {
		case bench.Pass:
			return p.green(string(v))
		case bench.Fail:
			return p.red(string(v))
		case bench.Unsettled, bench.Missing:
			return p.sgr("33", string(v))
		}
		return p.sgr("39", string(v))
	}
}

func writeRecord(r *bench.Record, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = r.Write(f)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	return err
}

// twoCPUs are the CPUs of the initiator and of the target: the list's two, or the first two that may be used, or twice the only one.
func twoCPUs(list string) ([2]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return [2]int{}, fmt.Errorf("ask which CPUs may be used: %w", err)
	}
	var cpus []int
	if list == "" || list == "all" {
		for cpu := 0; len(cpus) < 2 && cpu < len(allowed)*64; cpu++ {
			if allowed.IsSet(cpu) {
				cpus = append(cpus, cpu)
			}
		}
		if len(cpus) == 1 {
			cpus = append(cpus, cpus[0])
		}
	} else {
		var err error
		if cpus, err = parseCPUs(list); err != nil {
			return [2]int{}, err
		}
	}
	if len(cpus) != 2 {
		return [2]int{}, fmt.Errorf("--cpus %s: with --all it is two CPUs, of the initiator and of the target, as in 0,1", list)
	}
	for _, cpu := range cpus {
		if !allowed.IsSet(cpu) {
			return [2]int{}, fmt.Errorf("--cpus %s: CPU %d does not exist or may not be used", list, cpu)
		}
	}
	return [2]int{cpus[0], cpus[1]}, nil
}

// say shows on the terminal, if there is one, what is under way.
func (p *benchProgress) say(what string) {
	if p.w != nil {
		const width = 78 // so that the line stays one
		what = strings.TrimSpace("bench: " + what)
		fmt.Fprintf(p.w, "\r\033[K%.*s", width, what)
		_ = p.w.Flush() // only a terminal's view is lost
	}
}
