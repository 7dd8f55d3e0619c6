package bench

import (
	"context"
	"fmt"
	"strings"
)

// Classes of subjects. Peers are compared with like: what they do to memory that the program chose, and to memory that their
// library chose and mapped writable into the initiator, which then checks nothing.
const (
	ClassOurs   = "rmemrun"
	ClassFloor  = "floor"
	ClassUser   = "user-defined"
	ClassMapped = "library-mapped"
	ClassNet    = "network"
)

// A Subject is one way to run one program.
type Subject struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	Version string `json:"version,omitempty"` // as it says itself
	// Command is how it is run: what a person would type, with the directory of the programs left out.
	Command string `json:"command,omitempty"`
	// Missing is why it cannot be run, Install what to do about it.
	Missing string `json:"missing,omitempty"`
	Install string `json:"install,omitempty"`

	// oneCPU confines all of it to the initiator's CPU.
	oneCPU bool
	items  []item // what a peer can do
	// run measures items and returns what the program printed.
	run func(ctx context.Context, l *launcher, items []string) ([]byte, error)
}

// An item is what a peer can do, with a size.
type item struct {
	name string
	size int
}

// items reads "put:40 get:40".
func itemsOf(list string) []item {
	var items []item
	for word := range strings.FieldsSeq(list) {
		var i item
		name, size, _ := strings.Cut(word, ":")
		i.name = name
		if _, err := fmt.Sscan(size, &i.size); err != nil {
			panic("bench: not an item: " + word) // the lists are in this package
		}
		items = append(items, i)
	}
	return items
}

// ours and the floors.
func (b *Bench) ownSubjects() []*Subject {
	subjects := []*Subject{
		{Name: Ours, Class: ClassOurs, run: b.guest(b.Engine, 2, true, "--poll", "yes")},
		{Name: OursGuests, Class: ClassOurs, run: b.guest(b.Engine, 2, true)},
		{Name: OursAsleep, Class: ClassOurs, oneCPU: true, run: b.guest(b.Engine, 2, false, "--cpus", "1", "--poll", "no")},
		{Name: OursOneCPU, Class: ClassOurs, oneCPU: true, run: b.guest("ptrace", 2, false)},
		{Name: OursUDP, Class: ClassOurs, run: b.guestOverUDP},
		{Name: OursStart, Class: ClassOurs, oneCPU: true, run: b.start(b.Self, "--engine", b.Engine)},
		{Name: OursCells, Class: ClassOurs, oneCPU: true, run: b.cells},
		{Name: FloorMemory, Class: ClassFloor, run: plain("shm")},
		{Name: FloorVM, Class: ClassFloor, run: plain("vm")},
		{Name: FloorTraps, Class: ClassFloor, oneCPU: true, run: plain("traps")},
		{Name: FloorNet, Class: ClassFloor, run: plain("net")},
		{Name: FloorTracer, Class: ClassFloor, oneCPU: true, run: b.tracer},
		{Name: FloorExec, Class: ClassFloor, oneCPU: true, run: b.start()},
	}
	for _, n := range sweepNodes {
		subjects = append(subjects, &Subject{Name: oursNodes(n), Class: ClassOurs, run: b.guest(b.Engine, n, false)})
	}
	return subjects
}

// oursNodes is the subject of that many nodes, which are not confined to a CPU each.
func oursNodes(n int) string { return fmt.Sprintf("rmemrun, %d nodes", n) }
