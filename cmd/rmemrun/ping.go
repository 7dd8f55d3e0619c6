package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rmemrun/atm"
	"rmemrun/runtime"
)

// pingFlags are the flags of ping.
type pingFlags struct {
	topologyFlags
	nodes   int
	pid     int
	from    string
	timeout time.Duration
	json    bool
}

func (a *app) pingCommand() *cobra.Command {
	var f pingFlags
	c := &cobra.Command{
		Use:   "ping NODE",
		Short: "Find out by OAM loopback which hop on the way to a node is dead",
		Long: `Send an OAM loopback cell (ITU-T I.610) to each switch on the way to NODE, and to NODE
itself, and print how long each took to answer. NODE is a name or a number. The status is 1 if
NODE does not answer; the first hop that does not is dead, or the link to it is.

With --pid it is the network of a running rmemrun of your own. Without, one is
built as a run with the same --topology and -n would have it.`,
		Example: `  rmemrun ping --pid 4711 3
  rmemrun ping --topology lab.yaml --from alice bob
  rmemrun ping --topology line -n 8 --impair delay=1ms n7`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("%d nodes are given, and one is expected: the NODE to reach, by name or number, as in rmemrun ping n1", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.ping(c, &f, args[0]) },
	}
	f.topologyFlags.add(c)
	flags := c.Flags()
	flags.IntVarP(&f.nodes, "nodes", "n", 2, "number of nodes, of a topology that is not in a file")
	flags.IntVarP(&f.pid, "pid", "p", 0, "the process of a run")
	flags.StringVar(&f.from, "from", "0", "the `NODE` that sends")
	flags.DurationVarP(&f.timeout, "timeout", "W", time.Second, "how long to wait for answers, 5s at most")
	flags.BoolVar(&f.json, "json", false, "print JSON: a list of the hops")
	return c
}

func (a *app) ping(c *cobra.Command, f *pingFlags, to string) error {
	if f.timeout <= 0 || f.timeout > atm.LoopbackWait {
		return usage("--timeout=%v: more than 0 and %v at most", f.timeout, atm.LoopbackWait)
	}
	var hops []runtime.Hop
	request := liveRequest{Version: liveVersion, Command: "ping", From: f.from, To: to, Timeout: f.timeout}
	if c.Flags().Changed("pid") {
		if f.set() || c.Flags().Changed("nodes") {
			return usage("a run has its topology already: --topology, --impair, --loss and -n are for networks without one")
		}
		answer, err := askLive(f.pid, request)
		if err != nil {
			return failed("%w", err)
		}
		hops = answer.Hops
	} else {
		m, err := f.plan(f.nodes)
		if err != nil {
			return err
		}
		defer m.Close()
		answer := answerFrom(m, request)
		if answer.Error != "" {
			return usage("%s", answer.Error)
		}
		hops = answer.Hops
	}
	if len(hops) == 0 {
		return failed("process %d has not said what became of it", f.pid)
	}
	if f.json {
		if err := json.NewEncoder(a.stdout).Encode(hops); err != nil {
			return err
		}
	} else if err := printHops(a, hops); err != nil {
		return err
	}
	if last := len(hops) - 1; !hops[last].Answered {
		for i, h := range hops {
			if !h.Answered {
				return failed("%s does not answer: hop %d is dead, %s or the link %s to it", hops[last].Name, i+1, h.Name, h.Link)
			}
		}
	}
	return nil
}

// printHops prints a table of the hops.
func printHops(a *app, hops []runtime.Hop) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "hop\tplace\tby link\tVPI/VCI\tround trip")
	for i, h := range hops {
		took := "no answer"
		if h.Answered {
			took = format(h.Took)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d/%d\t%s\n", i+1, h.Name, h.Link, h.VPI, h.VCI, took)
	}
	_ = t.Flush() // to memory
	_, err := fmt.Fprint(a.stdout, trimLines(b.String()))
	return err
}
