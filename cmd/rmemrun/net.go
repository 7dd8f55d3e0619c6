package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rmemrun/atm"
	"rmemrun/runtime"
)

// netFlags are the flags of net.
type netFlags struct {
	topologyFlags
	nodes       int
	json        bool
	schema      bool
	circuits    bool
	watch       time.Duration
	cut, repair string
}

func (a *app) netCommand() *cobra.Command {
	var f netFlags
	c := &cobra.Command{
		Use:   "net [PID]",
		Short: "Show a network: that of a run, or of a topology",
		Long: `Show the network of a run: how its nodes and switches are joined, the circuits, and
of each link how much of it is used, how many cells wait, and how many were dropped and why.

With PID it is the network of the rmemrun that is running as that process, which must be
your own. Without, it is the one that a run with the same --topology and -n would have.

--cut and --repair cut a link of a run and join it again.`,
		Example: `  rmemrun net --topology fattree -n 16
  rmemrun net --topology lab.yaml --circuits
  rmemrun net 4711 --watch
  rmemrun net 4711 --cut s0-s1
  rmemrun net --schema > topology.schema.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.net(c, &f, args) },
	}
	f.topologyFlags.add(c)
	flags := c.Flags()
	flags.IntVarP(&f.nodes, "nodes", "n", 2, "number of nodes, of a topology that is not in a file")
	flags.BoolVar(&f.json, "json", false, "print JSON, one object for each look")
	flags.BoolVar(&f.circuits, "circuits", false, "show each circuit, with its VPI/VCI on every link")
	flags.BoolVar(&f.schema, "schema", false, "print the JSON schema of topology files")
	flags.DurationVar(&f.watch, "watch", 0, "look again and again, at this `INTERVAL`, until the run ends")
	flags.Lookup("watch").NoOptDefVal = "1s"
	flags.StringVar(&f.cut, "cut", "", "cut a `LINK` of the run")
	flags.StringVar(&f.repair, "repair", "", "join a `LINK` of the run that was cut")
	return c
}

func (a *app) net(c *cobra.Command, f *netFlags, args []string) error {
	if f.schema {
		_, err := io.WriteString(a.stdout, runtime.TopologySchema)
		return err
	}
	if c.Flags().Changed("watch") && f.watch < 10*time.Millisecond {
		return usage("--watch=%v: it is 10ms at least", f.watch)
	}
	if len(args) == 0 {
		if f.cut != "" || f.repair != "" || f.watch > 0 {
			return usage("--cut, --repair and --watch are for a run: give its process number")
		}
		m, err := f.plan(f.nodes)
		if err != nil {
			return err
		}
		defer m.Close()
		return a.showNet(f, m.Report(f.circuits), nil)
	}
	if f.set() || c.Flags().Changed("nodes") {
		return usage("a run has its topology already: --topology, --impair, --loss and -n are for networks without one")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil || pid <= 0 {
		return usage("%q is not a process number; a topology is shown with --topology", args[0])
	}
	for _, link := range []struct {
		name string
		down bool
	}{{f.cut, true}, {f.repair, false}} {
		if link.name == "" {
			continue
		}
		if _, err := askLive(pid, liveRequest{Command: "link", Link: link.name, Down: link.down}); err != nil {
			return failed("%w", err)
		}
	}
	if (f.cut != "" || f.repair != "") && f.watch == 0 && !f.json {
		return nil
	}
	return a.watchNet(f, pid)
}

// watchNet shows the network of a process once, or until the process ends.
func (a *app) watchNet(f *netFlags, pid int) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	var before *runtime.NetworkReport
	for {
		answer, err := askLive(pid, liveRequest{Command: "report", Circuits: f.circuits})
		switch {
		case err != nil && before != nil: // the run is over
			return nil
		case err != nil:
			return failed("%w", err)
		case answer.Report == nil:
			return failed("process %d has not said what its network is", pid)
		}
		if f.watch > 0 && !f.json && isTerminal(a.stdout) {
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
		}
		if err := a.showNet(f, *answer.Report, before); err != nil || f.watch == 0 {
			return err
		}
		before = answer.Report
		select {
		case <-time.After(f.watch):
		case <-interrupted:
			return nil
		}
	}
}

// showNet prints a report. If there is one from before, use is that of the time between.
func (a *app) showNet(f *netFlags, r runtime.NetworkReport, before *runtime.NetworkReport) error {
	if before != nil {
		useSince(&r, before)
	}
	if f.json {
		return json.NewEncoder(a.stdout).Encode(r)
	}
	w := &lineWriter{w: a.stdout}
	drawNet(w, r, paint(a.colored(a.stdout)))
	if f.watch > 0 {
		w.printf("\n")
	}
	return w.err
}

// useSince makes Use that of the time since another report.
func useSince(r, before *runtime.NetworkReport) {
	seconds := (r.Time - before.Time).Seconds()
	for i := range min(len(r.Links), len(before.Links)) {
		for k := range r.Links[i].Ways {
			w := &r.Links[i].Ways[k]
			if w.Rate > 0 && seconds > 0 {
				w.Use = float64(w.Delivered-before.Links[i].Ways[k].Delivered) / (w.Rate * seconds)
			}
		}
	}
}

// drawNet draws the network: what is joined to each switch, then the links with what they carry.
func drawNet(w *lineWriter, r runtime.NetworkReport, p paint) {
	w.printf("%s, %s, %s", plural(len(r.Nodes), "node", "nodes"), plural(len(r.Switches), "switch", "switches"), plural(len(r.Links), "link", "links"))
	if k := r.Peer; k != nil {
		w.printf("; joined with %s of another rmemrun\n%s", plural(k.Nodes, "node", "nodes"), nodeNumbers(r))
	}
	w.printf("\n")
	drawn := map[string]bool{}
	for _, s := range r.Switches {
		text := ""
		if s.Switched > 0 {
			text = "  " + plural(int(s.Switched), "cell", "cells")
		}
		if len(s.Dropped) > 0 {
			text += "  " + p.red("dropped "+counts(s.Dropped))
		}
		w.printf("\n%s%s\n", s.Name, text)
		drawPlace(w, r, s.Name, p)
		drawn[s.Name] = true
	}
	for _, l := range r.Links { // between nodes
		if !drawn[l.Ends[0]] && !drawn[l.Ends[1]] {
			w.printf("\n%s\n", l.Ends[0])
			drawPlace(w, r, l.Ends[0], p)
			drawn[l.Ends[0]] = true
		}
	}
	if len(r.Links) > 0 {
		w.printf("\n%s", linkTable(r, p))
	}
	if r.Peer != nil {
		w.printf("\n%s", peerTable(*r.Peer, p))
	}
	if len(r.Contracts) > 0 {
		w.printf("\n%s", contractTable(r))
	}
	if len(r.Circuits) > 0 {
		w.printf("\n%s", circuitTable(r, p))
	}
}

// drawPlace draws the links of one place.
func drawPlace(w *lineWriter, r runtime.NetworkReport, name string, p paint) {
	var lines []string
	for _, l := range r.Links {
		for end := range 2 {
			if l.Ends[end] != name {
				continue
			}
			text := l.Ends[1-end]
			if l.Name != l.Ends[0]+"-"+l.Ends[1] {
				text += " by " + l.Name
			}
			if dead(l.Ways[0]) || dead(l.Ways[1]) {
				text += "  " + p.red("down")
			}
			lines = append(lines, text)
		}
	}
	for i, line := range lines {
		branch := "├─"
		if i == len(lines)-1 {
			branch = "└─"
		}
		w.printf("%s %s\n", branch, line)
	}
}

// nodeNumbers says which numbers the nodes of one of two joined runs have.
func nodeNumbers(r runtime.NetworkReport) string {
	var all []string
	for i, name := range r.Nodes {
		all = append(all, fmt.Sprintf("%d %s", r.First+i, name))
	}
	return "nodes here: " + strings.Join(all, ", ") + "; there: " + numberRange(r.Peer.First, r.Peer.Nodes)
}

// numberRange is so many numbers from the first on: "2 to 4".
func numberRange(first, count int) string {
	if count == 1 {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, first+count-1)
}

// nodeName is the name of a node, or its number if it belongs to another rmemrun, which keeps its names to itself.
func nodeName(r runtime.NetworkReport, number int) string {
	if i := number - r.First; i >= 0 && i < len(r.Nodes) {
		return r.Nodes[i]
	}
	return fmt.Sprint("node ", number)
}

// peerTable has a row for the link to the other rmemrun.
func peerTable(k runtime.PeerReport, p paint) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "link\tkind\there\tthere\tcircuits\tsent\treceived\tlost\tdropped\t")
	end := counts(k.Dropped)
	if k.Down {
		end += "  " + p.red("down")
	}
	lost := "-"
	if k.Kind == "udp" { // the others do not number datagrams, or have none
		lost = plural(int(k.LostDatagrams), "datagram", "datagrams")
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", runtime.PeerLink, k.Kind, k.Local, k.Remote, k.Circuits, k.Sent, k.Received, lost, end)
	_ = t.Flush() // to memory
	return trimLines(b.String())
}

// dead reports whether nothing comes out of a direction of a link, or its end thinks so.
func dead(w runtime.WayReport) bool { return w.Down || w.Defect != "" }

// linkTable has a row for each direction of a link.
func linkTable(r runtime.NetworkReport, p paint) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "link\tfrom\tto\trate\tdelay\tcircuits\tuse\tqueued\tcells\tdropped\t")
	for _, l := range r.Links {
		for _, d := range l.Ways {
			use := "-"
			if d.Rate > 0 {
				use = fmt.Sprintf("%.1f%%", 100*d.Use)
			}
			end := counts(d.Dropped)
			if len(d.Faults) > 0 {
				end += "; damaged: " + counts(d.Faults)
			}
			if d.Impaired != "" {
				end += "  (" + d.Impaired + ")"
			}
			switch {
			case d.Defect != "":
				end += "  " + p.red("down: "+d.Defect)
			case d.Down:
				end += "  " + p.red("down")
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%s\n", l.Name, d.From, d.To, rateText(d.Rate), delayText(d.Delay), l.Circuits, use, d.Queued, d.Delivered, end)
		}
	}
	_ = t.Flush() // to memory
	return trimLines(b.String())
}

// contractTable has a row for each contract.
func contractTable(r runtime.NetworkReport) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "contract\tto\tclass\tpolice\tPCR\tCDVT\tSCR\tMBS\tshape\tcircuits\tpassed\ttagged\tdiscarded\twaiting\t")
	some := func(text string, is bool) string {
		if !is {
			return "-"
		}
		return text
	}
	for _, k := range r.Contracts {
		discarded := fmt.Sprint(k.Discarded)
		if k.Overflown > 0 {
			discarded += fmt.Sprint(", and ", k.Overflown, " by shaping")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\n", k.From, k.To, k.Class,
			some(k.Police, k.Police != ""), some(rateText(k.PCR), k.PCR > 0), some(delayText(k.CDVT), k.PCR > 0), some(rateText(k.SCR), k.SCR > 0),
			some(fmt.Sprint(k.MBS), k.MBS > 0), some(fmt.Sprint(k.Shape), k.Shape > 0), k.Circuits, k.Passed, k.Tagged, discarded, k.Waiting)
	}
	_ = t.Flush() // to memory
	return trimLines(b.String())
}

// circuitTable has a row for each circuit.
func circuitTable(r runtime.NetworkReport, p paint) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "circuit\tfrom\tto\tway")
	for _, c := range r.Circuits {
		kind := "memory"
		if c.Control {
			kind = "control"
		}
		var way []string
		for _, v := range c.Path {
			way = append(way, fmt.Sprintf("%s %d/%d", v.Link, v.VPI, v.VCI))
		}
		text := strings.Join(way, ", ")
		if c.Broken {
			text += "  " + p.red("broken")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", kind, nodeName(r, c.From), nodeName(r, c.To), text)
	}
	_ = t.Flush() // to memory
	return trimLines(b.String())
}

// trimLines takes the blanks from the ends of lines.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// plural is a number and what it counts.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", more)
}

// counts are counters by name, in the order of names; a 0 if there are none.
func counts(m map[string]uint64) string {
	if len(m) == 0 {
		return "0"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprint(name, " ", m[name]))
	}
	return strings.Join(parts, ", ")
}

// rateText is a rate in cells a second, by name if it has one.
func rateText(rate float64) string {
	if rate == atm.Unlimited {
		return "unlimited"
	}
	for _, name := range []string{"OC-3", "OC-12", "OC-48", "OC-192"} {
		if known, err := atm.RateByName(name); err == nil && known == rate {
			return name
		}
	}
	return fmt.Sprintf("%g/s", rate)
}

// delayText is a delay, 0 in short.
func delayText(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return d.String()
}
