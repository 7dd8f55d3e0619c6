package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rmemrun/atm"
	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

func (a *app) demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show one remote write, step by step",
		Long: `demo runs a guest that is part of rmemrun itself on two nodes and shows one write
of 40 bytes from node 0 into the memory of node 1: the instruction, the trap, what
was decoded, the cell, the deposit, and the time of each step. It needs neither a
compiler nor root.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.demo() },
	}
	c.AddCommand(demoGuestCommand())
	return c
}

// demo runs the guests and prints the write whose time was the median.
func (a *app) demo() error {
	// Where guest and rmemrun are on different CPUs, the time of a trap is that of waking the other one, which on virtual
	// machines differs from minute to minute.
	if _, err := pinProcess(""); err != nil {
		return failed("demo: %w", err)
	}
	clocks, out, err := os.Pipe()
	if err != nil {
		return failed("demo: make a pipe for the guest's times: %w", err)
	}
	defer clocks.Close()
	recorder := newDemoRecorder()
	job := &runtime.Job{
		Programs: []runtime.Program{{Path: "/proc/self/exe", Args: []string{"demo", "guest"}, Nodes: 2}},
		Stdout:   out, Stderr: a.stderr, Observer: recorder.observe, Log: a.log(),
	}
	type outcome struct {
		times [][2]int64
		err   error
	}
	read := make(chan outcome, 1)
	go func() {
		var o outcome
		o.times, o.err = readTimes(clocks)
		read <- o
	}()
	result, err := job.Run()
	out.Close()
	guest := <-read
	switch {
	case err != nil:
		return &statusError{status: result.Status, err: fmt.Errorf("demo: %w", err)}
	case result.Status != 0:
		return &statusError{status: result.Status, err: fmt.Errorf("demo: the guest on node %d ended with status %d", result.Node, result.Status)}
	case guest.err != nil:
		return failed("demo: read the guest's times: %w", guest.err)
	}
	write, err := recorder.median(guest.times)
	if err != nil {
		return failed("demo: %w", err)
	}
	return write.print(a.stdout)
}

// readTimes reads what demoSender prints.
func readTimes(r io.Reader) (times [][2]int64, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var t [2]int64
		if _, err := fmt.Sscan(lines.Text(), &t[0], &t[1]); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		times = append(times, t)
	}
	return times, lines.Err()
}

// A demoStage is a moment in the life of a write. The time of a stage is what has passed since the one before.
type demoStage int

const (
	stageBefore    demoStage = iota // the guest is about to execute the instruction
	stageTrap                       // its thread has stopped, and rmemrun knows
	stageDecode                     // the instruction is known
	stageSent                       // the cell leaves node 0
	stageReceived                   // it has come to node 1
	stageDeposited                  // the data is in the buffer
	stageReplied                    // the reply leaves node 1
	stageCompleted                  // node 0 knows the outcome
	stageResume                     // the thread goes on
	stageAfter                      // the guest executes what follows
	stages
)

// A demoWrite is one write as it was observed.
type demoWrite struct {
	at          [stages]time.Duration // in the job's time
	seen        [stages]bool
	tid         int
	pc          uint64
	code        []byte
	inst        decode.Instruction
	operands    [decode.FieldD + 1]uint64 // by decode.Field
	result      int64
	id          rmem.OpID
	cell, reply atm.Cell
}

// reach notes that the write has reached a stage.
func (w *demoWrite) reach(s demoStage, t time.Duration) {
	w.at[s], w.seen[s] = t, true
}

// A demoRecorder collects the writes of node 0 from the events of the job.
type demoRecorder struct {
	tag    uint64     // of the instruction under way at node 0
	next   *demoWrite // what is known of it
	writes []*demoWrite
	spare  []demoWrite // so that observing allocates nothing
	epoch  int64       // the time of CLOCK_MONOTONIC at which the job's time begins, in nanoseconds
}

func newDemoRecorder() *demoRecorder {
	const n = demoWarmup + demoWrites
	return &demoRecorder{next: new(demoWrite), writes: make([]*demoWrite, 0, n), spare: make([]demoWrite, n), epoch: math.MaxInt64}
}

// observe takes one event of the job.
func (r *demoRecorder) observe(e *runtime.Event) {
	w := r.next
	switch {
	case e.Kind == runtime.Network:
		r.network(w, e.Time, e.Net)
	case e.Node != 0:
	case e.Kind == runtime.Trap:
		r.tag = e.Tag
		w.tid, w.pc, w.code = e.TID, e.PC, append(w.code[:0], e.Code...)
		w.seen = [stages]bool{}
		w.reach(stageTrap, e.Time)
	case e.Kind == runtime.Decode:
		w.inst = e.Inst
		w.operands = [...]uint64{decode.FieldV: e.V, decode.FieldA: e.A, decode.FieldP: e.P, decode.FieldC: e.C, decode.FieldD: e.D}
		w.reach(stageDecode, e.Time)
	case e.Kind == runtime.Resume && w.inst.Op == decode.Write:
		w.result = e.Result
		w.reach(stageResume, e.Time)
		r.writes = append(r.writes, w)
		if len(r.spare) > 0 {
			r.next, r.spare = &r.spare[0], r.spare[1:]
		} else {
			r.next = new(demoWrite)
		}
	}
}

// network takes an event of the network. The write under way is known by its tag at node 0, by its operation at node 1.
func (r *demoRecorder) network(w *demoWrite, t time.Duration, e *rmem.Event) {
	switch {
	case e.Node == 0 && e.Tag == r.tag && e.Kind == rmem.Sent:
		w.id, w.cell = e.ID, *e.Cell
		w.reach(stageSent, t)
	case e.Node == 0 && e.Tag == r.tag && e.Kind == rmem.Completed:
		w.reach(stageCompleted, t)
		// An event is observed a moment after its time, so that the least difference of the clocks is the truest.
		r.epoch = min(r.epoch, monotonic()-int64(t))
	case e.Node == 1 && e.ID == w.id:
		switch e.Kind {
		case rmem.Received:
			w.reach(stageReceived, t)
		case rmem.Deposited:
			w.reach(stageDeposited, t)
		case rmem.Sent:
			w.reply = *e.Cell
			w.reach(stageReplied, t)
		}
	}
}

// median returns the write that took the guest the median time, among those of which it gives the times: the last ones.
func (r *demoRecorder) median(times [][2]int64) (*demoWrite, error) {
	if len(times) == 0 || len(times) > len(r.writes) {
		return nil, fmt.Errorf("the guest tells of %d writes, and %d were seen", len(times), len(r.writes))
	}
	writes := r.writes[len(r.writes)-len(times):]
	for i, w := range writes {
		w.reach(stageBefore, time.Duration(times[i][0]-r.epoch))
		w.reach(stageAfter, time.Duration(times[i][1]-r.epoch))
		for s, seen := range w.seen {
			if !seen {
				return nil, fmt.Errorf("write %d was not seen to reach stage %d of %d", i, s, stages)
			}
		}
	}
	writes = slices.Clone(writes)
	slices.SortFunc(writes, func(a, b *demoWrite) int { return cmp.Compare(a.total(), b.total()) })
	return writes[len(writes)/2], nil
}

// total is the time that the write took the guest.
func (w *demoWrite) total() time.Duration { return w.at[stageAfter] - w.at[stageBefore] }

// print prints the write.
func (w *demoWrite) print(out io.Writer) error {
	header, _ := w.cell.Header()
	reply, _ := w.reply.Header()
	ssm, err := atm.DecodeSSM(&w.cell)
	if err != nil {
		return failed("demo: the cell that node 0 sent: %w", err)
	}
	word, data := ssm.Payload[:4], ssm.Payload[4:]
	operation := binary.BigEndian.Uint32(word)
	payload := w.cell.Payload()
	trailer := binary.BigEndian.Uint16(payload[46:])
	var operands strings.Builder
	for _, o := range w.inst.Op.Operands() {
		fmt.Fprintf(&operands, " %s=%s", o.Name, o.Format(w.operands[o.Field]))
	}

	b := bufio.NewWriter(out)
	line := func(stage demoStage, node, name, format string, args ...any) {
		took := ""
		if stage > stageBefore {
			took = fmt.Sprintf("%.1f", microseconds(w.at[stage]-w.at[stage-1]))
		}
		fmt.Fprintf(b, "%6s  %-7s %-10s %s\n", took, node, name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(b, "Two nodes on one CPU, back to back on an emulated ATM link. Node 0 writes %d bytes into a\n", len(data))
	fmt.Fprintf(b, "buffer of node 1, %d times to warm up and %d times more. Of these, the median:\n\n", demoWarmup, demoWrites)
	fmt.Fprintf(b, "%6s\n", "µs")
	line(stageBefore, "node 0", "executes", "% x  at %#x: no processor knows it", w.code, w.pc)
	line(stageTrap, "", "trap", "SIGILL: the kernel stops thread %d, and tells rmemrun", w.tid)
	line(stageDecode, "", "decode", "%s%s", w.inst.Mnemonic(), operands.String())
	line(stageSent, "", "cell", "%d bytes, AAL3/4, a single segment message:", len(w.cell))
	line(stageBefore, "", "", "  % x    header      VPI %d, VCI %d, PT %d, HEC %#02x", w.cell[:5], header.VC.VPI, header.VC.VCI, header.PT, w.cell[4])
	line(stageBefore, "", "", "  % x             SAR header  ST %d (SSM), SN %d, MID %d: sequence number %d", payload[:2], payload[0]>>6, ssm.SN, ssm.MID, uint(ssm.MID)<<4|uint(ssm.SN))
	line(stageBefore, "", "", "  % x       operation   %v, offset %d", word, rmem.Op(operation>>28), operation&(1<<27-1))
	line(stageBefore, "", "", "  % x …  %d bytes    %q", data[:5], len(data), data)
	line(stageBefore, "", "", "  % x             SAR trailer LI %d, CRC-10 %#03x", payload[46:], trailer>>10, trailer&0x3ff)
	line(stageReceived, "node 1", "received", "the HEC is right, and a circuit of node 1 has this VCI")
	line(stageDeposited, "", "deposit", "CRC-10, sequence, rights and bounds are right: the bytes are in the buffer")
	line(stageReplied, "", "reply", "a cell on VCI %d; node 1's program has not run", reply.VC.VCI)
	line(stageCompleted, "node 0", "completed", "the reply has come")
	line(stageResume, "", "resume", "with result %d", w.result)
	line(stageAfter, "", "goes on", "at %#x", w.pc+uint64(w.inst.Len))
	fmt.Fprintf(b, "%6s\n", "────")
	fmt.Fprintf(b, "%6.1f  by the guest's clock, with the demo looking on; rmemrun bench write measures without\n", microseconds(w.total()))
	fmt.Fprintf(b, "%6s  in 1993, on workstations joined by ATM (Thekkath, Levy and Lazowska)\n", "30  ")
	return b.Flush()
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
