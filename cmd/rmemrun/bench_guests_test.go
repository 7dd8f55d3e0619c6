package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// runBench runs the command, as the program that the tests are, and reads its JSON.
func runBench(t *testing.T, args ...string) *benchReport {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skipf("no guests here: %v", err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"bench", "--format", "json"}, args...)...)
	cmd.Stderr = os.Stderr
	// Built with -race, a guest would sleep for a second at its end.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rmemrun bench %v: %v\n%s", args, err, out)
	}
	var r benchReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("rmemrun bench %v: %v\n%s", args, err, out)
	}
	return &r
}

// Every operation is measured, under the engine and, where there is a compiler,
// under the floor, and its cells are those that docs/protocol.md says it takes.
func TestBenchOperations(t *testing.T) {
	r := runBench(t, "--rounds", "2", "-n", "20")
	cells := map[string]float64{
		"write": 2, "read": 2, "cas": 2, "fadd": 2,
		"notify": 4, // there and back
		// 64 KiB are one PDU of 65440 bytes, 1364 cells, and one of 96, with header and
		// trailer 3 cells; each is acknowledged.
		"block": 1364 + 3 + 2,
	}
	if len(r.Results) != len(cells) {
		t.Fatalf("%d results, want %d", len(r.Results), len(cells))
	}
	for _, b := range r.Results {
		if b.Cells != cells[b.Operation] {
			t.Errorf("%s: %v cells, want %v", b.Operation, b.Cells, cells[b.Operation])
		}
		if b.Engine == nil || b.Engine.Count < 1 || b.Engine.NS["min"] <= 0 || b.Engine.NS["max"] < b.Engine.NS["p50"] {
			t.Errorf("%s: %+v", b.Operation, b.Engine)
		}
		if (b.Floor == nil) != (r.NoFloor != "") || b.Floor != nil && b.Floor.Count < 1 {
			t.Errorf("%s: floor %+v, and none because of %q", b.Operation, b.Floor, r.NoFloor)
		}
	}
}

// Without a compiler there is no floor, and the reason is given.
func TestBenchWithoutCompiler(t *testing.T) {
	t.Setenv("CC", "no-such-compiler")
	r := runBench(t, "write", "--rounds", "1", "-n", "5", "-s", "8..32")
	if r.NoFloor == "" || len(r.Results) != 3 {
		t.Fatalf("no floor because of %q; %d results, want 3", r.NoFloor, len(r.Results))
	}
	for i, b := range r.Results {
		if b.Size != 8<<i || b.Floor != nil || b.Engine.Count != 5 {
			t.Errorf("%d bytes: %d operations, floor %+v", b.Size, b.Engine.Count, b.Floor)
		}
	}
}

// maxRatio is what the ptrace engine may cost, measured by the floor.
const maxRatio = 1.10

func TestBenchRatio(t *testing.T) {
	if testing.Short() {
		t.Skip("figures of performance are not for -short")
	}
	// Another program on the same CPU disturbs whoever runs: one quiet attempt is enough.
	const attempts = 3
	for range attempts {
		r := runBench(t, "write", "--engine", "ptrace", "--rounds", "20")
		if r.NoFloor != "" {
			t.Skipf("no floor: %s", r.NoFloor)
		}
		ratio := r.Results[0].medianRatio()
		t.Logf("a 40-byte write takes %.3f × its floor", ratio)
		if ratio <= maxRatio {
			return
		}
	}
	t.Errorf("a 40-byte write takes more than %.2f × its floor, in each of %d attempts", maxRatio, attempts)
}
