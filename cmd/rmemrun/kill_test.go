//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildTraffic compiles the guest that uses rings in all ways at once.
func buildTraffic(t *testing.T) string { return buildGuest(t, "fixtures/patch/traffic") }

// up waits until so many nodes of a run say that all their threads use rings.
func (r *joinedRun) up(t *testing.T, nodes int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); strings.Count(r.stdout.String(), "up\n") < nodes; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the guests do not use their rings")
		}
	}
}

// A victim is a guest of a run that is killed, and what of rmemrun's memory it has mapped.
type victim struct {
	pid  string
	maps []string // device and inode
}

// victims are the guests of a run.
func (r *joinedRun) victims(t *testing.T) (all []victim) {
	t.Helper()
	rest := []string{fmt.Sprint(r.cmd.Process.Pid)}
	for len(rest) > 0 {
		tasks, _ := filepath.Glob("/proc/" + rest[0] + "/task/*/children")
		for _, name := range tasks {
			b, _ := os.ReadFile(name)
			for _, pid := range strings.Fields(string(b)) {
				all = append(all, victim{pid, memoryFiles(pid)})
				rest = append(rest, pid)
			}
		}
		rest = rest[1:]
	}
	for _, v := range all {
		if len(v.maps) == 0 {
			t.Errorf("guest %s shares no memory with rmemrun", v.pid)
		}
	}
	return all
}

// memoryFiles are the memory files of an rmemrun that a process has mapped, by device and inode.
func memoryFiles(pid string) (all []string) {
	b, _ := os.ReadFile("/proc/" + pid + "/maps")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 5 && strings.HasPrefix(f[5], "/memfd:rmemrun") {
			all = append(all, f[3]+" "+f[4])
		}
	}
	return all
}

// gone waits until victims are gone, and looks whether what they shared is.
func gone(t *testing.T, victims []victim) {
	t.Helper()
	for _, v := range victims {
		for end := time.Now().Add(30 * time.Second); alive(v.pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("guest %s is left", v.pid)
				break
			}
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		for _, f := range memoryFiles(filepath.Base(p)) {
			if slices.ContainsFunc(victims, func(v victim) bool { return slices.Contains(v.maps, f) }) {
				t.Errorf("process %s still has memory that the guests shared", filepath.Base(p))
				break
			}
		}
	}
}

func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// rounds is how often something is killed, somewhere in what it does.
func rounds() int {
	if testing.Short() {
		return 2
	}
	return 10
}

// An rmemrun that is killed leaves no guest, whose threads are in stubs, in waits, in fences, nor one that does nothing, and none of the memory that they shared.
func TestKilled(t *testing.T) {
	program := buildTraffic(t)
	for _, poll := range []string{"auto", "no"} {
		t.Run(poll, func(t *testing.T) {
			for range rounds() {
				r := startJoined(t, "", "--poll", poll, "-n", "2", program, "child")
				r.up(t, 2)
				victims := r.victims(t)
				if len(victims) != 4 {
					t.Fatalf("there are guests %v", victims)
				}
				if err := r.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				r.cmd.WaitDelay = time.Second // a guest that is left has its standard output
				r.wait(t)
				gone(t, victims)
			}
		})
	}
}

// The guests of the other rmemrun of a joined run hear of it, whatever they wait for, and that rmemrun ends as they do.
func TestKilledJoined(t *testing.T) {
	program := buildTraffic(t)
	for _, poll := range []string{"yes", "no"} {
		t.Run(poll, func(t *testing.T) {
			t.Parallel() // it takes as long as a peer may be silent
			a := startJoined(t, "", "--poll", poll, "--listen", "udp://127.0.0.1:0", program)
			b := startJoined(t, "", "--poll", poll, "--peer", a.address(t), program)
			a.up(t, 1)
			b.up(t, 1)
			victims := b.victims(t)
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			gone(t, victims)
			if status := a.wait(t); status != 0 || !strings.Contains(a.stdout.String(), "node 0: all are down") {
				t.Errorf("the other one ends with status %d", status)
			}
			t.Logf("it took %v", time.Since(began)) // a peer that is silent for 10 s is given up
		})
	}
}

// A guest that is killed takes nobody with it who waits for its replies: nor if its stubs, as it dies, have the locks of rings.
func TestKilledGuest(t *testing.T) {
	program := buildTraffic(t)
	for _, poll := range []string{"auto", "yes", "no"} {
		for _, how := range []string{"die", "holding"} {
			t.Run(poll+"/"+how, func(t *testing.T) {
				for range rounds() {
					r := startJoined(t, "", "--poll", poll, "-n", "2", program, how)
					// Node 0 ignores SIGTERM, which it gets as node 1 has failed, and has two seconds until SIGKILL.
					if status := r.wait(t); status != 128+int(syscall.SIGKILL) || !strings.Contains(r.stdout.String(), "node 0: all are down") {
						t.Fatalf("status %d, node 0 said %q\n%s", status, r.stdout.String(), r.stderr.String())
					}
				}
			})
		}
	}
}
