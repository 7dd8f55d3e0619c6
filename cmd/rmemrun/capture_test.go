package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"rmemrun/atm"
	"rmemrun/atm/capture"
	"rmemrun/rmem"
	"rmemrun/runtime"
)

func TestParseCaptureTarget(t *testing.T) {
	for text, want := range map[string]captureTarget{
		"-":               {file: "-"},
		"a.pcapng":        {file: "a.pcapng"},
		"-:link=user0":    {file: "-", link: capture.USER0},
		"a:b:link=erf":    {file: "a:b"},
		"a:link=user0":    {file: "a", link: capture.USER0},
		"a:link=erf/b":    {file: "a:link=erf/b"},
		"dir:x=1/a":       {file: "dir:x=1/a"},
		"10:30:00.pcapng": {file: "10:30:00.pcapng"},
	} {
		got, err := parseCaptureTarget(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":link=erf", "a:link=", "a:link=ERF", "a:link=123", "a:form=erf", "a:link=erf:link=x", "a:link=erf:link=user0", "a:link=user0:link=user0", "a:link=x:link=erf"} {
		got, err := parseCaptureTarget(text)
		var s *statusError
		if !errors.As(err, &s) || s.status != statusUsage {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestCarriesAAL5(t *testing.T) {
	for vci, want := range map[uint16]bool{
		3: false, 5: false, 31: false, 32: true, 33: true, 34: true, 35: true /* unused */, 36: false, 37: true, 0xc000: false, 0xffff: true,
	} {
		if got := carriesAAL5(atm.VC{VCI: vci}, 3); got != want {
			t.Errorf("VCI %d among 3 nodes: %v", vci, got)
		}
	}
}

// The dissector has the names of operations and errors from no other place than the protocol has them.
func TestLuaNames(t *testing.T) {
	find := func(pattern string) map[string]string {
		table := regexp.MustCompile(`(?s)local ` + pattern + ` = \{(.*?)\n\}`).FindStringSubmatch(capture.Lua)
		if table == nil {
			t.Fatalf("no table %s", pattern)
		}
		names := map[string]string{}
		for _, m := range regexp.MustCompile(`\[(\d+)\] = "(\w+)"`).FindAllStringSubmatch(table[1], -1) {
			names[m[1]] = m[2]
		}
		return names
	}
	ops := find("OPS")
	for op := rmem.Op(0); op < 16; op++ {
		want := op.String()
		if want == "invalid" {
			want = ""
		}
		if got := ops[fmt.Sprint(uint8(op))]; got != want {
			t.Errorf("operation %d is %q, want %q", op, got, want)
		}
	}
	status := find("STATUS")
	for n := range 256 {
		want := rmem.Error(-n).Name()
		if n == 0 {
			want = "OK"
		}
		if strings.HasPrefix(want, "Error(") {
			want = "" // there is none
		}
		if got := status[fmt.Sprint(n)]; got != want {
			t.Errorf("status %d is %q, want %q", n, got, want)
		}
	}
}

// everyMessage is a guest that causes every message of the protocol, in cells and in blocks.
const everyMessage = `
#include <rmem.h>
static char box[200000], here[100000];
int main(void)
{
	if (rmem_node() > 1)
		return 0;
	if (rmem_node() == 1) {
		rmem_event event;
		rmem_seg s = rmem_export("box", box, sizeof box, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC);
		while (rmem_wait(s, &event, -1) == 0 && event.op != 12)
			;
		rmem_revoke(s);
		rmem_wait(rmem_export("end", box, 1, RMEM_READ), &event, -1); /* until node 0 has ended */
		return 0;
	}
	uint64_t old;
	rmem_desc d = rmem_import("box", 1, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC, -1);
	int bad = d < 0;
	bad |= rmem_write(d, 0, here, 40, 0);
	bad |= rmem_write(d, 4096, here, 26, RMEM_NOTIFY);
	bad |= rmem_write(d, 7, here, 3, 0);
	bad |= rmem_write(d, 8, here, sizeof here, RMEM_NOTIFY);
	bad |= rmem_read(d, 0, here, 40, 0);
	bad |= rmem_read(d, 0, here, 1, 0);
	bad |= rmem_read(d, 0, here, sizeof here, 0);
	bad |= rmem_cas(d, 8, 0, 1, &old);
	bad |= rmem_fadd(d, 8, 1, &old);
	bad |= rmem_swap(d, 8, 7, &old);
	bad |= rmem_notify(d, 8);
	bad |= rmem_fence(d);
	bad |= rmem_import("end", 1, RMEM_READ, -1) < 0;
	rmem_write(d, 0, here, 40, 0);
	bad |= rmem_fence(d) != RMEM_ESTALE;
	bad |= rmem_release(d);
	return bad;
}
`

// captured runs a guest with a capture and returns this.
func captured(t *testing.T, source string, nodes int, link string) []byte {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skipf("no guests here: %v", err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "a.c")
	if err := os.WriteFile(name, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "XDG_CACHE_HOME="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("rmemrun %v: %v\n%s", args, err, &stderr)
		}
		return out
	}
	run("cc", "-O2", "-o", filepath.Join(dir, "a"), name)
	return run("-n", fmt.Sprint(nodes), "--capture", "-:link="+link, filepath.Join(dir, "a"))
}

// tsharkJSON has tshark dissect a capture, and returns the values of fields, a map a packet.
func tsharkJSON(t *testing.T, data []byte, args ...string) []map[string][]string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed: captures are not judged")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rmem.lua"), []byte(capture.Lua), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", append([]string{"-n", "-r", "-", "-T", "json"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	var packets []struct {
		Source struct {
			Layers map[string][]string
		} `json:"_source"`
	}
	if err := json.Unmarshal(out, &packets); err != nil {
		t.Fatal(err)
	}
	var rows []map[string][]string
	for _, p := range packets {
		rows = append(rows, p.Source.Layers)
	}
	return rows
}

// What a guest does is in the capture, and Wireshark shows it as what it was, with nothing to complain of.
func TestCapturedMessages(t *testing.T) {
	data := captured(t, everyMessage, 3, "erf")
	var args []string
	for _, f := range []string{"frame.interface_name", "frame.packet_flags_direction", "atm.vpi", "atm.vci", "erf.types.type", "_ws.col.Info", "rmem.crc10.status", "_ws.expert.message", "frame.comment"} {
		args = append(args, "-e", f)
	}
	farewell := regexp.MustCompile(`disconnect|last AAL5 cell`)
	seen := map[string]int{} // messages that left a port, without circuit and number
	came := map[string]int{}
	for _, p := range tsharkJSON(t, data, append(args, "-X", "lua_script:rmem.lua")...) {
		info := p["_ws.col.Info"][0]
		if len(p["frame.comment"]) > 0 && farewell.MatchString(info) {
			continue // a node that has ended, or knows that the other has
		}
		if !strings.HasPrefix(info, p["atm.vpi"][0]+"/"+p["atm.vci"][0]+" ") {
			t.Errorf("%q does not begin with its circuit %s/%s", info, p["atm.vpi"][0], p["atm.vci"][0])
		}
		for _, m := range p["_ws.expert.message"] {
			if m != "Refused: ESTALE" {
				t.Errorf("%s: %s", info, m)
			}
		}
		for _, s := range p["rmem.crc10.status"] {
			if s != "correct" {
				t.Errorf("%s: CRC-10 %s", info, s)
			}
		}
		_, text, _ := strings.Cut(info, " ")
		if strings.HasPrefix(text, "#") {
			_, text, _ = strings.Cut(text, " ")
		}
		text = p["erf.types.type"][0] + " " + text
		if p["frame.packet_flags_direction"][0] == "0x00000002" {
			seen[p["frame.interface_name"][0]+" "+text]++
		} else {
			came[text]++
		}
	}
	for text, n := range map[string]int{
		"node0 3 write of 40 bytes at offset 0":                                                     2,
		"node0 3 write of 26 bytes at offset 4096, notify":                                          1,
		"node0 3 write of 3 bytes at offset 7":                                                      1,
		"node0 4 write of 65440 bytes at offset 8, the first of 100000":                             1,
		"node0 4 write of 34560 bytes at offset 65448, notify":                                      1,
		"node0 3 read of 40 bytes at offset 0":                                                      1,
		"node1 3 data of 40 bytes":                                                                  1,
		"node0 3 read of 1 byte at offset 0":                                                        1,
		"node1 3 data of 4 bytes":                                                                   1,
		"node0 3 read of 65440 bytes at offset 0":                                                   1,
		"node1 4 data of 65440 bytes":                                                               1,
		"node0 3 read of 34560 bytes at offset 65440":                                               1,
		"node1 4 data of 34560 bytes":                                                               1,
		"node0 3 cas of 8 bytes at offset 8, expected 0x0000000000000000, value 0x0000000000000001": 1,
		"node0 3 fadd of 8 bytes at offset 8, addend 0x0000000000000001":                            1,
		"node0 3 swap of 8 bytes at offset 8, value 0x0000000000000007":                             1,
		"node1 3 old value 0x0000000000000000":                                                      1,
		"node1 3 old value 0x0000000000000001":                                                      1,
		"node1 3 old value 0x0000000000000002":                                                      1,
		"node0 3 notification at offset 8":                                                          1,
		"node1 3 ack, refused: ESTALE":                                                              1,
	} {
		if seen[text] != n {
			t.Errorf("%q: %d times, want %d", text, seen[text], n)
		}
	}
	// What left one port came to another, but farewells.
	left := map[string]int{}
	for text, n := range seen {
		_, text, _ = strings.Cut(text, " ")
		left[text] += n
	}
	for text, n := range left {
		if came[text] > n || came[text] < n && !farewell.MatchString(text) {
			t.Errorf("%q: sent %d times, received %d times", text, n, came[text])
		}
	}
	if t.Failed() {
		for text, n := range seen {
			t.Logf("%d %s", n, text)
		}
	}
}

// Wireshark's own dissectors judge each header, each AAL3/4 cell and each AAL5 PDU of a run.
func TestCapturedVerdicts(t *testing.T) {
	verdicts := func(data []byte, name string, args ...string) (counts map[string]int) {
		if _, err := exec.LookPath("tshark"); err != nil {
			t.Skip("tshark is not installed: captures are not judged")
		}
		cmd := exec.Command("tshark", append([]string{"-n", "-r", "-", "-V"}, args...)...)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		counts = map[string]int{}
		for _, m := range regexp.MustCompile(name+`: 0x[0-9a-f]+ \(+ *\(?([a-z ]+)`).FindAllSubmatch(out, -1) {
			counts[string(m[1])]++
		}
		return counts
	}
	pdus := 0
	data := captured(t, everyMessage, 2, "erf")
	each(t, data, func(p []byte) {
		if p[8] == 4 {
			pdus++
		}
	})
	if got := verdicts(data, "AAL5 CRC"); pdus < 10 || len(got) != 1 || got["correct"] != pdus {
		t.Errorf("CRC-32 of %d PDUs: %v", pdus, got)
	}

	native := []string{"-o", `uat:user_dlts:"User 0 (DLT=147)","atm_oam_cell","0","","0",""`}
	cells, singles := 0, 0
	data = captured(t, everyMessage, 2, "user0")
	each(t, data, func(p []byte) {
		cells++
		if c := (*atm.Cell)(p); !carriesAAL5(c.VC(), 2) {
			singles++
		}
	})
	if got := verdicts(data, "Header Error Check", native...); cells < 1000 || len(got) != 1 || got["correct"] != cells {
		t.Errorf("HEC of %d cells: %v", cells, got)
	}
	// It looks at the cells of AAL5 too, in which there is no CRC-10.
	if got := verdicts(data, "CRC-10", append(native, "-Y", "!(atm.vci & 1) && atm.vci > 33")...); singles < 10 || len(got) != 1 || got["correct"] != singles {
		t.Errorf("CRC-10 of %d cells: %v", singles, got)
	}
}

// each reads the packets of a capture.
func each(t *testing.T, data []byte, visit func(packet []byte)) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(slices.Clone(p))
	}
}

// A reader that goes away ends the capture and not the run.
func TestCaptureBrokenPipe(t *testing.T) {
	if err := guestsRun(); err != nil {
		t.Skipf("no guests here: %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command("/proc/self/exe", "--capture", "-", "true")
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = w, &stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	err = cmd.Run()
	w.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(stderr.String(), "broken pipe") {
		t.Errorf("%v\n%s", err, &stderr)
	}
}

// Each direction of a link is an interface, and a cell that a link drops says why. Between switches a low even VCI is no control circuit's.
func TestCaptureOfLinks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "links.pcapng")
	v, err := (&app{}).captureView(file)
	if err != nil {
		t.Fatal(err)
	}
	v.links(&runtime.Topology{Switches: []string{"west", "south"}, Links: []runtime.Link{{Ends: [2]string{"west", "south"}}, {Ends: [2]string{"0", "west"}}}})
	if err := v.begin(0, 2, 2); err != nil {
		t.Fatal(err)
	}
	if !v.inner["south>west"] || v.inner["0>west"] {
		t.Errorf("links between switches: %v", v.inner)
	}
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VCI: 32}})
	for _, e := range []runtime.LinkEvent{
		{What: runtime.LinkSent, From: "west", To: "south", Cell: &c},
		{What: runtime.LinkDropped, From: "west", To: "south", Cell: &c, Drop: atm.DropLoss},
		{What: runtime.LinkFailed, From: "0", To: "west"},
	} {
		v.observe(&runtime.Event{Kind: runtime.OnLink, Link: &e})
	}
	if err := v.close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"west>south", "dropped: " + atm.DropLoss.String()} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the capture does not have %q", want)
		}
	}
	if bytes.Contains(b, []byte("0>west")) {
		t.Error("a link without cells is an interface")
	}
}
