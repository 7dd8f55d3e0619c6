package runtime

import (
	"fmt"
	"testing"

	"rmemrun/atm"
	"rmemrun/rmem"
)

var _ rmem.FrameNetwork = (*port)(nil)

// A frameRecorder also takes PDUs whole.
type frameRecorder struct {
	recorder
	frames []string
}

func (r *frameRecorder) ReceiveFrame(f *atm.Frame) {
	_, err := f.Open(atm.MaxPDU)
	r.frames = append(r.frames, fmt.Sprint(f.VC, f.Cells(), len(f.Body), err))
}

// Where all links are links in memory, a PDU arrives whole, on the VC on which its cells would, and links and switches count these.
func TestFramesInMemory(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5} {
		f, err := newFabric(fabricConfig{topology: DefaultTopology(nodes), memory: true})
		if err != nil {
			t.Fatal(err)
		}
		recorders := make([]*frameRecorder, nodes)
		for i := range recorders {
			recorders[i] = new(frameRecorder)
			f.attach(i, recorders[i])
		}
		count := func() (cells uint64) {
			for _, l := range (&NetworkMonitor{fabric: f}).Report(false).Links {
				cells += l.Ways[0].Delivered + l.Ways[1].Delivered
			}
			for _, s := range (&NetworkMonitor{fabric: f}).Report(false).Switches {
				cells += s.Switched
			}
			return cells
		}
		for from := range nodes {
			for to := range nodes {
				local, remote, err := f.ports[from].Open(to)
				if err != nil {
					t.Fatal(err)
				}
				if !f.ports[from].Frames(local) || !f.ports[to].Frames(remote) {
					t.Errorf("%d nodes, from %d to %d: no frames", nodes, from, to)
				}
				local.VCI++
				remote.VCI++
				var frame atm.Frame
				if err := frame.Make(local, 0, make([]byte, 24), make([]byte, 5000)); err != nil {
					t.Fatal(err)
				}
				start := count()
				frame.Cut(receiverFunc(f.ports[from].Send))
				counted := count() - start
				if got := len(recorders[to].cells); got != frame.Cells() {
					t.Fatalf("%d nodes, from %d to %d: %d cells arrived, want %d", nodes, from, to, got, frame.Cells())
				}
				recorders[to].cells = nil

				start = count()
				f.ports[from].SendFrame(&frame)
				if got := count() - start; got != counted {
					t.Errorf("%d nodes, from %d to %d: %d cells were counted, want %d", nodes, from, to, got, counted)
				}
				want := fmt.Sprint(remote, 105, 5000, error(nil))
				if got := recorders[to].frames; len(got) != 1 || got[0] != want || len(recorders[to].cells) != 0 {
					t.Errorf("%d nodes, from %d to %d: %d cells and the frames %q arrived, want %q", nodes, from, to, len(recorders[to].cells), got, want)
				}
				recorders[to].frames = nil
			}
		}
		f.close()
	}
}

type receiverFunc func(c *atm.Cell)

func (r receiverFunc) Receive(c *atm.Cell) { r(c) }

// Where something is to be seen of cells, they are sent: they take time, are observed, or have a contract.
func TestNoFrames(t *testing.T) {
	shaped := DefaultTopology(2)
	shaped.Contracts = []Contract{{Shape: 10, Traffic: atm.Traffic{PCR: 1e6}}}
	for name, config := range map[string]fabricConfig{
		"links that take time": {topology: DefaultTopology(2)},
		"an observer":          {topology: DefaultTopology(2), memory: true, events: new(stream)},
		"taps":                 {topology: DefaultTopology(2), memory: true, taps: true},
		"contracts":            {topology: shaped, memory: true},
	} {
		f, err := newFabric(config)
		if err != nil {
			t.Fatal(name, err)
		}
		f.attach(0, new(frameRecorder))
		f.attach(1, new(frameRecorder))
		local, _, err := f.ports[0].Open(1)
		if err != nil {
			t.Fatal(name, err)
		}
		if f.ports[0].Frames(local) {
			t.Errorf("%s: frames are sent", name)
		}
		f.close()
	}
}

// While an alarm waits for user cells, they are seen.
func TestFramesEndAlarms(t *testing.T) {
	f, err := newFabric(fabricConfig{topology: DefaultTopology(2), memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	r := new(frameRecorder)
	f.attach(0, new(frameRecorder))
	f.attach(1, r)
	local, _, err := f.ports[0].Open(1)
	if err != nil {
		t.Fatal(err)
	}
	local.VCI++
	var frame atm.Frame
	if err := frame.Make(local, 0, nil, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	f.ports[1].alarmed.Add(1)
	f.ports[0].SendFrame(&frame)
	f.ports[1].alarmed.Add(-1)
	if len(r.frames) != 0 || len(r.cells) != frame.Cells() {
		t.Errorf("%d frames and %d cells arrived, want cells", len(r.frames), len(r.cells))
	}
}
