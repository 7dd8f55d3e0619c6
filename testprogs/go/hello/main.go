// Hello is the smallest remote write, in Go: each node writes 40 bytes, one cell,
// into a buffer of the next node, and prints what the node before it wrote into its
// own.
//
//	go build -o hello ./testprogs/go/hello && rmemrun -n 2 ./hello
package main

import (
	"bytes"
	"fmt"
	"os"

	"rmemrun/guest/go/rmem"
)

func main() {
	if err := hello(); err != nil {
		fmt.Fprintf(os.Stderr, "node %d: %v\n", rmem.Node(), err)
		os.Exit(1)
	}
}

func hello() error {
	me := rmem.Node()
	next := (me + 1) % rmem.Nodes()

	// Here is a buffer that others may write to.
	greeting := make([]byte, 40)
	seg, err := rmem.Export("greeting", greeting, rmem.Write)
	if err != nil {
		return fmt.Errorf("export greeting: %w", err)
	}

	// There is the buffer of the next node. Wait until it is exported.
	desc, err := rmem.Import("greeting", next, rmem.Write, rmem.Forever)
	if err != nil {
		return fmt.Errorf("import greeting: %w", err)
	}

	// Write to it, and wake its owner.
	message := make([]byte, 40)
	copy(message, fmt.Sprintf("hello, node %d, from node %d", next, me))
	if err := desc.Write(0, message, rmem.Notify); err != nil {
		return fmt.Errorf("write: %w", err)
	}

	// Sleep until somebody has written here.
	if _, err := seg.Wait(rmem.Forever); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	fmt.Printf("node %d: %q\n", me, bytes.TrimRight(greeting, "\x00"))

	// Do not leave before the own write has arrived, or its error has.
	if err := desc.Fence(); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}
