//go:build linux && amd64

package isa

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmemrun/runtime"
)

// TestElsewhere has guests map what they cannot have: over an emulated network, under another rmemrun, or because their own
// process is in the way. [H16] [H19]
func TestElsewhere(t *testing.T) {
	program := compile(t, "gcc", "elsewhere.c")
	line, err := runtime.BuiltinTopology("line", 2)
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	secret := []byte("of the two")
	for name, jobs := range map[string][]runtime.Job{
		"over a network": {{Programs: []runtime.Program{{Path: program, Nodes: 2}}, Topology: line}},
		"joined": {
			{
				Programs: []runtime.Program{{Path: program, Nodes: 1}},
				Join:     &runtime.Join{Listen: "udp://127.0.0.1:0", Secret: secret, Listening: func(addr string) { listening <- addr }},
			},
			{Programs: []runtime.Program{{Path: program, Nodes: 1}}, Join: &runtime.Join{Secret: secret}},
		},
		"in the way": {{Programs: []runtime.Program{{Path: program, Nodes: 2, Args: []string{"in the way"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			type end struct {
				result runtime.Result
				err    error
			}
			ends := make(chan end, len(jobs))
			for i := range jobs {
				job := jobs[i]
				job.Stdout, job.Stderr = out, out
				if job.Join != nil && job.Join.Listen == "" {
					job.Join.Peer = <-listening
				}
				go func() {
					result, err := job.Run()
					ends <- end{result, err}
				}()
			}
			for range jobs {
				if e := <-ends; e.err != nil || e.result.Status != 0 {
					t.Errorf("status %d, error %v", e.result.Status, e.err)
				}
			}
			text, err := os.ReadFile(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			if n := count(string(text), "end"); n != 2 || strings.Contains(string(text), "NOT ") {
				t.Errorf("%d nodes came to their end, want 2\n%s", n, text)
			}
		})
	}
}
