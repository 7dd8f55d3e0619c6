package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"rmemrun/atm"
	"rmemrun/atm/capture"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

func (a *app) captureCommand() *cobra.Command {
	var lua bool
	c := &cobra.Command{
		Use:   "capture --lua",
		Short: "Print the dissector that shows captures in Wireshark",
		Long: `Print the Lua dissector with which Wireshark and tshark show the messages of
remote-memory instructions in the captures that "rmemrun --capture" writes.`,
		Example: `  rmemrun capture --lua > ~/.local/lib/wireshark/plugins/rmem.lua
  rmemrun -n 2 --capture - ./hello | wireshark -k -i -`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !lua {
				return usage("nothing to print: --lua is missing; captures are made by \"rmemrun --capture FILE PROG\"")
			}
			_, err := io.WriteString(a.stdout, capture.Lua)
			return err
		},
	}
	c.Flags().BoolVar(&lua, "lua", false, "print the dissector")
	return c
}

// A captureTarget is the value of --capture: FILE[:link=TYPE].
type captureTarget struct {
	file string // "-" is standard output
	link capture.Link
}

// captureOption is what looks like an option at the end of the value.
var captureOption = regexp.MustCompile(`:([a-z]+)=([^/:]*)$`)

func parseCaptureTarget(text string) (captureTarget, error) {
	t := captureTarget{file: text}
	if m := captureOption.FindStringSubmatch(text); m != nil {
		t.file = strings.TrimSuffix(text, m[0])
		if m[1] != "link" {
			return t, usage("--capture=%s: there is no option %q, only link=%s", text, m[1], strings.Join(capture.Links(), " and link="))
		}
		var err error
		if t.link, err = capture.ParseLink(m[2]); err != nil {
			return t, usage("--capture=%s: %w", text, err)
		}
		if captureOption.MatchString(t.file) {
			return t, usage("--capture=%s: link= is given once", text)
		}
	}
	if t.file == "" {
		return t, usage("--capture=%s: no file is named", text)
	}
	return t, nil
}

// A captureView writes the cells of a run to a capture.
type captureView struct {
	stdout bool // it takes standard output, which the guests then cannot have
	out    *os.File
	link   capture.Link
	w      *capture.Writer // nil: it has not begun
	first  int             // of the nodes
	ports  []string        // of the nodes, in their order
	inner  map[string]bool // links between switches: "west>south"
}

// captureView opens what a capture is written to, the value of --capture.
func (a *app) captureView(text string) (*captureView, error) {
	t, err := parseCaptureTarget(text)
	if err != nil {
		return nil, err
	}
	v := &captureView{stdout: t.file == "-", link: t.link}
	if v.stdout {
		if isTerminal(a.stdout) {
			return nil, usage("--capture=-: standard output is a terminal; pipe it to a program that reads captures: ... | wireshark -k -i -")
		}
		v.out, err = duplicate(a.stdout)
	} else {
		// Not os.Create, which opens a FIFO for reading too: then nobody would see that its reader has gone.
		v.out, err = os.OpenFile(t.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	}
	if err != nil {
		return nil, usage("--capture: %w", err)
	}
	return v, nil
}

// begin begins the capture of a number of nodes, the first of which has the number first, of a job with total nodes.
func (v *captureView) begin(first, nodes, total int) (err error) {
	v.first = first
	for i := range nodes {
		v.ports = append(v.ports, fmt.Sprint("node", first+i))
	}
	v.w, err = capture.NewWriter(v.out, capture.Config{
		Link: v.link, Start: time.Now(), Ports: v.ports,
		AAL5: func(port string, vc atm.VC) bool {
			if v.inner[port] { // a circuit has a pair of VCs there, control circuits too
				return vc.VCI&1 == 1
			}
			return carriesAAL5(vc, total)
		},
	})
	return err
}

// carriesAAL5 reports whether a circuit between a number of nodes does: the control circuits, and the upper VC of each descriptor
// (docs/protocol.md).
func carriesAAL5(vc atm.VC, nodes int) bool {
	first, user := rmem.ControlVCI(0), rmem.ControlVCI(0)+uint16(nodes)
	return vc.VCI >= first && (vc.VPI == 0 && vc.VCI < user || vc.VCI&1 == 1)
}

// duplicate opens a file again. A write to a pipe that nobody reads ends the program if the
// file is number 1 or 2, and is an error otherwise.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// beside makes an observer that the capture and another one share, which may be nil, and what is to be called when the job is done.
func (v *captureView) beside(observer func(*runtime.Event), done func() error) (func(*runtime.Event), func() error) {
	return func(e *runtime.Event) {
		if observer != nil {
			observer(e)
		}
		v.observe(e)
	}, func() error { return errors.Join(done(), v.close()) }
}

// links tells which links the job has.
func (v *captureView) links(t *runtime.Topology) {
	v.inner = map[string]bool{}
	for _, l := range t.Links {
		if slices.Contains(t.Switches, l.Ends[0]) && slices.Contains(t.Switches, l.Ends[1]) {
			v.inner[direction(l.Ends[0], l.Ends[1])] = true
			v.inner[direction(l.Ends[1], l.Ends[0])] = true
		}
	}
}

// direction is what the interface of one direction of a link is called.
func direction(from, to string) string { return from + ">" + to }

func (v *captureView) observe(e *runtime.Event) {
	if e.Kind == runtime.OnLink && e.Link.Cell != nil {
		port := direction(e.Link.From, e.Link.To)
		switch e.Link.What {
		case runtime.LinkSent:
			v.w.Cell(e.Time, port, capture.Out, e.Link.Cell, "")
		case runtime.LinkReceived:
			v.w.Cell(e.Time, port, capture.In, e.Link.Cell, "")
		case runtime.LinkDropped:
			v.w.Cell(e.Time, port, capture.In, e.Link.Cell, e.Link.Drop.String())
		}
	}
	if e.Kind != runtime.Network || e.Net.Cell == nil {
		return
	}
	port := v.ports[e.Node-v.first]
	switch e.Net.Kind {
	case rmem.Sent:
		v.w.Cell(e.Time, port, capture.Out, e.Net.Cell, "")
	case rmem.Received:
		v.w.Cell(e.Time, port, capture.In, e.Net.Cell, "")
	case rmem.Dropped:
		v.w.Cell(e.Time, port, capture.In, e.Net.Cell, e.Net.Reason.String())
	}
}

func (v *captureView) close() (err error) {
	if v.w != nil {
		err = v.w.Close()
	}
	if errClose := v.out.Close(); err == nil && errClose != nil {
		err = fmt.Errorf("writing the capture: %w", errClose)
	}
	return err
}
