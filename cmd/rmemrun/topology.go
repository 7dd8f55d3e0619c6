package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rmemrun/runtime"
)

// topologyFlags say what the network is, for a run or to be looked at.
type topologyFlags struct {
	topology string
	seed     uint64
	loss     float64
	impair   string

	flags *pflag.FlagSet // that they are among
}

func (f *topologyFlags) add(c *cobra.Command) {
	flags := c.Flags()
	f.flags = flags
	flags.StringVar(&f.topology, "topology", "", "the network: "+strings.Join(runtime.Builtins(), ", ")+", or a `FILE`")
	flags.StringVar(&f.impair, "impair", "", "what all links are like: a comma list of `KEY=VALUE`, as in a topology file (loss, delay, rate, cut, ...)")
	flags.Float64Var(&f.loss, "loss", 0, "the probability that a link loses a cell")
	flags.Uint64Var(&f.seed, "seed", 0, "the seed of what goes wrong on links: the same seed, the same faults")
	complete(c, "topology", runtime.Builtins()...)
}

// file reports whether the network is in a file, which then says how many nodes there are.
func (f *topologyFlags) file() bool {
	return f.topology != "" && !slices.Contains(runtime.Builtins(), f.topology)
}

// set reports whether any network was asked for but the default.
func (f *topologyFlags) set() bool {
	return f.flags.Changed("topology") || f.loss != 0 || f.flags.Changed("impair")
}

// load makes the topology, of a number of nodes if it is not in a file.
func (f *topologyFlags) load(nodes int) (t *runtime.Topology, err error) {
	switch {
	case f.topology == "" && f.flags.Changed("topology"):
		return nil, usage("--topology: it is empty; it is %s, or a file", strings.Join(runtime.Builtins(), ", "))
	case f.impair == "" && f.flags.Changed("impair"):
		return nil, usage("--impair: it is empty; it is a comma list of KEY=VALUE")
	case f.topology == "":
		if nodes < 1 || nodes > runtime.MaxNodes {
			return nil, usage("-n %d: a network has 1 to %d nodes", nodes, runtime.MaxNodes)
		}
		t = runtime.DefaultTopology(nodes)
	case f.file():
		if t, err = runtime.LoadTopology(f.topology); err != nil && !strings.ContainsAny(f.topology, "./") {
			return nil, usage("--topology=%s: it is %s, or a file, and: %w", f.topology, strings.Join(runtime.Builtins(), ", "), err)
		}
	default:
		t, err = runtime.BuiltinTopology(f.topology, nodes)
	}
	if err != nil {
		return nil, usage("--topology: %w", err)
	}
	if len(t.Links) == 0 { // none to find a mistake by
		if err := f.impairWay(&runtime.Way{}); err != nil {
			return nil, err
		}
	}
	return t, t.EachWay(f.impairWay)
}

// impairWay makes a direction of a link what --loss and --impair say.
func (f *topologyFlags) impairWay(w *runtime.Way) error {
	if f.loss != 0 {
		if err := runtime.ParseWay(fmt.Sprint("loss=", f.loss), w); err != nil {
			return usage("--loss: %w", err)
		}
	}
	if f.impair != "" {
		if err := runtime.ParseWay(f.impair, w); err != nil {
			return usage("--impair: %w", err)
		}
	}
	return nil
}

// plan builds the network that a run of so many nodes would have, without guests, to be looked at.
func (f *topologyFlags) plan(nodes int) (*runtime.NetworkMonitor, error) {
	t, err := f.load(nodes)
	if err != nil {
		return nil, err
	}
	m, err := runtime.PlanNetwork(t, f.seed)
	if err != nil {
		return nil, failed("%w", err)
	}
	return m, nil
}
