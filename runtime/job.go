package runtime

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"rmemrun/trap"
)

// MaxNodes is the largest number of nodes of one job.
const MaxNodes = 1024

// The exit statuses that are rmemrun's own, as env(1) and nohup(1) use them.
const (
	// StatusFault: rmemrun could not do its work.
	StatusFault = 125
	// StatusNotExecutable: the program was found and could not be executed.
	StatusNotExecutable = 126
	// StatusNotFound: the program was not found.
	StatusNotFound = 127
	// StatusSignal is added to the number of the signal that ended a guest.
	StatusSignal = 128
)

// A Program is one program of a job.
type Program struct {
	// Path names the executable, as a shell would take it: looked up in PATH if it has no slash.
	Path string
	// Args are its arguments, without its name.
	Args []string
	// Nodes is the number of nodes that run it, at least 1.
	Nodes int
}

// A Job is a set of programs run together, each node one process tree, their nodes joined by a network:
//
//	1 node     loopback
//	2 nodes    back to back
//	n nodes    each on its own port of one switch
//
// or as Topology says.
//
// The nodes of the first Program are numbered first. Every guest finds its number in RMEM_NODE and the count in RMEM_NODES.
type Job struct {
	Programs []Program
	// Env is the guests' environment, in the form of os.Environ; nil: rmemrun's own.
	Env []string
	// Stdin goes to node 0; the others read /dev/null. Nil: /dev/null for node 0 too.
	Stdin *os.File
	// Stdout and Stderr are the guests' own, untouched unless Label is set. Nil: /dev/null.
	Stdout, Stderr *os.File
	// Label puts "[node] " before each line that a guest writes.
	Label bool
	// Topology is the network, with as many nodes as the programs have in all. Nil: memory links, as above.
	Topology *Topology
	// Seed chooses the faults of impaired links: the same seed gives the same.
	Seed uint64
	// LinkCells makes events of every cell on every link of Topology: LinkSent, LinkReceived.
	LinkCells bool
	// Monitor, if set, is given the network before the first guest starts, to be looked at while the job runs.
	Monitor func(*NetworkMonitor)
	// Engine names the engine that runs the guests. Empty: the default, patch.
	Engine string
	// CPUs is how many processors the guests and rmemrun may keep busy at a time by waiting. 0: those that this process may use.
	CPUs int
	// Poll says whether the agent, which serves rings, may wait by looking. Only for engines that have stubs.
	Poll Poll
	// Observer, if set, is given every event, one at a time, from whatever goroutine it happened on; it delays the guest
	// that the event is of. Nil: no events are made, at the cost of one predictable branch each.
	Observer func(*Event)
	// Witness, if set, is told what becomes of each operation on a segment. Unlike Observer it leaves circuits their rings. With Join it
	// is told of the segments of this job's nodes alone.
	Witness *Witness
	// Join, if set, makes the job part of one that another rmemrun runs, too.
	Join *Join
	// Log is rmemrun's own log. Nil: none.
	Log hclog.Logger

	// newEngine makes a node's engine in place of the one named by Engine. Tests set it.
	newEngine func(trap.Config) trap.Engine
}

// Result is how a job ended.
type Result struct {
	// Status is the exit status of the guest that failed first, 128+signal if a signal ended it; 0 if none failed; or, beside
	// an error, one of the Status constants.
	Status int
	// Signal is the one that ended that guest; 0 if it exited.
	Signal syscall.Signal
	// Node is the node whose status it is; -1 if none failed.
	Node int
	// Instructions counts the remote instructions that were executed on all nodes.
	Instructions uint64
}

// engines are the engines by name; the first is the default.
var engines = []struct {
	name string
	make func(trap.Config) trap.Engine
}{
	{patchEngine, trap.NewPatch},
	{"ptrace", trap.NewPtrace},
}

// patchEngine is the engine whose guests may go past their node.
const patchEngine = "patch"

// Engines returns the names that Job.Engine takes, the default first.
func Engines() []string {
	names := make([]string, len(engines))
	for i, e := range engines {
		names[i] = e.name
	}
	return names
}

// engine returns the maker of the job's engines.
func (j *Job) engine() (func(trap.Config) trap.Engine, error) {
	if j.newEngine != nil {
		return j.newEngine, nil
	}
	for _, e := range engines {
		if e.name == j.engineName() {
			return e.make, nil
		}
	}
	return nil, fmt.Errorf("no engine is called %q; there is %q", j.Engine, Engines())
}

// engineName is the name of the job's engine.
func (j *Job) engineName() string {
	if j.Engine == "" {
		return engines[0].name
	}
	return j.Engine
}

// nodes returns the number of nodes of the job, or what is wrong with its shape.
func (j *Job) nodes() (int, error) {
	if len(j.Programs) == 0 {
		return 0, fmt.Errorf("the job has no program")
	}
	n := 0
	for _, p := range j.Programs {
		if p.Nodes < 1 || p.Nodes > MaxNodes {
			return 0, fmt.Errorf("%s: %d nodes asked for, 1 to %d can be had", p.Path, p.Nodes, MaxNodes)
		}
		n += p.Nodes
	}
	if n > MaxNodes {
		return 0, fmt.Errorf("%d nodes asked for, %d can be had", n, MaxNodes)
	}
	if t := j.Topology; t != nil && len(t.Nodes) != n {
		return 0, fmt.Errorf("the topology has %d nodes, and the programs %d", len(t.Nodes), n)
	}
	return n, nil
}

// network makes the job's network.
func (j *Job) network(first, nodes int, events *stream, log hclog.Logger) (*fabric, error) {
	config := fabricConfig{
		topology: j.Topology, first: first, seed: j.Seed, events: events, taps: j.LinkCells && events != nil, log: log.Named("network"),
	}
	if config.topology == nil {
		config.topology, config.memory = DefaultTopology(nodes), true
	} else if err := config.topology.Check(); err != nil {
		return nil, err
	}
	return newFabric(config)
}

// bypasses makes the place for the rings of the job; nil: it has none, as its engine has no stubs.
// What is observed has them, and its instructions are replaced, but no circuit goes past its node (port.plain).
func (j *Job) bypasses(nodes int, network *fabric, testimony *testimony, log hclog.Logger) (*bypasses, error) {
	if j.engineName() != patchEngine || j.newEngine != nil {
		return nil, nil
	}
	return newBypasses(j, nodes, network, testimony, log.Named("rings"))
}

// environment returns the environment of one node's guest: the job's, with the node's number and the count of nodes.
func (j *Job) environment(node, nodes int) []string {
	env := j.Env
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		return hasName(s, "RMEM_NODE") || hasName(s, "RMEM_NODES")
	})
	return append(env, fmt.Sprintf("RMEM_NODE=%d", node), fmt.Sprintf("RMEM_NODES=%d", nodes))
}

// hasName reports whether entry, of an environment, is that of the variable name.
func hasName(entry, name string) bool {
	return len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '='
}
