package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"rmemrun/atm"
	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

// demoEvents plays the events of one write, that begins at the given time and takes a microsecond for each stage, to the
// recorder.
func demoEvents(t *testing.T, r *demoRecorder, tag uint64, at time.Duration) {
	t.Helper()
	inst, err := decode.AMD64([]byte{0x0f, 0xb9, 0x9c, 0x3e, 0x00, 0x06, 0x0d, 0x5a})
	if err != nil {
		t.Fatal(err)
	}
	cell := new(atm.Cell)
	cell.SetHeader(atm.Header{VC: atm.VC{VCI: 34}})
	if err := atm.EncodeSSM(cell, 9, 116, []byte{0x10, 0, 0, 24}, []byte(demoMessage)); err != nil {
		t.Fatal(err)
	}
	id := rmem.OpID{VCI: 34, Seq: tag}
	e := runtime.Event{Time: at, Kind: runtime.Trap, TID: 4711, Tag: tag, PC: 0x1000, Code: []byte{0x0f, 0xb9, 0x9c, 0x3e, 0x00, 0x06, 0x0d, 0x5a}}
	emit := func() {
		e.Time += time.Microsecond
		r.observe(&e)
	}
	emit()
	e.Kind, e.Inst = runtime.Decode, inst
	e.V, e.A, e.P, e.C = 0x2000, 24, 7, 40
	emit()
	e.Kind = runtime.Network
	for _, net := range []rmem.Event{
		{Kind: rmem.Sent, Node: 0, Tag: tag, ID: id, Cell: cell},
		{Kind: rmem.Received, Node: 1, ID: id, Cell: cell},
		{Kind: rmem.Deposited, Node: 1, ID: id},
		{Kind: rmem.Sent, Node: 1, ID: id, Cell: cell},
		{Kind: rmem.Received, Node: 0, Tag: tag, ID: id, Cell: cell},
		{Kind: rmem.Completed, Node: 0, Tag: tag, ID: id},
	} {
		e.Net = &net
		if net.Node == 0 && net.Kind == rmem.Received { // of no stage
			r.observe(&e)
			continue
		}
		emit()
	}
	e.Kind = runtime.Resume
	emit()
}

func TestDemoMedian(t *testing.T) {
	r := newDemoRecorder()
	for i := range uint64(4) {
		demoEvents(t, r, i+1, time.Duration(i)*time.Second)
	}
	r.epoch = 1000 // what the clocks of the test would say is of no use
	times := make([][2]int64, 3)
	for i, took := range []time.Duration{30, 70, 40} { // of the last three writes, in microseconds
		began := r.epoch + int64(time.Duration(i+1)*time.Second)
		times[i] = [2]int64{began, began + int64(took*time.Microsecond)}
	}
	w, err := r.median(times)
	if err != nil {
		t.Fatal(err)
	}
	if w.total() != 40*time.Microsecond || w.at[stageBefore] != 3*time.Second {
		t.Errorf("the median took %v and began at %v", w.total(), w.at[stageBefore])
	}

	var out bytes.Buffer
	if err := w.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `
    µs
        node 0  executes   0f b9 9c 3e 00 06 0d 5a  at 0x1000: no processor knows it
   1.0          trap       SIGILL: the kernel stops thread 4711, and tells rmemrun
   1.0          decode     write desc=7 offset=24 source=0x2000 length=40
   1.0          cell       53 bytes, AAL3/4, a single segment message:
                             00 00 02 20 9f    header      VPI 0, VCI 34, PT 0, HEC 0x9f
                             e4 74             SAR header  ST 3 (SSM), SN 9, MID 116: sequence number 1865
                             10 00 00 18       operation   write, offset 24
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("the write is shown as\n%s\nwant in it%s", out.String(), want)
	}
	for _, want := range []string{
		"\n   1.0          resume     with result 0\n",
		"\n  32.0          goes on    at 0x1008\n",
		"\n  40.0  by the guest's clock",
		"\n  30    in 1993",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the write is shown as\n%s\nwant in it%s", out.String(), want)
		}
	}

	if _, err := r.median(make([][2]int64, 5)); err == nil {
		t.Error("the median of more writes than were seen was found")
	}
	if _, err := r.median(nil); err == nil {
		t.Error("the median of no writes was found")
	}
	r.writes[3].seen[stageDeposited] = false
	if _, err := r.median(times); err == nil {
		t.Error("a write that was not deposited passed")
	}
}

func TestReadDemoTimes(t *testing.T) {
	times, err := readTimes(strings.NewReader("10 20\n30 45\n"))
	if err != nil || len(times) != 2 || times[1] != [2]int64{30, 45} {
		t.Errorf("the times are %v, error %v", times, err)
	}
	for _, bad := range []string{"10\n", "a b\n", "\n"} {
		if _, err := readTimes(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read as times", bad)
		}
	}
}
