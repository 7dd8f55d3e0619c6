package join

import (
	"sync"

	"rmemrun/rmem"
)

// A Directory is that of a joined job: the one of this process, which has the segments of all nodes, and tells the peer of what nodes
// here publish.
type Directory struct {
	rmem.Directory
	trunk *Trunk
	mu    sync.Mutex // so that the peer is told in the order in which things happen
}

// Directory makes the directory of this process that of the job.
func (t *Trunk) Directory(local rmem.Directory) *Directory {
	return &Directory{Directory: local, trunk: t}
}

// Publish makes a segment of a node here known everywhere.
func (d *Directory) Publish(node int, name string, r rmem.Record) rmem.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.Directory.Publish(node, name, r); e != rmem.OK {
		return e
	}
	d.trunk.tell(message{kind: publish, node: uint16(node), name: name, record: r})
	return rmem.OK
}

// Withdraw makes it unknown everywhere.
func (d *Directory) Withdraw(node int, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Directory.Withdraw(node, name)
	d.trunk.tell(message{kind: withdraw, node: uint16(node), name: name})
}
