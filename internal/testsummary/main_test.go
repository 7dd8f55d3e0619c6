package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name   string
		events string
		ok     bool
		want   []string // lines of the output
		lack   []string
	}{
		{
			name: "one of each",
			events: `{"Action":"run","Package":"rmemrun/a","Test":"TestP"}
{"Action":"output","Package":"rmemrun/a","Test":"TestP","Output":"noise\n"}
{"Action":"pass","Package":"rmemrun/a","Test":"TestP"}
{"Action":"output","Package":"rmemrun/a","Test":"TestS","Output":"=== RUN   TestS\n"}
{"Action":"output","Package":"rmemrun/a","Test":"TestS","Output":"    a_test.go:10: no gdb here: install gdb\n"}
{"Action":"output","Package":"rmemrun/a","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"rmemrun/a","Test":"TestS"}
{"Action":"output","Package":"rmemrun/a","Test":"TestF","Output":"    a_test.go:20: 1 is not 2\n"}
{"Action":"fail","Package":"rmemrun/a","Test":"TestF"}
{"Action":"output","Package":"rmemrun/a","Output":"FAIL\n"}
{"Action":"fail","Package":"rmemrun/a","Elapsed":1.5}
`,
			want: []string{"SKIP  no gdb here: install gdb: a.TestS", "FAIL  rmemrun/a.TestF", "    a_test.go:20: 1 is not 2",
				"FAIL  rmemrun/a  1.5s", "1 passed, 1 failed, 1 skipped"},
			lack: []string{"noise"},
		},
		{
			name: "all pass",
			events: `{"Action":"pass","Package":"rmemrun/a","Test":"TestP"}
{"Action":"pass","Package":"rmemrun/a","Elapsed":0.5}
{"Action":"skip","Package":"rmemrun/b"}
`,
			ok:   true,
			want: []string{"ok    rmemrun/a  0.5s", "1 passed, 0 failed, 0 skipped"},
			lack: []string{"SKIP"},
		},
		{
			name: "a package does not build",
			events: `{"ImportPath":"rmemrun/a","Action":"build-output","Output":"a.go:3: syntax error\n"}
{"ImportPath":"rmemrun/a","Action":"build-fail"}
{"Action":"fail","Package":"rmemrun/a","FailedBuild":"rmemrun/a"}
{"Action":"pass","Package":"rmemrun/b","Test":"TestP"}
`,
			want: []string{"a.go:3: syntax error", "1 passed, 1 failed, 0 skipped"},
		},
		{
			name: "a package dies in a test",
			events: `{"Action":"output","Package":"rmemrun/a","Test":"TestD","Output":"panic: no\n"}
{"Action":"output","Package":"rmemrun/a","Output":"FAIL\trmemrun/a\n"}
{"Action":"fail","Package":"rmemrun/a"}
`,
			want: []string{"panic: no", "0 passed, 1 failed, 0 skipped"},
		},
		{
			name:   "what is no event is shown",
			events: "go: no such module\n",
			want:   []string{"go: no such module", "0 passed, 0 failed, 0 skipped", "there were no tests"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			s := newSummary(&out)
			if err := s.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			if ok := s.print(); ok != test.ok {
				t.Errorf("the run is judged %v, want %v", ok, test.ok)
			}
			lines := strings.Split(out.String(), "\n")
			has := func(want string) bool {
				for _, line := range lines {
					if line == want {
						return true
					}
				}
				return false
			}
			for _, want := range test.want {
				if !has(want) {
					t.Errorf("the line %q is missing from:\n%s", want, out.String())
				}
			}
			for _, lack := range test.lack {
				if strings.Contains(out.String(), lack) {
					t.Errorf("%q is in:\n%s", lack, out.String())
				}
			}
		})
	}
}
