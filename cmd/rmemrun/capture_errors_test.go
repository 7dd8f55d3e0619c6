package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"rmemrun/atm"
	"rmemrun/runtime"
)

// erfAAL5 is the type of an ERF record of an AAL5 PDU.
const erfAAL5 = 4

// A judged packet is a record of a capture, with what Wireshark's own dissectors say of its checksums.
type judged struct {
	atm.Cell // of a capture that keeps the HEC

	where   string // the link's direction, "s0>s1"
	in      bool   // it has come out of the link
	dropped string // why it was discarded, as the comment says
	hec     string // "correct", "error in bit 12", "uncorrectable error"
	crc10   string // "correct", "incorrect"; of what is no AAL3/4 cell, too
	pdu     bool   // it is an AAL5 PDU
	crc32   string // "correct", "incorrect"; of AAL5 PDUs, "" of those whose length is impossible
}

// judge reads a capture and tshark's verdicts on it.
func judge(t *testing.T, file string, args ...string) []judged {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	var all []judged
	for {
		p, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		port, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		j := judged{where: port.Name, in: options.Flags.Direction == pcapgo.NgEpbFlagDirectionInbound}
		if len(p) == atm.CellSize {
			j.Cell = atm.Cell(p)
		} else {
			j.pdu = p[8] == erfAAL5
		}
		for _, c := range options.Comments {
			if why, ok := strings.CutPrefix(c, "dropped: "); ok {
				j.dropped = why
			}
		}
		all = append(all, j)
	}
	cmd := exec.Command("tshark", append([]string{"-n", "-r", file, "-V"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	frames := strings.Split("\n"+string(out), "\nFrame ")[1:]
	if len(frames) != len(all) {
		t.Fatalf("tshark sees %d packets, there are %d", len(frames), len(all))
	}
	verdict := func(frame, name string) string { // what stands in brackets behind a name and its number
		_, rest, found := strings.Cut(frame, name+": 0x")
		if !found {
			return ""
		}
		line, _, _ := strings.Cut(rest, "\n")
		_, text, _ := strings.Cut(line, "(")
		text, _, _ = strings.Cut(strings.Trim(text, "( )"), ",")
		return text
	}
	for i, f := range frames {
		all[i].hec, all[i].crc10 = verdict(f, "Header Error Check"), verdict(f, "CRC-10")
		all[i].crc32 = verdict(f, "AAL5 CRC")
	}
	return all
}

// erroneous runs everyMessage over a line of two switches whose trunk turns bits, with a capture of each form, and returns the files and what
// the network says at the end.
func erroneous(t *testing.T) (native, erf string, report runtime.NetworkReport) {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skipf("no guests here: %v", err)
	}
	for _, program := range []string{"cc", "tshark"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: captures are not judged", program)
		}
	}
	dir := t.TempDir()
	source, guest := filepath.Join(dir, "a.c"), filepath.Join(dir, "a")
	if err := os.WriteFile(source, []byte(everyMessage), 0o644); err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("/proc/self/exe", "cc", "-O2", "-o", guest, source)
	cc.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "XDG_CACHE_HOME="+dir)
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	top, err := runtime.BuiltinTopology("line", 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == "s0-s1" {
			for w := range l.Ways {
				if err := runtime.ParseWay("header-errors=1e-4,payload-errors=8e-6", &l.Ways[w]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	native, erf = filepath.Join(dir, "native.pcapng"), filepath.Join(dir, "erf.pcapng")
	var views []*captureView
	for _, target := range []string{native + ":link=user0", erf} {
		v, err := (&app{}).captureView(target)
		if err != nil {
			t.Fatal(err)
		}
		v.links(top)
		if err := v.begin(0, 2, 2); err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
	}
	var monitor *runtime.NetworkMonitor
	job := &runtime.Job{
		Programs: []runtime.Program{{Path: guest, Nodes: 2}}, Topology: top, Seed: 1, LinkCells: true, Stderr: os.Stderr,
		Monitor: func(m *runtime.NetworkMonitor) { monitor = m },
		Observer: func(e *runtime.Event) {
			for _, v := range views {
				v.observe(e)
			}
		},
	}
	result, err := job.Run()
	if err != nil || result.Status != 0 {
		t.Fatalf("status %d, %v", result.Status, err)
	}
	for _, v := range views {
		if err := v.close(); err != nil {
			t.Fatal(err)
		}
	}
	return native, erf, monitor.Report(false)
}

// A trunk turns bits by a seed. Of each cell that has come out of it, Wireshark's verdicts on HEC and CRC-10 are those of the bits that
// differ from when it was put in, its verdicts on the CRC-32 of PDUs follow from those, the switch behind has discarded just the cells with a wrong
// header, and the link has counted as many damaged cells as there are.
func TestCapturedErrors(t *testing.T) {
	native, erf, report := erroneous(t)
	cells := judge(t, native, "-o", `uat:user_dlts:"User 0 (DLT=147)","atm_oam_cell","0","","0",""`)
	pdus := judge(t, erf)
	for _, where := range []string{"s0>s1", "s1>s0"} {
		var sent, received, discarded []judged
		for _, c := range cells {
			switch {
			case c.where != where:
			case !c.in:
				sent = append(sent, c)
			case c.dropped == "":
				received = append(received, c)
			default:
				discarded = append(discarded, c)
			}
		}
		if len(received) < 1000 || len(received) > len(sent) {
			t.Fatalf("%s: %d cells were put in and %d came out", where, len(sent), len(received))
		}
		headers, payloads := 0, 0
		dirty, short, partly := map[atm.VC]bool{}, map[atm.VC]bool{}, map[atm.VC]bool{} // the PDU that is under way; partly: some of it has arrived
		var wantPDUs []string                                                           // "short" is anything but correct
		var wantDiscarded []atm.Cell
		for k, got := range received {
			was := sent[k]
			if was.hec != "correct" {
				t.Errorf("%s: cell %d was put in with the HEC %q", where, k, was.hec)
			}
			vc, aal5 := was.VC(), was.VC().VCI&1 == 1
			header, payload := distance(was.Cell[:5], got.Cell[:5]), distance(was.Cell[5:], got.Cell[5:])
			switch {
			case header == 0 && got.hec != "correct",
				header == 1 && !strings.HasPrefix(got.hec, "error in bit"),
				header == 2 && got.hec != "uncorrectable error", // the code has distance 4
				header > 2 && got.hec == "correct":
				t.Errorf("%s: cell %d has %d wrong bits in its header, and the HEC is %q", where, k, header, got.hec)
			}
			if header > 0 {
				headers++
				if was.PT().User() { // of a PDU of which no cell arrives nothing is missed
					short[vc] = !was.PT().End() || partly[vc]
				}
				wantDiscarded = append(wantDiscarded, got.Cell)
			}
			if payload > 0 {
				payloads++
			}
			switch {
			case aal5 && got.hec == "correct" && was.PT().User():
				dirty[vc], partly[vc] = dirty[vc] || payload > 0, !was.PT().End()
				if was.PT().End() {
					want := verdictOf(!dirty[vc])
					if short[vc] || payload > 0 { // the length may be wrong, too, and then tshark says nothing of the CRC
						want = "short"
					}
					wantPDUs = append(wantPDUs, want)
					dirty[vc], short[vc] = false, false
				}
			case !aal5 && got.crc10 != verdictOf(payload == 0):
				t.Errorf("%s: cell %d has %d wrong bits in its payload, and the CRC-10 is %q", where, k, payload, got.crc10)
			}
		}
		if headers < 5 || payloads < 5 {
			t.Errorf("%s: of %d cells %d were damaged in the header and %d in the payload: nothing was tested", where, len(received), headers, payloads)
		}
		var gotPDUs []string
		for _, p := range pdus {
			if p.where != where || !p.in || !p.pdu {
				continue
			}
			got := p.crc32
			if k := len(gotPDUs); k < len(wantPDUs) && wantPDUs[k] == "short" && got != "correct" {
				got = "short"
			}
			gotPDUs = append(gotPDUs, got)
		}
		if len(gotPDUs) != len(wantPDUs) {
			t.Errorf("%s: there are %d PDUs, want %d", where, len(gotPDUs), len(wantPDUs))
		}
		for k := range min(len(gotPDUs), len(wantPDUs)) {
			if gotPDUs[k] != wantPDUs[k] {
				t.Fatalf("%s: the verdict on PDU %d of %d is %q, want %q", where, k, len(wantPDUs), gotPDUs[k], wantPDUs[k])
			}
		}
		if !strings.Contains(fmt.Sprint(wantPDUs), "incorrect") || !strings.Contains(fmt.Sprint(wantPDUs), "short") || !strings.Contains(fmt.Sprint(wantPDUs), " correct") {
			t.Errorf("%s: the PDUs are %v: nothing was tested", where, wantPDUs)
		}
		if len(discarded) != len(wantDiscarded) {
			t.Errorf("%s: %d cells were discarded, want the %d with a wrong header", where, len(discarded), len(wantDiscarded))
		} else {
			for k, c := range discarded {
				if c.Cell != wantDiscarded[k] || c.dropped != "hec" {
					t.Errorf("%s: discarded because of %q was the cell % x, want % x because of hec", where, c.dropped, c.Cell[:5], wantDiscarded[k][:5])
				}
			}
		}
		// Cells that were still under way at the end may have been damaged, too.
		under := len(sent) - len(received)
		for _, l := range report.Links {
			for _, w := range l.Ways {
				if w.From+">"+w.To != where {
					continue
				}
				for name, n := range map[string]int{"header": headers, "payload": payloads} {
					if got := int(w.Faults[name]); got < n || got > n+under {
						t.Errorf("%s: the link says that %d cells were damaged in the %s, want %d", where, got, name, n)
					}
				}
			}
		}
	}
}

// distance is in how many bits two pieces of a cell differ.
func distance(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// verdictOf is tshark's word.
func verdictOf(right bool) string {
	if right {
		return "correct"
	}
	return "incorrect"
}
