// Package runtime runs jobs: guests on emulated nodes that are joined by a network. It is where the guests' processes
// (package trap) and remote memory (package rmem, on package atm) meet.
//
//	Job.Run ──> node 0: trap.Engine ──> trap.Handler (handler.go) ──> rmem.Space ──> rmem.Node
//	            node 1: …                                                              │    ▲
//	            …                                                                      ▼    │
//	                                        rmem.Directory (directory.go)    rmem.Network (fabric.go)
//
// Each node's engine runs on a goroutine of its own, locked to an OS thread. It calls the handler for each instruction that its
// guest executes; the handler gives the operands to rmem, whose cells reach the other nodes' memory by calls, and
// the results back: a remote write is one call down and back on that thread. An operation that is not over when the
// call returns, such as a wait, puts the guest's thread to sleep, and the handler returns, so that the guest's other threads go on;
// when the operation's Wake has made the engine call the handler again, it looks whether the operation is over.
//
// A node's life: its guest starts; the guest's last process ends; the directory forgets what it exported; its memory is closed;
// the other nodes are told. The first guest that fails ends the others.
//
// # Locks
//
// run.mu guards how the job ends and is held for assignments only. fabric.mu and directory.mu guard their maps; a
// circuit is connected in an atm.Switch, and the counters of its policers and shapers are read, with fabric.mu held, and watchers are
// woken without directory.mu. stream.mu is held while the observer runs: events come one at a time, and the observer must not call into the job; and
// so is testimony.mu while the witness does. The last four may
// be taken with locks of rmem held, and nothing of rmem that locks is called with one of them held.
package runtime
