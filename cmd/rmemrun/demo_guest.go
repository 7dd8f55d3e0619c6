package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"rmemrun/guest/go/rmem"
)

// The guest of the demo is rmemrun itself, started as "rmemrun demo guest" on two nodes: node 0 writes, node 1 has the buffer.

const (
	demoSegment = "buffer"
	demoMessage = "Forty bytes: an instruction, and a cell."
	demoBytes   = len(demoMessage)
	demoWarmup  = 1000 // writes that are not looked at
	demoWrites  = 1000 // writes that are
)

func demoGuestCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "guest",
		Short:  "The guest that rmemrun demo runs",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			runtime.LockOSThread()
			debug.SetGCPercent(-1)
			guest := demoReceiver
			if rmem.Node() == 0 {
				guest = func() error { return demoSender(os.Stdout) }
			}
			if err := guest(); err != nil {
				return failed("the demo's guest on node %d: %w", rmem.Node(), err)
			}
			return nil
		},
	}
}

// demoSender writes the message many times into node 1's buffer. It prints for each write after the warm-up the time before
// and after, in nanoseconds of CLOCK_MONOTONIC.
func demoSender(w io.Writer) error {
	d, err := rmem.Import(demoSegment, 1, rmem.Write, rmem.Forever)
	if err != nil {
		return fmt.Errorf("import %q: %w", demoSegment, err)
	}
	message := []byte(demoMessage)
	var before, after [demoWarmup + demoWrites]int64
	for i := range before {
		before[i] = monotonic()
		err := d.Write(0, message, 0)
		after[i] = monotonic()
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := d.Fence(); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if err := d.Notify(0); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	out := bufio.NewWriter(w)
	for i := demoWarmup; i < len(before); i++ {
		fmt.Fprintln(out, before[i], after[i])
	}
	return out.Flush()
}

// demoReceiver exports the buffer and sleeps until node 0 has written.
func demoReceiver() error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("allocate the buffer: %w", err)
	}
	buffer := page[:demoBytes]
	seg, err := rmem.Export(demoSegment, buffer, rmem.Write)
	if err != nil {
		return fmt.Errorf("export %q: %w", demoSegment, err)
	}
	if _, err := seg.Wait(rmem.Forever); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if string(buffer) != demoMessage {
		return fmt.Errorf("the buffer holds %q", buffer)
	}
	return nil
}

// monotonic is the time of CLOCK_MONOTONIC, which is the same in all processes, in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Now().UnixNano() // no Linux is without the clock
	}
	return ts.Nano()
}
