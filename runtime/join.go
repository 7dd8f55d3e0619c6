package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/rmem"
	"rmemrun/runtime/join"
)

// A Join makes a job part of one that another rmemrun runs, too: one of the two listens, the other calls. The listener's nodes have the lower
// numbers. Each has its own topology; the two are joined by one link.
type Join struct {
	// Listen or Peer is given, not both: where to wait for the other, or where it waits. For the form see [JoinAddress].
	Listen, Peer string
	// Secret is known to both.
	Secret []byte
	// Listening, if not nil, is told the address to call.
	Listening func(addr string)
	// Joined, if not nil, is told when the other is there, before any event: the nodes of this job begin with first, of total in both. An
	// error ends the job.
	Joined func(first, total int) error
}

// JoinAddress checks and completes an address: [udp://|bare://|tcp://]HOST[:PORT].
func JoinAddress(s string) (string, error) { return join.ParseAddress(s) }

// patience is how long a caller waits for a listener.
const patience = 30 * time.Second

// trunk waits until the other rmemrun is there.
func (j *Join) trunk(nodes int, log hclog.Logger) (*join.Trunk, error) {
	config := join.Config{
		Secret: j.Secret, Nodes: nodes, MaxNodes: MaxNodes, Clock: atm.NewRealClock(), Log: log.Named("join"), Listening: j.Listening,
	}
	switch {
	case j.Listen != "" && j.Peer != "":
		return nil, fmt.Errorf("a job listens at %s or calls %s, not both", j.Listen, j.Peer)
	case j.Listen != "":
		config.Address = j.Listen
		return join.Listen(context.Background(), config)
	}
	config.Address = j.Peer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return join.Dial(ctx, config)
}

// A site is what the other rmemrun's messages are about.
type site struct{ r *run }

// Publish makes a segment known.
func (s site) Publish(node int, name string, r rmem.Record) rmem.Error {
	return s.r.directory.Publish(node, name, r)
}

// Withdraw makes it unknown.
func (s site) Withdraw(node int, name string) { s.r.directory.Withdraw(node, name) }

// Ended notes that the guest of a node of the other rmemrun's has ended.
func (s site) Ended(node int) {
	s.r.directory.Leave(node)
	s.r.over()
}

// Left takes a node of the other rmemrun's out of the job.
func (s site) Left(node int) {
	s.r.directory.Leave(node)
	for _, n := range s.r.nodes {
		n.rmem.PeerDown(node)
	}
}
