// Testsummary reads the events of go test -json from its standard input and prints what a person wants to see of them: the
// output of what failed, the reason of every skip, one line for each package, and at the end
//
//	N passed, N failed, N skipped
//
// where tests and their subtests are counted, and a package that did not build or crashed counts as one that failed.
// It exits with status 1 if anything failed, or if there was nothing to count.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsummary: read the events of go test -json:", err)
		os.Exit(1)
	}
	if !s.print() {
		os.Exit(1)
	}
}

// An event is one line of go test -json; go doc test2json describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build's output, in place of Package
	Test       string
	Elapsed    float64
	Output     string
	// FailedBuild names what did not build, in a failed package's last event.
	FailedBuild string
}

// A test is a test's, or with an empty name a package's, or a build's place in the stream.
type test struct{ pkg, name string }

// A summary is what has been counted so far.
type summary struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[test][]string   // of tests that have not ended, or failed
	skips                   map[string][]string // the tests skipped, by reason
	failedTests             map[string]bool     // the packages in which a test has failed
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[test][]string{}, skips: map[string][]string{}, failedTests: map[string]bool{}}
}

// read takes all events of in. A line that is no event is printed as it is: go itself complains so.
func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				s.out.Write(line)
			} else {
				s.add(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// add counts one event.
func (s *summary) add(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[t] = append(s.output[t], e.Output)
	case "build-output":
		t = test{e.ImportPath, ""}
		s.output[t] = append(s.output[t], e.Output)
	case "pass":
		if t.name == "" {
			fmt.Fprintf(s.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
		} else {
			s.passed++
		}
		delete(s.output, t)
	case "skip":
		if t.name != "" {
			s.skipped++
			reason := skipReason(s.output[t])
			s.skips[reason] = append(s.skips[reason], strings.TrimPrefix(e.Package, "rmemrun/")+"."+e.Test)
		}
		delete(s.output, t)
	case "fail":
		s.fail(t, e)
	}
}

// fail reports a failure with its output.
func (s *summary) fail(t test, e event) {
	if t.name != "" {
		s.failed++
		s.failedTests[t.pkg] = true
		fmt.Fprintf(s.out, "FAIL  %s.%s\n", t.pkg, t.name)
	} else {
		fmt.Fprintf(s.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
		if !s.failedTests[t.pkg] { // it did not build, or died outside its tests
			s.failed++
		}
		fmt.Fprint(s.out, strings.Join(s.output[test{e.FailedBuild, ""}], ""))
		for u, output := range s.output { // what was running when it died
			if u.pkg == t.pkg && u.name != "" {
				fmt.Fprint(s.out, strings.Join(output, ""))
				delete(s.output, u)
			}
		}
	}
	fmt.Fprint(s.out, strings.Join(s.output[t], ""))
	delete(s.output, t)
}

// skipReason finds what the test gave as its reason: the last line of its output that the testing package did not write.
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "=== ") {
			continue
		}
		// t.Skip writes "file.go:12: reason".
		if file, rest, ok := strings.Cut(line, ": "); ok && strings.Contains(file, ".go:") {
			line = rest
		}
		return line
	}
	return "no reason given"
}

// print prints the skips and the totals, and reports whether all is well.
func (s *summary) print() bool {
	reasons := make([]string, 0, len(s.skips))
	for reason := range s.skips {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(s.out, "SKIP  %s: %s\n", reason, strings.Join(s.skips[reason], ", "))
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	if s.passed+s.failed+s.skipped == 0 {
		fmt.Fprintln(s.out, "there were no tests")
	}
	return s.failed == 0 && s.passed > 0
}
