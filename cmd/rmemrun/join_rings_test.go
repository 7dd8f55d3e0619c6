package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever the engine, and however the agent waits, guests of two rmemruns get the same from each other.
func TestJoinedEngines(t *testing.T) {
	program := buildGuest(t, "alltoall")
	for name, flags := range map[string][]string{
		"ptrace": {"--engine", "ptrace"},
		"yes":    {"--engine", "patch", "--poll", "yes"},
		"no":     {"--engine", "patch", "--poll", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(more ...string) *joinedRun {
				return startJoined(t, "", append(append(flags, more...), "-n", "2", program)...)
			}
			a := run("--listen", "udp://127.0.0.1:0")
			b := run("--peer", a.address(t))
			allRight(t, a, b)
		})
	}
}

// startTwins compiles a program and runs it on two nodes of two rmemruns, whose agents poll, until node 0 says that it is ready.
func startTwins(t *testing.T, source string) (a, b *joinedRun) {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, "twin.c"), filepath.Join(dir, "twin")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("rmemrun", "cc", "-O2", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("rmemrun cc: %v\n%s", err, out)
	}
	a = startJoined(t, "", "--poll", "yes", "--listen", "udp://127.0.0.1:0", program)
	b = startJoined(t, "", "--poll", "yes", "--peer", a.address(t), program)
	for end := time.Now().Add(30 * time.Second); !strings.Contains(a.stdout.String(), "ready"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the guests do not reach each other")
		}
	}
	return a, b
}

// box is a program whose node 0 counts at node 1, by way of a ring, before it does something else.
const box = `#include <rmem.h>
#include <stdio.h>
#include <unistd.h>
static long box;
int main(void)
{
	if (rmem_node() == 1) {
		rmem_export("box", &box, sizeof box, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC);
		pause();
	}
	rmem_desc desc = rmem_import("box", 1, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC, -1);
	long x = 0, one = 1;
	for (long i = 0; i < 100; i++)
		if (rmem_fadd(desc, 0, 1, (uint64_t *)&x) != 0 || x != i)
			return 1;
	puts("ready");
	fflush(stdout);
`

// A guest that posts by its ring hears of the end of the other rmemrun: by a fence, and by what has a result.
func TestJoinedPeerDiesPosting(t *testing.T) {
	a, b := startTwins(t, box+`
	while (rmem_write(desc, 0, &one, sizeof one, 0) == 0 && rmem_fence(desc) == 0)
		;
	puts(rmem_strerror(rmem_read(desc, 0, &x, sizeof x, 0)));
	return 0;
}
`)
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if status := a.wait(t); status != 0 {
		t.Errorf("status %d", status)
	}
	if out := a.stdout.String(); !strings.Contains(out, "gone") && !strings.Contains(out, "down") {
		t.Errorf("the guest was told %q", out)
	}
}

// Two rmemruns whose guests do nothing use no processor time, whatever they did before.
func TestJoinedIdle(t *testing.T) {
	a, b := startTwins(t, box+"pause();}\n")
	time.Sleep(200 * time.Millisecond)
	before := cpuTime(t, a) + cpuTime(t, b)
	time.Sleep(time.Second)
	// The two tell each other once in a while that they are there.
	if used := cpuTime(t, a) + cpuTime(t, b) - before; used > 100*time.Millisecond {
		t.Errorf("two that are idle use %v in a second", used)
	}
}

// cpuTime is what the process of a run has used of processors.
func cpuTime(t *testing.T, r *joinedRun) time.Duration {
	t.Helper()
	var ts unix.Timespec
	clock := int32(^r.cmd.Process.Pid<<3 | 2) // as clock_getcpuclockid(3) has it
	if err := unix.ClockGettime(clock, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
