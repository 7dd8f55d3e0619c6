package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rmemrun/runtime"
)

// A joinedRun is an rmemrun that is one of two.
type joinedRun struct {
	cmd            *exec.Cmd
	stdout, stderr syncBuffer
}

// A syncBuffer may be read while a process writes to it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startJoined starts rmemrun, within a network namespace if one is named.
func startJoined(t *testing.T, namespace string, args ...string) *joinedRun {
	t.Helper()
	words := append([]string{"rmemrun"}, args...)
	if namespace != "" {
		words = append([]string{"ip", "netns", "exec", namespace}, words...)
	}
	r := &joinedRun{cmd: exec.Command(words[0], words[1:]...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		if t.Failed() {
			t.Logf("%v:\n%s%s", words, &r.stdout, &r.stderr)
		}
	})
	return r
}

// wait waits for the end and returns the exit status.
func (r *joinedRun) wait(t *testing.T) int {
	t.Helper()
	late := time.AfterFunc(time.Minute, func() { _ = r.cmd.Process.Kill() })
	defer late.Stop()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

var waitingAt = regexp.MustCompile(`waiting at (\S+) for`)

// address is where a run listens.
func (r *joinedRun) address(t *testing.T) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if m := waitingAt.FindStringSubmatch(r.stderr.String()); m != nil {
			return m[1]
		}
		if time.Now().After(end) {
			t.Fatal("it does not listen")
		}
	}
}

// buildGuest compiles a guest of testprogs.
func buildGuest(t *testing.T, name string) string {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	program := filepath.Join(t.TempDir(), filepath.Base(name))
	out, err := exec.Command("rmemrun", "cc", "-O2", "-o", program, "../../testprogs/"+name+".c").CombinedOutput()
	if err != nil {
		t.Fatalf("rmemrun cc: %v\n%s", err, out)
	}
	return program
}

// Guests of two rmemruns write to each other and count at each other; nodes of each do so among themselves, too.
func TestJoinedGuests(t *testing.T) {
	program := buildGuest(t, "alltoall")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"udp", "bare", "tcp"} {
		t.Run(form, func(t *testing.T) {
			capture := filepath.Join(t.TempDir(), "cells.pcapng")
			a := startJoined(t, "", "--secret-file", secret, "--listen", form+"://127.0.0.1:0", "-n", "2", program)
			b := startJoined(t, "", "--secret-file", secret, "--peer", a.address(t), "--capture", capture, "-n", "2", program)
			allRight(t, a, b)
			data, err := os.ReadFile(capture)
			if err != nil {
				t.Fatal(err)
			}
			for _, port := range []string{"node2", "node3"} {
				if !bytes.Contains(data, []byte(port)) {
					t.Errorf("the caller's capture has no port %s", port)
				}
			}
			allShown(t, capture)
		})
	}
}

// allShown has tshark list the capture of one of two joined runs: our dissector has shown every packet, on circuits of all virtual paths.
func allShown(t *testing.T, capture string) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Log("tshark is not installed: the capture is not judged")
		return
	}
	lua, err := exec.Command("rmemrun", "capture", "--lua").Output()
	if err != nil {
		t.Fatal(err)
	}
	dissector := filepath.Join(t.TempDir(), "rmem.lua")
	if err := os.WriteFile(dissector, lua, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", "-n", "-r", capture, "-X", "lua_script:"+dissector, "-o", `gui.column.format:"Protocol","%p","Info","%i"`)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	packet := regexp.MustCompile(`^\s*(?:RMEM|ATM) ([0-9]+)/[0-9]+ `)
	packets := map[string]int{} // by VPI
	for line := range strings.Lines(string(out)) {
		m := packet.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("a packet is shown as %q", line)
			return
		}
		packets[m[1]]++
	}
	for _, vpi := range []string{"0", "1", "2", "3"} {
		if packets[vpi] == 0 {
			t.Errorf("there is no packet of VPI %s: there are, by VPI, %v", vpi, packets)
		}
	}
}

// allRight waits for two runs of two alltoall nodes each.
func allRight(t *testing.T, a, b *joinedRun) {
	t.Helper()
	for i, r := range []*joinedRun{a, b} {
		if status := r.wait(t); status != 0 {
			t.Errorf("status %d", status)
		}
		for node := 2 * i; node < 2*i+2; node++ {
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^node %d: .* all right`, node)).MatchString(r.stdout.String()) {
				t.Errorf("node %d has not said that all is right", node)
			}
		}
	}
}

// Two machines, as near as one can have them: two network namespaces with a cable between them.
func TestJoinedNamespaces(t *testing.T) {
	program := buildGuest(t, "alltoall")
	if os.Getuid() != 0 {
		t.Skip("network namespaces are made by root only")
	}
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
		return nil
	}
	tag := fmt.Sprint(os.Getpid())
	here, there := "rmema"+tag, "rmemb"+tag
	for _, ns := range []string{here, there} {
		if err := ip("netns", "add", ns); err != nil {
			t.Skipf("no network namespaces here: %v", err)
		}
		t.Cleanup(func() { _ = ip("netns", "del", ns) })
	}
	if err := ip("link", "add", "va"+tag, "netns", here, "type", "veth", "peer", "name", "vb"+tag, "netns", there); err != nil {
		t.Skipf("no cable between them: %v", err)
	}
	for _, end := range [][3]string{{here, "va" + tag, "192.0.2.1"}, {there, "vb" + tag, "192.0.2.2"}} {
		for _, args := range [][]string{
			{"-n", end[0], "addr", "add", end[2] + "/24", "dev", end[1]},
			{"-n", end[0], "link", "set", end[1], "up"},
		} {
			if err := ip(args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, form := range []string{"udp", "bare", "tcp"} {
		t.Run(form, func(t *testing.T) {
			a := startJoined(t, here, "--listen", form+"://192.0.2.1", "-n", "2", program) // the port is 6635
			a.address(t)
			b := startJoined(t, there, "--peer", form+"://192.0.2.1", "-n", "2", program)
			allRight(t, a, b)
		})
	}
}

// A caller that nobody knows, one that speaks nonsense: the run that waits goes on waiting.
func TestJoinedStrangers(t *testing.T) {
	program := buildGuest(t, "alltoall")
	a := startJoined(t, "", "--listen", "udp://127.0.0.1:0", "-n", "2", program)
	addr := a.address(t)
	conn, err := net.Dial("udp", strings.TrimPrefix(addr, "udp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for n := range 100 {
		if _, err := conn.Write(bytes.Repeat([]byte{byte(n)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	b := startJoined(t, "", "--peer", addr, "-n", "2", program)
	allRight(t, a, b)
	if s := a.stderr.String(); !strings.Contains(s, "strangers") {
		t.Errorf("strangers are not told of: %s", s)
	}
}

// One of the two is killed: the guests of the other hear of it, and do not wait for ever.
func TestJoinedPeerDies(t *testing.T) {
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "last.c"), filepath.Join(dir, "last")
	if err := os.WriteFile(source, []byte(`#include <rmem.h>
#include <stdio.h>
#include <unistd.h>
static long box;
int main(void)
{
	if (rmem_node() == 1) {
		rmem_export("box", &box, sizeof box, RMEM_READ);
		pause();
	}
	rmem_desc desc = rmem_import("box", 1, RMEM_READ, -1);
	long x;
	if (desc < 0 || rmem_read(desc, 0, &x, sizeof x, 0) != 0)
		return 1;
	puts("ready");
	fflush(stdout);
	while (rmem_read(desc, 0, &x, sizeof x, 0) == 0)
		usleep(1000);
	puts(rmem_strerror(rmem_read(desc, 0, &x, sizeof x, 0)));
	return 0;
}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("rmemrun", "cc", "-O2", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("rmemrun cc: %v\n%s", err, out)
	}
	a := startJoined(t, "", "--listen", "tcp://127.0.0.1:0", program)
	b := startJoined(t, "", "--peer", a.address(t), program)
	for end := time.Now().Add(30 * time.Second); !strings.Contains(a.stdout.String(), "ready"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the guests do not reach each other")
		}
	}
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if status := a.wait(t); status != 0 {
		t.Errorf("status %d", status)
	}
	if out := a.stdout.String(); !strings.Contains(out, "gone") && !strings.Contains(out, "down") {
		t.Errorf("the guest was told %q", out)
	}
	if s := a.stderr.String(); !strings.Contains(s, "lost") {
		t.Errorf("the log does not say that the other is lost: %s", s)
	}
}

func TestJoinFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", ":1", "--peer", "h:1"}, "one of the two rmemruns listens"},
		{[]string{"--secret-file", "f"}, "--secret-file is for"},
		{[]string{"--peer", "sctp://h"}, "udp://, bare:// or tcp://"},
		{[]string{"--listen", "h:port"}, "no port"},
	} {
		out, err := exec.Command("rmemrun", append(test.args, "true")...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != statusUsage || !strings.Contains(string(out), test.want) {
			t.Errorf("%v: %v, %s", test.args, err, out)
		}
	}
}

// Each of two joined runs shows its own nodes with their numbers in the job, the link to the other, and the circuits across; and loopbacks
// are answered over it.
func TestJoinedNet(t *testing.T) {
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	// The first node of either looks, and stays until that of the other has; the others do, too.
	script := filepath.Join(dir, "look")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
case $RMEM_NODE in 0|2)
	rmemrun net $PPID --circuits >text$RMEM_NODE
	rmemrun net $PPID --circuits --json >json$RMEM_NODE
	rmemrun ping --pid $PPID --timeout 5s $((3 - RMEM_NODE)) >there$RMEM_NODE
	rmemrun ping --pid $PPID --timeout 5s $((RMEM_NODE + 1)) >here$RMEM_NODE
	rmemrun ping --pid $PPID --from $((2 - RMEM_NODE)) $RMEM_NODE 2>from$RMEM_NODE
	rmemrun ping --pid $PPID 4 2>nobody$RMEM_NODE
	rmemrun net $PPID --cut peer 2>cut$RMEM_NODE
	>done$RMEM_NODE
esac
until test -e done0 && test -e done2; do sleep 0.05; done
`), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	a := startJoined(t, "", "--listen", "127.0.0.1:0", "--topology", "line", "-n", "2", "./look")
	b := startJoined(t, "", "--peer", a.address(t), "--topology", "line", "-n", "2", "./look")
	for _, r := range []*joinedRun{a, b} {
		if status := r.wait(t); status != 0 {
			t.Errorf("status %d", status)
		}
	}
	read := func(name string, node int) string {
		data, err := os.ReadFile(fmt.Sprint(name, node))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(` +`).ReplaceAllString(string(data), " ")
	}
	for _, node := range []int{0, 2} {
		there := 2 - node
		for _, c := range []struct{ file, want string }{
			{"text", fmt.Sprintf(`(?m)^2 nodes, 2 switches, 3 links; joined with 2 nodes of another rmemrun\nnodes here: %d n0, %d n1; there: %d to %d$`, node, node+1, there, there+1)},
			{"text", `(?m)^peer udp \S+:\d+ 127\.0\.0\.1:\d+ 4 \d+ \d+ 0 datagrams 0$`},
			{"text", fmt.Sprintf(`(?m)^control n1 node %d peer 2/3\d$`, there)},
			{"text", `(?m)^control n0 n1 n0-s0 `},
			{"there", fmt.Sprintf(`(?m)^1 node %d peer 0/%d [0-9.]+(ns|us|ms|s)$`, 3-node, 32+node)},
			{"here", `(?m)^1 s0 n0-s0 0/33 [0-9.]+(ns|us|ms|s)$`},
			{"from", fmt.Sprintf(`node %d belongs to the other rmemrun, at the far end of the link "peer" to 127.0.0.1:\d+`, there)},
			{"cut", `the link "peer" to the other rmemrun is a real one`},
			{"nobody", fmt.Sprintf(`there is no node "4"; a node has a number, 0 to 3, and those of this process, %d to %d, have names`, node, node+1)},
		} {
			if text := read(c.file, node); !regexp.MustCompile(c.want).MatchString(text) {
				t.Errorf("%s%d does not match %s:\n%s", c.file, node, c.want, text)
			}
		}
		text := read("json", node)
		var r runtime.NetworkReport
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "null") {
			t.Errorf("a list is null: %s", text)
		}
		across := 0
		for _, c := range r.Circuits {
			if c.From < node || c.From > node+1 {
				t.Errorf("a circuit from node %d", c.From)
			}
			if len(c.Path) == 1 && c.Path[0].Link == runtime.PeerLink {
				across++
				if c.To < there || c.To > there+1 {
					t.Errorf("a circuit across to node %d", c.To)
				}
			} else if c.To < node || c.To > node+1 {
				t.Errorf("a circuit to node %d", c.To)
			}
		}
		if k := r.Peer; k == nil || r.First != node || k.First != there || k.Nodes != 2 || k.Circuits != 4 || across != 4 || k.Kind != "udp" || k.Sent == 0 || k.Received == 0 {
			t.Errorf("%s", text)
		}
	}
}

// Where there is nothing, a list is empty.
func TestNetJSONLists(t *testing.T) {
	out, err := exec.Command("rmemrun", "net", "-n", "1", "--json", "--circuits").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"switches":[]`, `"links":[]`, `"circuits":[]`, `"first":0`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %s in %s", want, out)
		}
	}
	if strings.Contains(string(out), "null") || strings.Contains(string(out), "peer") {
		t.Errorf("%s", out)
	}
}
