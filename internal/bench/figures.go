package bench

import "fmt"

// A Probe is an item of a subject.
type Probe struct {
	Subject string `json:"subject"`
	Item    string `json:"item"`
	Bytes   int    `json:"bytes"`
}

func (p Probe) String() string { return p.Subject + " " + key(p.Item, p.Bytes) }

// A Relation is what a figure makes of its probes.
type Relation string

// The relations.
const (
	Ratio      Relation = "ratio"      // ours divided by other
	Difference Relation = "difference" // ours less other, in ns
	Absolute   Relation = "absolute"   // ours, in ns; there is no other
	Longest    Relation = "longest"    // the longest of ours, in ns; there is no other
)

// A Figure is one row of the table.
type Figure struct {
	Group    string   `json:"group"`
	Name     string   `json:"figure"`
	Ours     Probe    `json:"ours"`
	Other    *Probe   `json:"other,omitempty"`
	Relation Relation `json:"relation"`
	// Trips divides what is printed: a round trip is measured and one way printed.
	Trips int `json:"trips"`
	// Limit is what the relation's value may be at most; 0: none.
	Limit float64 `json:"limit,omitempty"`
	// Engine is the engine whose limit it is.
	Engine string `json:"limit_of_engine,omitempty"`
}

// Names of subjects that figures refer to. Those of ours and of the floors are there whenever there is a C compiler.
const (
	Ours       = "rmemrun"                 // its agent polls, as peers' targets do
	OursGuests = "rmemrun, guests polling" // and rmemrun decides whether its agent may, too
	OursCrowd  = "rmemrun, 16 nodes"
	OursAsleep = "rmemrun, agent asleep" // and everything on one CPU
	OursUDP    = "rmemrun, two processes over UDP"
	OursStart  = "rmemrun, start"
	OursOneCPU = "rmemrun, ptrace, one CPU"
	OursCells  = "rmemrun, cells"

	FloorMemory = "shared memory"
	FloorVM     = "process_vm"
	FloorTraps  = "traps"
	FloorNet    = "loopback sockets"
	FloorTracer = "C tracer, one CPU"
	FloorExec   = "plain exec"

	PeerPerftestShm = "UCX perftest, posix"
	PeerUCPTCP      = "UCX ucp, TCP"
	PeerFabricShm   = "libfabric, shm"
	PeerFabricTCP   = "libfabric, TCP"
	PeerShmemHeap   = "OpenSHMEM, heap"
)

// Groups of figures, in the order in which they are printed.
const (
	GroupLimits = "limits"
	GroupUser   = "user-defined buffers"
	GroupMapped = "memory that the peer's library allocated and mapped writable into the initiator"
	GroupNet    = "between processes over the loopback"
	GroupFloors = "floors"
	GroupSweep  = "sweep" // for plots; not printed
)

const (
	mib = 1 << 20
	ms  = 1e6 // ns
)

// judged are the figures that have limits, and what is shown beside them.
func judged() []Figure {
	f := func(name string, ours Probe, relation Relation, limit float64, other ...Probe) Figure {
		figure := Figure{Group: GroupLimits, Name: name, Ours: ours, Relation: relation, Trips: 1, Limit: limit, Engine: "patch"}
		if len(other) == 1 {
			figure.Other = &other[0]
		}
		return figure
	}
	oneWay := func(f Figure) Figure { f.Trips = 2; return f }
	of := func(engine string, f Figure) Figure { f.Engine = engine; return f }
	put := Probe{Ours, "put", 40}
	poll := Probe{OursGuests, "pingpong-poll", 40}
	wait := Probe{OursGuests, "pingpong-wait", 40}
	trip := Probe{FloorMemory, "pingpong", 8}
	raw40 := Probe{FloorMemory, "pingpong", 40}
	over := Probe{OursUDP, "put", 40}
	return []Figure{
		f("40-byte write, acknowledged", put, Ratio, 1.5, trip),
		oneWay(f("40-byte ping-pong, rmem_poll, one way", poll, Ratio, 2, raw40)),
		oneWay(f("40-byte ping-pong, rmem_poll, one way", poll, Ratio, 2, Probe{PeerPerftestShm, "pingpong", 40})),
		oneWay(f("40-byte ping-pong, rmem_poll, one way", poll, Ratio, 1, Probe{PeerShmemHeap, "pingpong", 40})),
		oneWay(f("40-byte ping-pong, rmem_wait, one way", wait, Ratio, 2, raw40)),
		f("40-byte write, acknowledged", put, Ratio, 0.5, Probe{PeerFabricShm, "put", 40}),
		f("40-byte write, acknowledged, over UDP", over, Ratio, 1.5, Probe{FloorNet, "udp", 60}),
		f("40-byte write, acknowledged, over UDP", over, Ratio, 1, Probe{PeerUCPTCP, "put", 40}),
		f("40-byte write, acknowledged, over UDP", over, Ratio, 1, Probe{PeerFabricTCP, "put", 40}),
		f("40-byte write, acknowledged, target asleep", Probe{Ours, "put-asleep", 40}, Ratio, 0.2, Probe{FloorVM, "put-asleep", 40}),
		f("the longest of these: no stall", Probe{Ours, "put-asleep", 40}, Longest, 100*ms),
		of("", f("rmem_map: 40-byte store", Probe{Ours, "map-put", 40}, Ratio, 1, Probe{PeerShmemHeap, "put", 40})),
		of("", f("rmem_map: 8-byte atomic", Probe{Ours, "map-cas", 8}, Ratio, 1, Probe{PeerShmemHeap, "cas", 8})),
		of("", f("rmem_map: 1 MiB copy", Probe{Ours, "map-put", mib}, Ratio, 1, Probe{PeerShmemHeap, "put", mib})),
		f("40-byte write, posted", Probe{Ours, "post", 40}, Ratio, 4, Probe{FloorMemory, "store", 40}),
		f("40-byte write, posted: 20 M/s", Probe{Ours, "post", 40}, Absolute, 50),
		f("compare-and-swap", Probe{Ours, "cas", 8}, Ratio, 1.6, trip),
		f("fetch-and-add", Probe{Ours, "fadd", 8}, Ratio, 1.6, trip),
		f("40-byte read", Probe{Ours, "get", 40}, Ratio, 1.6, trip),
		f("40-byte write, acknowledged", put, Ratio, 0.2, Probe{FloorVM, "put", 40}),
		f("40-byte write, acknowledged, agent asleep", Probe{OursAsleep, "put-apart", 40}, Absolute, 4000),
		f("the same, one behind the other", Probe{OursAsleep, "put", 40}, Absolute, 0),
		f("40-byte write, acknowledged, 14 other guests wait", Probe{OursCrowd, "put", 40}, Absolute, 0),
		f("all-to-all of 16 guests, per write", Probe{OursCrowd, "alltoall", 40}, Absolute, 8000),
		of("", f("one cell: encode, decode, checks", Probe{OursCells, "cell", 40}, Absolute, 25)),
		f("the same, data just stored", Probe{OursCells, "cell-fresh", 40}, Absolute, 0),
		f("1 MiB block write", Probe{Ours, "put", mib}, Ratio, 2, Probe{FloorVM, "put", mib}),
		of("", f("ptrace engine: 40-byte write", Probe{OursOneCPU, "write", 40}, Ratio, 1.10, Probe{FloorTracer, "write", 40})),
		of("", f("start, beyond plain exec", Probe{OursStart, "start", 0}, Difference, 15*ms, Probe{FloorExec, "start", 0})),
	}
}

// floorFigures are the floors that are shown by themselves.
func floorFigures() []Figure {
	var figures []Figure
	for _, p := range []Probe{
		{FloorTraps, "sigill", 0}, {FloorTraps, "sigtrap", 0}, {FloorTraps, "sigsegv", 0}, {FloorTraps, "syscall", 0},
		{FloorNet, "tcp", 60}, {FloorNet, "futex", 0},
		{FloorMemory, "store-same", 40}, {FloorMemory, "copy", mib}, {FloorMemory, "cas", 8},
	} {
		figures = append(figures, Figure{Group: GroupFloors, Name: floorNames[p.Item], Ours: p, Relation: Absolute, Trips: 1})
	}
	return figures
}

// floorNames are what a person reads.
var floorNames = map[string]string{
	"sigill":     "UD1 and a SIGILL handler",
	"sigtrap":    "INT3 and a SIGTRAP handler",
	"sigsegv":    "load from a page without access and a SIGSEGV handler",
	"syscall":    "getppid",
	"tcp":        "60 bytes to and fro, TCP, polling",
	"futex":      "to and fro by futex, sleeping",
	"store-same": "40-byte store of a message that never changes",
	"copy":       "1 MiB memcpy",
	"cas":        "compare-and-swap that nobody disturbs",
}

// peerFigures are those of one peer: the same items as ours.
func peerFigures(s *Subject) []Figure {
	group := map[string]string{ClassUser: GroupUser, ClassMapped: GroupMapped, ClassNet: GroupNet}[s.Class]
	var figures []Figure
	for _, i := range s.items {
		ours := counterpart(s.Class, i)
		trips := 1
		if i.name == "pingpong" {
			trips = 2
		}
		figures = append(figures, Figure{
			Group: group, Name: itemNames[i.name](i.size), Ours: ours, Other: &Probe{s.Name, i.name, i.size}, Relation: Ratio, Trips: trips,
		})
	}
	return figures
}

// mappable are the items that rmem_map has a counterpart of. A mapping cannot say that the other side has seen anything.
var mappable = map[string]bool{"put": true, "put-asleep": true, "get": true, "cas": true, "fadd": true}

// counterpart is what of ours is compared with an item of a peer of a class.
func counterpart(class string, i item) Probe {
	p := Probe{Ours, i.name, i.size}
	switch i.name {
	case "pingpong":
		p.Subject, p.Item = OursGuests, "pingpong-poll"
	case "write":
		p.Item = "put"
	case "write-asleep":
		p.Item = "put-asleep"
	}
	switch {
	case class == ClassNet:
		p.Subject = OursUDP
	case class == ClassMapped && mappable[i.name]:
		p.Item = "map-" + i.name
	}
	return p
}

// itemNames are what a person reads.
var itemNames = map[string]func(int) string{
	"put":          func(n int) string { return bytesOf(n) + " write, acknowledged" },
	"write":        func(n int) string { return bytesOf(n) + " write, completed locally" },
	"post":         func(n int) string { return bytesOf(n) + " write, posted" },
	"get":          func(n int) string { return bytesOf(n) + " read" },
	"cas":          func(int) string { return "compare-and-swap" },
	"fadd":         func(int) string { return "fetch-and-add" },
	"pingpong":     func(n int) string { return bytesOf(n) + " ping-pong, one way" },
	"put-asleep":   func(n int) string { return bytesOf(n) + " write, acknowledged, target asleep" },
	"write-asleep": func(n int) string { return bytesOf(n) + " write, completed locally, target asleep" },
}

func bytesOf(n int) string {
	switch {
	case n >= mib && n%mib == 0:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= 1024 && n%1024 == 0:
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d-byte", n)
}

// sweepSizes are the sizes of plots, sweepNodes the numbers of nodes.
var (
	sweepSizes = []int{8, 40, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}
	sweepNodes = []int{2, 4, 8, 16}
)
