package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"rmemrun/atm/capture"
	"rmemrun/runtime"
)

// runFlags are the flags of a run.
type runFlags struct {
	nodes   int
	label   bool
	trace   string
	summary bool
	output  string
	json    bool
	capture string
	engine  string
	cpus    int
	poll    string
	network topologyFlags
	join    joinFlags
}

// everything is the value of --trace without a filter.
const everything = "all"

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [-n N] [flags] PROG [ARGS...] [: -n M PROG2 [ARGS...]]...",
		Short: "Run programs on emulated nodes",
		Long: `Run programs on emulated nodes, joined by an emulated ATM network.

Each node runs one program; its remote-memory instructions are trapped and
carried out. -n says how many nodes run PROG; after a colon another program
follows with a number of its own. The nodes of the first program have the lowest
numbers. Flags end at PROG: what follows it is the program's.

A run that is observed (--trace, -c, --json, --capture), or over another network
(--topology, --impair, --loss), carries out every instruction by a trap; rmemrun
bench measures runs that are not.

Standard input goes to node 0; the others read nothing. Standard output and error
are the programs' own. The exit status is that of the first program that fails,
128+N if signal N ended it, which also ends the others; 125 if rmemrun cannot do its work,
126 if PROG cannot be executed, 127 if it is not found, 2 for a wrong call.`,
		Example: `  rmemrun -n 2 ./hello
  rmemrun -n 2 --trace ./hello
  rmemrun -n 8 -c ./jacobi 512
  rmemrun -n 1 ./server : -n 7 ./client`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.runJob(c, &f, args) },
	}
	flags := c.Flags()
	flags.SetInterspersed(false)
	flags.IntVarP(&f.nodes, "nodes", "n", 1, "number of nodes that run PROG")
	flags.BoolVar(&f.label, "label", false, "put \"[node] \" before each line that a program writes")
	flags.StringVar(&f.trace, "trace", "", "print each instruction; `FILTER` is a comma list of operations, error, node=N; a ! before it shows the rest")
	flags.Lookup("trace").NoOptDefVal = everything
	flags.BoolVarP(&f.summary, "summary", "c", false, "print a table of the instructions at the end")
	flags.StringVarP(&f.output, "output", "o", "", "write trace and table to `FILE` instead of standard error")
	flags.BoolVar(&f.json, "json", false, "print trace and table as NDJSON, one object a line; with neither, the trace")
	flags.StringVar(&f.capture, "capture", "", "write the cells as pcapng to `FILE[:link=TYPE]`, - is standard output; TYPE is "+strings.Join(capture.Links(), " or "))
	flags.StringVar(&f.engine, "engine", runtime.Engines()[0], "how instructions are trapped: "+strings.Join(runtime.Engines(), ", "))
	complete(c, "engine", runtime.Engines()...)
	flags.IntVar(&f.cpus, "cpus", 0, "how many processors may be kept busy by waiting; 0 is all that rmemrun may use")
	flags.StringVar(&f.poll, "poll", runtime.PollAuto.String(), "whether the agent of the patch engine waits by looking: auto, while a processor is free for it, yes, no")
	complete(c, "poll", runtime.Polls()...)
	f.network.add(c)
	f.join.add(c)
	return c
}

// runJob runs the programs of a command line.
func (a *app) runJob(c *cobra.Command, f *runFlags, args []string) error {
	if len(args) == 0 {
		return usage("no program to run")
	}
	var topology *runtime.Topology
	var err error
	if f.network.file() {
		if topology, err = f.network.load(0); err != nil {
			return err
		}
		if !c.Flags().Changed("nodes") && !slices.Contains(args, ":") {
			f.nodes = len(topology.Nodes)
		}
	}
	programs, err := parsePrograms(f.nodes, args)
	if err != nil {
		return err
	}
	nodes := 0
	for _, p := range programs {
		nodes += p.Nodes
	}
	switch {
	case topology != nil && len(topology.Nodes) != nodes:
		return usage("%s has %d nodes, and -n asks for %d", f.network.topology, len(topology.Nodes), nodes)
	case topology == nil && f.network.set():
		if topology, err = f.network.load(nodes); err != nil {
			return err
		}
	}
	if !slices.Contains(runtime.Engines(), f.engine) {
		return usage("--engine=%s: it is %s", f.engine, strings.Join(runtime.Engines(), ", "))
	}
	poll, err := runtime.ParsePoll(f.poll)
	if err != nil {
		return usage("--poll=%s: it is %s", f.poll, strings.Join(runtime.Polls(), ", "))
	}
	if f.cpus < 0 {
		return usage("--cpus=%d: it is a number of processors", f.cpus)
	}
	joined, err := f.join.join(a)
	if err != nil {
		return err
	}
	view, done, err := a.view(f, programs)
	if err != nil {
		return err
	}
	stdout := a.stdout
	captures := c.Flags().Changed("capture")
	if captures {
		v, err := a.captureView(f.capture)
		if err != nil {
			return errors.Join(err, done())
		}
		if topology != nil {
			v.links(topology)
		}
		if joined != nil {
			joined.Joined = func(first, total int) error { return v.begin(first, nodes, total) }
		} else if err := v.begin(0, nodes, nodes); err != nil {
			return &statusError{status: runtime.StatusFault, err: errors.Join(err, done(), v.close())}
		}
		if v.stdout {
			stdout = a.stderr
		}
		view, done = v.beside(view, done)
	}
	job := &runtime.Job{
		Programs: programs, Stdin: a.stdin, Stdout: stdout, Stderr: a.stderr,
		Label: f.label, Engine: f.engine, CPUs: f.cpus, Poll: poll, Observer: view, Log: a.log(),
		Topology: topology, LinkCells: captures, Seed: f.network.seed, Join: joined,
	}
	stop := func() {}
	job.Monitor = func(m *runtime.NetworkMonitor) { stop = serveLive(m, job.Log) }
	result, err := job.Run()
	stop()
	errView := done()
	if err != nil {
		return &statusError{status: result.Status, err: withHint(c, f, programs[0].Path, result.Status, err)}
	}
	if result.Instructions == 0 && result.Status == 0 { // a guest that failed has said why, or not got that far
		fmt.Fprintln(a.stderr, `rmemrun: no remote-memory instruction was executed; "rmemrun objdump PROG" shows whether the program has any, "rmemrun cc" builds one that does`)
	}
	if errView != nil {
		fmt.Fprintf(a.stderr, "rmemrun: %v\n", errView)
	}
	if result.Signal == unix.SIGINT {
		dieOfInterrupt()
	}
	switch {
	case result.Status != 0 && (len(programs) > 1 || programs[0].Nodes > 1): // one node speaks for itself
		return &statusError{status: result.Status, err: fmt.Errorf("node %d failed with status %d, which ended the others", result.Node, result.Status)}
	case result.Status != 0:
		return &statusError{status: result.Status}
	case errView != nil:
		return &statusError{status: runtime.StatusFault}
	}
	return nil
}

// dieOfInterrupt ends rmemrun as its guest was ended, unless it ignores that: a shell that runs a list of commands or a loop
// goes on after one that exits, and not after one that ^C has ended.
func dieOfInterrupt() {
	if signal.Ignored(unix.SIGINT) {
		return
	}
	goruntime.LockOSThread()
	signal.Reset(unix.SIGINT)
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGINT) // it does not return
}

// withHint adds to the error of a program that was not found, or that cannot be executed, what may have been meant.
func withHint(c *cobra.Command, f *runFlags, name string, status int, err error) error {
	info, errStat := os.Stat(name)
	isFile := errStat == nil && info.Mode().IsRegular()
	if compile := compilation(name); isFile && compile != "" && (status == runtime.StatusNotFound || status == runtime.StatusNotExecutable) {
		return fmt.Errorf("%w; compile it first: %s", err, compile)
	}
	if status != runtime.StatusNotFound || strings.Contains(name, "/") {
		return err
	}
	// The filter of --trace stands behind =; after a blank it is the name of a program.
	if _, errFilter := parseFilter(name); c.Flags().Changed("trace") && f.trace == everything && errFilter == nil {
		return fmt.Errorf("%w; was --trace=%s meant?", err, name)
	}
	if len(name) < 3 { // similar to too much
		return err
	}
	if s := c.Root().SuggestionsFor(name); len(s) > 0 {
		return fmt.Errorf("%w; was \"rmemrun %s\" meant?", err, strings.Join(s, `" or "rmemrun `))
	}
	if isFile {
		return fmt.Errorf("%w; there is ./%s", err, name)
	}
	return err
}

// compilation is the command that makes a guest of a source file; empty for other files.
func compilation(name string) string {
	extension := filepath.Ext(name)
	program := strings.TrimSuffix(filepath.Base(name), extension)
	switch extension {
	case ".c", ".cc", ".cpp":
		return strings.Join(quoted([]string{"rmemrun", "cc", "-O2", "-o", program, name}), " ")
	case ".go":
		return strings.Join(quoted([]string{"go", "build", "-o", program, name}), " ")
	}
	return ""
}

// parsePrograms takes the words after the flags apart: PROG ARGS... [: -n M PROG2 ARGS...]...
func parsePrograms(nodes int, args []string) ([]runtime.Program, error) {
	var programs []runtime.Program
	for total := 0; ; {
		end := slices.Index(args, ":")
		last := end < 0
		if last {
			end = len(args)
		}
		words := args[:end]
		if len(words) == 0 {
			return nil, usage("no program before or after a colon")
		}
		if nodes < 1 || nodes > runtime.MaxNodes-total {
			return nil, usage("-n %d: a run has 1 to %d nodes", nodes, runtime.MaxNodes)
		}
		total += nodes
		programs = append(programs, runtime.Program{Path: words[0], Args: words[1:], Nodes: nodes})
		if last {
			return programs, nil
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.SetInterspersed(false)
		flags.SetOutput(io.Discard)
		flags.IntVarP(&nodes, "nodes", "n", 1, "")
		if err := flags.Parse(args[end+1:]); err != nil {
			if errors.Is(err, pflag.ErrHelp) {
				err = errors.New("--help")
			}
			return nil, usage("after a colon: %w; only -n can stand there", err)
		}
		args = flags.Args()
	}
}
