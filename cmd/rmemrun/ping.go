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
itself, and print how long each took to answer. Who does not answer is asked again, 20 times within
the timeout, and where cells were lost, it says how many. NODE is a name or a number. The status is 1 if
NODE does not answer; the hop behind the last that does is dead, or the link to it is.

With --pid it is the network of a running rmemrun of your own, where NODE may also be the number
of a node of the other rmemrun that it has joined. Without, one is built as a run with the
same --topology and -n would have it.`,
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
	flags.StringVar(&f.from, "from", "", "the `NODE` that sends; the first one of the run unless given")
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
	if text := verdict(hops); text != "" {
		return failed("%s", text)
	}
	return nil
}

// lastAlive is the last hop that has answered, -1 if none has. All before it are alive, too, whether they have answered or not.
func lastAlive(hops []runtime.Hop) int {
	for i := len(hops) - 1; i >= 0; i-- {
		if hops[i].Answered {
			return i
		}
	}
	return -1
}

// verdict says why the last hop does not answer; "" if it does.
func verdict(hops []runtime.Hop) string {
	end, alive := len(hops)-1, lastAlive(hops)
	if alive == end {
		return ""
	}
	dead := hops[alive+1]
	text := fmt.Sprintf("%s does not answer: hop %d is dead, %s or the link %s to it", hops[end].Name, alive+2, dead.Name, dead.Link)
	if lost, asked := lostOf(hops[:alive+1]); lost > 0 {
		text += fmt.Sprintf("; or it loses too much, as the way before it is lossy: %d of %d requests were lost", lost, asked)
	}
	return text
}

// lostOf is how many loopback requests to hops that are alive were lost, they or the answers, and how many there were.
func lostOf(hops []runtime.Hop) (lost, asked int) {
	for _, h := range hops {
		lost += h.Lost
		asked += h.Lost
		if h.Answered {
			asked++
		}
	}
	return lost, asked
}

// printHops prints a table of the hops, and below it that the way loses cells, if it does.
func printHops(a *app, hops []runtime.Hop) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	alive := lastAlive(hops)
	lost, asked := lostOf(hops[:alive+1])
	title := "hop\tplace\tby link\tVPI/VCI\tround trip"
	if lost > 0 {
		title += "\tlost"
	}
	fmt.Fprintln(t, title)
	for i, h := range hops {
		took := "no answer"
		if h.Answered {
			took = format(h.Took)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d/%d\t%s", i+1, h.Name, h.Link, h.VPI, h.VCI, took)
		if lost > 0 {
			fmt.Fprintf(t, "\t%d", h.Lost)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // to memory
	if lost > 0 {
		fmt.Fprintf(&b, "the way to %s is lossy: %d of %d requests were lost, or their answers\n", hops[alive].Name, lost, asked)
	}
	_, err := fmt.Fprint(a.stdout, trimLines(b.String()))
	return err
}
