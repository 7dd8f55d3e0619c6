package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiagnose(t *testing.T) {
	look := func(r result) func() result { return func() result { return r } }
	broken := errors.New("broken")
	findings := diagnose([]check{
		{"a", true, look(result{found: "well"})},
		{"b", true, look(result{"", broken, "mend it"})},
		{"c", false, look(result{"half", broken, "mend it"})},
	})
	want := []finding{
		{"a", "ok", "well", "", ""}, {"b", "fail", "", "broken", "mend it"}, {"c", "warn", "half", "broken", "mend it"},
	}
	for i, f := range findings {
		if f != want[i] {
			t.Errorf("%+v, want %+v", f, want[i])
		}
	}
}

// TestChecks runs the real checks: each finds something, or says what is wrong and what to do.
func TestChecks(t *testing.T) {
	for _, c := range checks {
		if c.name == "guest" {
			continue // runs this binary as rmemrun: testdata/script/doctor.txtar
		}
		r := c.look()
		if r.problem == nil && r.found == "" {
			t.Errorf("%s: nothing found and no problem", c.name)
		}
		if r.problem != nil && r.remedy == "" {
			t.Errorf("%s: %v, and no remedy", c.name, r.problem)
		}
		t.Logf("%s: %+v", c.name, r)
	}
}

func TestKernelOldEnough(t *testing.T) {
	for release, ok := range map[string]bool{
		"5.3.0": true, "5.10.0-21-amd64": true, "6.1": true, "10.0-rc1": true,
		"5.2.99": false, "4.19.0": false, "": false, "linux": false,
	} {
		if err := kernelOldEnough(release); (err == nil) != ok {
			t.Errorf("%q: %v", release, err)
		}
	}
}

func TestYamaScope(t *testing.T) {
	for _, c := range []struct {
		scope      string
		privileged bool
		ok         bool
	}{
		{"0", false, true}, {"1", false, true}, {"2", false, false}, {"2", true, true}, {"3", false, false}, {"3", true, false}, {"", true, false},
	} {
		remedy, problem := yamaScope(c.scope, c.privileged)
		if (problem == nil) != c.ok || (problem != nil) != (remedy != "") {
			t.Errorf("scope %q, privileged %v: %v, remedy %q", c.scope, c.privileged, problem, remedy)
		}
	}
}

func TestDoctorReport(t *testing.T) {
	findings := []finding{{"a", "ok", "well", "", ""}, {"b", "fail", "", "broken", "mend it"}}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := &app{stdout: out, color: "never"}
	if err := a.report(findings, false); err != nil {
		t.Fatal(err)
	}
	if err := a.report(findings, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	const human = "ok    a                  well\n" +
		"fail  b                  \n" +
		"                         broken\n" +
		"                         -> mend it\n"
	rest, ok := strings.CutPrefix(string(text), human)
	if !ok {
		t.Errorf("got %q, want first %q", text, human)
	}
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines of JSON: %q", len(lines), rest)
	}
	for i, line := range lines[1:] {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil || f != findings[i] {
			t.Errorf("%s: %+v, %v", line, f, err)
		}
	}
}
