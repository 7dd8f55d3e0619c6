package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rmemrun/guest/go/rmem"
)

// The measuring guest is rmemrun itself, started as "rmemrun bench guest …" on two
// nodes. Node 0 measures. Node 1 exports the segment, tells node 0 by a notification
// that it is ready, sleeps in wait, and answers every notification with one.

const (
	benchSegment     = "bench"
	benchSegmentSize = 1 << 20
)

// guestArgs are the arguments of the measuring guest.
type guestArgs struct {
	operation string
	sizes     []int
	count     int           // operations for each size, at most
	warmup    int           // operations before them that are not measured
	limit     time.Duration // time for each size after which it stops before count; 0: none
}

// list is the command line that benchGuestCommand reads.
func (a guestArgs) list() []string {
	sizes := make([]string, len(a.sizes))
	for i, n := range a.sizes {
		sizes[i] = strconv.Itoa(n)
	}
	return []string{"bench", "guest", a.operation, strings.Join(sizes, ","),
		strconv.Itoa(a.count), strconv.Itoa(a.warmup), a.limit.String()}
}

func parseGuestArgs(list []string) (a guestArgs, err error) {
	a.operation = list[0]
	for s := range strings.SplitSeq(list[1], ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > benchSegmentSize {
			return a, fmt.Errorf("size %q", s)
		}
		a.sizes = append(a.sizes, n)
	}
	if a.count, err = strconv.Atoi(list[2]); err != nil || a.count < 0 {
		return a, fmt.Errorf("count %q", list[2])
	}
	if a.warmup, err = strconv.Atoi(list[3]); err != nil || a.warmup < 0 {
		return a, fmt.Errorf("warmup %q", list[3])
	}
	if a.limit, err = time.ParseDuration(list[4]); err != nil {
		return a, fmt.Errorf("limit %q", list[4])
	}
	return a, nil
}

func benchGuestCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "guest OPERATION SIZE,… COUNT WARMUP LIMIT",
		Short:  "The guest that rmemrun bench measures with",
		Hidden: true,
		Args:   cobra.ExactArgs(5),
		RunE: func(_ *cobra.Command, list []string) error {
			args, err := parseGuestArgs(list)
			if err != nil {
				return wrongCall(err)
			}
			runtime.LockOSThread()
			debug.SetGCPercent(-1) // what a guest allocates here is little, and known
			run := answeringGuest
			if rmem.Node() == 0 {
				run = func() error { return measuringGuest(os.Stdout, args) }
			}
			if err := run(); err != nil {
				return failed("%w", err)
			}
			return nil
		},
	}
}

// guestSamples is what a guest measured with one size.
type guestSamples struct {
	total time.Duration // of all operations
	each  []int64       // nanoseconds
}

// measuringGuest is node 0. It writes to w, in little-endian 64-bit words, for each size the
// total, the number of operations, and the time of each.
func measuringGuest(w io.Writer, args guestArgs) error {
	own, err := rmem.Export(benchSegment, make([]byte, 8), rmem.Write)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d, err := rmem.Import(benchSegment, 1, rmem.Read|rmem.Write|rmem.Atomic, rmem.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	// From here on node 1 does nothing of itself.
	if _, err := own.Wait(rmem.Forever); err != nil {
		return fmt.Errorf("wait for node 1: %w", err)
	}
	buf := make([]byte, benchSegmentSize)
	for i := range buf {
		buf[i] = byte(i) // touched: no page is missing later
	}
	each := make([]int64, args.count)
	var out []byte
	for _, size := range args.sizes {
		operation, err := guestOperation(args.operation, d, own, buf[:size])
		if err != nil {
			return err
		}
		for range args.warmup {
			if err := operation(); err != nil {
				return fmt.Errorf("%s: %w", args.operation, err)
			}
		}
		n := 0
		start := time.Now()
		var last time.Duration
		for n < args.count && (args.limit == 0 || last < args.limit) {
			if err := operation(); err != nil {
				return fmt.Errorf("%s: %w", args.operation, err)
			}
			now := time.Since(start)
			each[n] = int64(now - last)
			last = now
			n++
		}
		if err := d.Fence(); err != nil {
			return fmt.Errorf("fence: %w", err)
		}
		out = binary.LittleEndian.AppendUint64(out, uint64(last))
		out = binary.LittleEndian.AppendUint64(out, uint64(n))
		for _, ns := range each[:n] {
			out = binary.LittleEndian.AppendUint64(out, uint64(ns))
		}
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("hand over what was measured: %w", err)
	}
	return nil
}

// guestOperation is what is measured, once.
func guestOperation(name string, d rmem.Desc, own rmem.Segment, buf []byte) (func() error, error) {
	var word uint64
	switch name {
	case "write", "block":
		return func() error { return d.Write(0, buf, 0) }, nil
	case "read":
		return func() error { return d.Read(0, buf, 0) }, nil
	case "cas":
		if len(buf) == 4 {
			return func() error {
				old, err := d.CAS32(0, uint32(word), uint32(word+1))
				word = next(word, uint64(old))
				return err
			}, nil
		}
		return func() error {
			old, err := d.CAS(0, word, word+1)
			word = next(word, old)
			return err
		}, nil
	case "fadd":
		if len(buf) == 4 {
			return func() error { _, err := d.FAdd32(0, 1); return err }, nil
		}
		return func() error { _, err := d.FAdd(0, 1); return err }, nil
	case "notify":
		return func() error {
			if err := d.Notify(0); err != nil {
				return err
			}
			_, err := own.Wait(rmem.Forever)
			return err
		}, nil
	}
	return nil, fmt.Errorf("no operation %q", name)
}

// next is what the word holds after a compare-and-swap that expected one value and found another or the same.
func next(expected, found uint64) uint64 {
	if found == expected {
		return found + 1
	}
	return found
}

// answeringGuest is node 1. It ends when node 0 has.
func answeringGuest() error {
	own, err := rmem.Export(benchSegment, make([]byte, benchSegmentSize), rmem.Read|rmem.Write|rmem.Atomic)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d, err := rmem.Import(benchSegment, 0, rmem.Write, rmem.Forever)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	what := "notify"
	for err = d.Notify(0); err == nil; {
		what = "wait"
		if _, err = own.Wait(rmem.Forever); err == nil {
			what, err = "notify", d.Notify(0)
		}
	}
	if err != rmem.EDOWN {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// readSamples reads what the measuring guest wrote.
func readSamples(raw []byte, sizes int) ([]guestSamples, error) {
	samples := make([]guestSamples, sizes)
	word := func() uint64 {
		v := binary.LittleEndian.Uint64(raw)
		raw = raw[8:]
		return v
	}
	for i := range samples {
		if len(raw) < 16 {
			return nil, fmt.Errorf("the measuring guest handed over %d sizes instead of %d", i, sizes)
		}
		samples[i].total = time.Duration(word())
		n := word()
		if n > uint64(len(raw)/8) {
			return nil, fmt.Errorf("the measuring guest announced %d operations and handed over %d", n, len(raw)/8)
		}
		samples[i].each = make([]int64, n)
		for k := range samples[i].each {
			samples[i].each[k] = int64(word())
		}
	}
	if len(raw) != 0 {
		return nil, fmt.Errorf("the measuring guest handed over %d bytes too many", len(raw))
	}
	return samples, nil
}
