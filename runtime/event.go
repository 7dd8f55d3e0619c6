package runtime

import (
	"fmt"
	"time"

	"rmemrun/decode"
	"rmemrun/rmem"
)

// A Kind says what an Event reports. One remote instruction passes through them in this order, and an instruction that is
// refused before it reaches the network leaves the middle out:
//
//	Trap ──> Decode ──┬──> Sent ──> Received ──> Deposited ──> Sent ──> Received ──┬──> Resume
//	                  │    (the request)         (at the peer)  (the answer)       │
//	                  └────────────────────────────────────────────────────────────┘
//
// Start and Exit enclose a node's life.
type Kind uint8

const (
	// Start: the node's program is about to be executed.
	Start Kind = iota + 1
	// Exit: the node's process tree has ended; Event.Status is its root's exit status as a shell gives it.
	Exit
	// Trap: a guest thread has stopped at a remote instruction.
	Trap
	// Decode: the instruction and its operands are known.
	Decode
	// Network: the node's network interface or its memory did something; Event.Net says what.
	Network
	// Resume: the instruction is finished and the thread goes on; Event.Result is what it was given.
	Resume
	// Restart: a signal came while the instruction slept. The thread handles the signal and then runs the instruction again,
	// as a new Trap.
	Restart
	// Patch: an instruction that was carried out for the first time was replaced by a jump to a stub, or is left to the trap;
	// Event.Why says why. It comes before the instruction's Resume.
	Patch
	// OnLink: something happened on a link of the network; Event.Link says what.
	OnLink
)

var kindNames = [...]string{
	Start:   "start",
	Exit:    "exit",
	Trap:    "trap",
	Decode:  "decode",
	Network: "network",
	Resume:  "resume",
	Restart: "restart",
	Patch:   "patch",
	OnLink:  "link",
}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Event is one thing that happened in a job. All views of a run (trace, summary, capture, demo) read this one stream.
//
// An Event and what it points to are valid only during the call of the observer, which must copy what it keeps.
type Event struct {
	// Time is when it happened, on the monotonic clock, since Run began.
	Time time.Duration
	Kind Kind
	// Node is the node it happened at, 0 to nodes-1; -1 for OnLink, unless it was at a node.
	Node int

	// PID and TID are the guest's process and thread: set for Trap, Decode, Resume, Restart and Patch.
	PID, TID int
	// Tag numbers the executed instructions of the job from 1. The events of one instruction carry it at the node that executes
	// it; at the peer they carry 0, as a peer has only the operation to go by, Net.ID, which is the same at both. 0: of no
	// instruction of this node.
	Tag uint64

	// Inst, PC and Code are the instruction, its address, and its bytes: set for Decode, Resume, Restart and Patch; Trap has PC and Code.
	Inst decode.Instruction
	PC   uint64
	Code []byte
	// V, A, P, C and D are the values of its operands when it trapped; decode.Op's Operands says what each is called.
	V, A, P, C, D uint64
	// Name is the segment's name where the instruction gives one: set for Decode, Resume and Restart of export and import, ""
	// if the guest's operands do not lead to a name.
	Name string
	// Result is what the instruction returned: ≥ 0, or an rmem.Error. Set for Resume.
	Result int64
	// Old is the value that an atomic found. Set for Resume where Result is 0.
	Old uint64
	// Took is the time from the instruction's Trap to its Resume, waiting included. Set for Resume.
	Took time.Duration

	// Why says why the instruction is left to the trap; nil: it was replaced. Set for Patch.
	Why error

	// Net is the network's part. Set for Network.
	Net *rmem.Event

	// Link is what happened on a link. Set for OnLink.
	Link *LinkEvent

	// Path is the program that is started. Set for Start.
	Path string
	// Status is the exit status, 128+signal if a signal ended it. Set for Exit.
	Status int
}
