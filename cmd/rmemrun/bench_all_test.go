package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rmemrun/internal/bench"
)

// benchRecord runs rmemrun bench --all, as the program that the tests are, and reads its record.
func benchRecord(t *testing.T, args ...string) (*bench.Record, string) {
	t.Helper()
	if err := guestsRun(); err != nil {
		t.Skipf("no guests here: %v", err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	file := filepath.Join(t.TempDir(), "record.json")
	cmd := exec.Command("/proc/self/exe", append([]string{"bench", "--rounds", "1", "--time", "1", "-o", file}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rmemrun bench %v: %v\n%s%s", args, err, out, stderr.String())
	}
	r, err := bench.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(out)
}

// What has a limit and needs no peer is measured: ours, the floors, and what they are divided by.
func TestBenchAll(t *testing.T) {
	r, out := benchRecord(t, "--all", "--only", "acknowledged", "--only", "posted", "--only", "1 MiB block", "--only", "cell:40", "--only", "start",
		"--only", "all-to-all", "--only", "getppid", "--only", "C tracer", "--only", "rmem_wait")
	for _, run := range r.Runs {
		if run.Failed != "" {
			t.Errorf("%s failed: %s", run.Subject, run.Failed)
		}
		if run.Canary[0] <= 0 || run.Canary[1] <= 0 || run.Class == "" {
			t.Errorf("%s: class %q, canary %v", run.Subject, run.Class, run.Canary)
		}
		for _, i := range run.Items {
			if i.Absent != "" && !strings.HasPrefix(i.Name, "map-") { // whose owner may be anywhere
				t.Errorf("%s did not measure %s of %d bytes: %s", run.Subject, i.Name, i.Bytes, i.Absent)
			}
			if i.Absent == "" && (i.Batches < 1 || i.P50 <= 0 || len(i.Histogram) == 0) {
				t.Errorf("%s: %+v", run.Subject, i)
			}
		}
	}
	for _, name := range []string{"40-byte write, acknowledged", "40-byte write, posted", "1 MiB block write", "all-to-all of 16 guests", "start, beyond plain exec", "getppid", "over UDP", "Limits: "} {
		if !strings.Contains(out, name) {
			t.Errorf("the table has no %q:\n%s", name, out)
		}
	}
	for _, s := range r.Subjects {
		if s.Command == "" {
			t.Errorf("%s: it is not said how it was run", s.Name)
		}
	}
	// The record is one that the other commands take.
	file, dir := filepath.Join(t.TempDir(), "record.json"), t.TempDir()
	if err := writeRecord(r, file); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"compare", file, file}, "few pairs"},
		{[]string{"plot", file, dir}, "bench-ladder\n"},
	} {
		cmd := exec.Command("/proc/self/exe", append([]string{"bench"}, tt.args...)...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("bench %v: %v, want %q in\n%s", tt.args, err, tt.want, out)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "bench-ladder.svg")); err != nil || !strings.Contains(string(svg), "40-byte write, acknowledged") {
		t.Errorf("the ladder: %v\n%s", err, svg)
	}
	// One round is no verdict, but of what cannot be on this machine nothing is said to pass.
	for _, x := range r.Results {
		if x.Verdict == bench.Pass || x.Verdict == bench.Fail {
			t.Errorf("%s: a verdict, %s, of %d pairs", x.Name, x.Verdict, x.Pairs)
		}
	}
}

// The peers that are installed print what can be compared; the others say what they lack.
func TestBenchPeers(t *testing.T) {
	programs := map[string]string{"UCX perftest": "ucx_perftest", "OpenSHMEM": "oshrun", "MPICH": "mpirun.mpich", "Open MPI": "mpirun.openmpi"}
	r, out := benchRecord(t, "--peers", "--only", "libfabric, shm", "--only", "UCX perftest, posix", "--only", "UCX ucp, malloc")
	ran := map[string]bool{}
	for _, run := range r.Runs {
		if run.Failed != "" {
			t.Errorf("%s failed: %s", run.Subject, run.Failed)
		}
		ran[run.Subject] = true
	}
	for _, s := range r.Subjects {
		if s.Missing == "" {
			if s.Class != bench.ClassOurs && s.Class != bench.ClassFloor && s.Version == "" {
				t.Errorf("%s: it does not say its version", s.Name)
			}
			continue
		}
		t.Logf("not measured: %s: %s", s.Name, s.Missing)
		if s.Install == "" || !strings.Contains(out, s.Install) {
			t.Errorf("%s is missing, and nobody says what to install", s.Name)
		}
		for prefix, program := range programs {
			if _, err := exec.LookPath(program); err == nil && strings.HasPrefix(s.Name, prefix) && strings.HasPrefix(s.Missing, "there is no "+program) {
				t.Errorf("%s: %s, but there is %s", s.Name, s.Missing, program)
			}
		}
	}
	if !ran["UCX ucp, malloc"] && !ran["libfabric, shm"] && !ran["UCX perftest, posix"] {
		t.Skip("no peer is installed")
	}
}

func TestBenchAllRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"measures all there is":     {"--all", "write"},
		"there is no benchmark":     {"jump"},
		"--engine=warp":             {"--all", "--engine", "warp"},
		"two CPUs":                  {"--all", "--cpus", "0"},
		"does not exist":            {"--all", "--cpus", "0,1000"},
		"text or json":              {"--all", "--format", "osu"},
		"sizes of its own":          {"--all", "-s", "8"},
		"are for --all":             {"write", "-o", "file"},
		"--time 0":                  {"--all", "--time", "0"},
		"no figure has one of":      {"--all", "--only", "no figure is called so"},
		"there is no C compiler":    {"--all"},
		"no such file or directory": {"compare", "/nonexistent/a", "/nonexistent/b"},
		"is not a record of":        {"plot", os.DevNull, "."},
	} {
		cmd := exec.Command("/proc/self/exe", append([]string{"bench"}, args...)...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		if want == "there is no C compiler" {
			cmd.Env = append(cmd.Env, "CC=no-such-compiler")
		} else if _, err := exec.LookPath("cc"); err != nil && want == "no figure has one of" {
			continue
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("bench %v: %v, want %q in\n%s", args, err, want, out)
		}
	}
}
