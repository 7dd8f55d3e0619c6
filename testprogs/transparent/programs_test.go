//go:build linux && amd64

package transparent

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestShells(t *testing.T) {
	scripts, err := filepath.Glob("testdata/sh/*")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, shell := range []string{"busybox sh", "dash", "bash"} {
		for _, script := range scripts {
			if strings.HasSuffix(script, ".bash") && shell != "bash" {
				continue
			}
			t.Run(shell+"/"+filepath.Base(script), func(t *testing.T) {
				t.Parallel()
				words := strings.Fields(shell)
				needs(t, words[0])
				path, err := filepath.Abs(script)
				if err != nil {
					t.Fatal(err)
				}
				o := alike(t, program{argv: append(words, path), same: withoutPIDs})
				if o.stdout == "" {
					t.Error("the script wrote nothing")
				}
			})
		}
	}
}

// withoutPIDs takes the numbers of processes out of a shell's messages, and a message that bash 5.2 has for itself when a
// trap interrupts wait.
func withoutPIDs(s string) string {
	s = regexp.MustCompile(`(?m)^.*wait_for: No record of process \d+\n`).ReplaceAllString(s, "")
	return regexp.MustCompile(`(?m)^(.*: line \d+: | *\[\d+\] )? *\d{2,} `).ReplaceAllString(s, "${1}PID ")
}

func TestPython(t *testing.T) {
	needs(t, "python3")
	for _, test := range []struct {
		module string
		long   bool
	}{
		{"test_grammar", false},
		{"test_pipes", false},
		{"test_popen", false},
		{"test_posix", false},
		{"test_threadsignals", true},
		{"test_wait4", true},
		{"test_signal", true},
		{"test_fork1", true},
		{"test_subprocess", true},
		{"test_threading", true},
		{"test_os", true},
		{"test_mmap", true},
		{"test_faulthandler", true},
	} {
		t.Run(test.module, func(t *testing.T) {
			if test.long && testing.Short() {
				t.Skip("takes long")
			}
			t.Parallel()
			if o := execute(t, filepath.Join(t.TempDir(), "d"), program{argv: []string{"python3", "-c", "import test." + test.module}}, nil); o.status != 0 {
				t.Skip("python3 has no such test: on Debian, libpython3-testsuite has them")
			}
			o := alike(t, program{argv: []string{"python3", "-m", "test", "-v", test.module}, same: verdicts})
			// Some of Python's tests fail in some places without rmemrun, too.
			if !strings.Contains(o.stdout+o.stderr, " ok\n") {
				t.Errorf("no test passed: status %d", o.status)
			}
		})
	}
}

// verdicts takes out of the output of Python's tests what each test came to.
func verdicts(s string) string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^(test\w+) .*\.\.\. (?:.*\b)?(ok|FAIL|ERROR|skipped .*|expected failure)$`).FindAllStringSubmatch(s, -1) {
		all = append(all, m[1]+" "+m[2]+"\n")
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// The Go toolchain, a program of many threads and processes, compiles with nothing cached.
func TestGoToolchain(t *testing.T) {
	needs(t, "go")
	source := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module small\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { println(answer()) }\n",
		"asm.go":  "package main\n\nfunc answer() int\n",
		"asm.s":   "TEXT ·answer(SB), 4, $0-8\n\tMOVQ $42, ret+0(FP)\n\tRET\n",
	} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o := alike(t, program{
		argv: []string{"/bin/sh", "-c", `export GOCACHE="$PWD/cache"; go build -C "$SOURCE" -o "$PWD/small" . && ./small && go vet -C "$SOURCE" . && md5sum small; rm -rf small cache`},
		env:  []string{"SOURCE=" + source, "GOFLAGS=-trimpath", "GOTELEMETRY=off", "GOTOOLCHAIN=local"},
	})
	if o.status != 0 || !strings.HasPrefix(o.stderr, "42\n") {
		t.Errorf("status %d, errors %q; want 0 and 42", o.status, o.stderr)
	}
}

// A debugger cannot trace what is traced: it says so and ends.
func TestDebugger(t *testing.T) {
	needs(t, "gdb", "gcc")
	p := program{argv: []string{"gdb", "-nx", "-batch", "-ex", "run", "--args", "/bin/sh", "-c", "exit 3"}}
	o := execute(t, filepath.Join(t.TempDir(), "d"), p, nil)
	if !strings.Contains(o.stdout, "exited with code 03") {
		t.Skipf("gdb does not work here even without rmemrun: %q %q", o.stdout, o.stderr)
	}
	o = execute(t, filepath.Join(t.TempDir(), "d"), p, []string{rmemrun()})
	if !strings.Contains(o.stderr, "Could not trace the inferior process") || !strings.Contains(o.stderr, "Operation not permitted") {
		t.Errorf("gdb under rmemrun: status %d, output %q, errors %q; want a refusal", o.status, o.stdout, o.stderr)
	}
	// What it does without tracing works.
	alike(t, program{argv: []string{"gdb", "-nx", "-batch", "-ex", "print 6*7", "-ex", "info line main", compile(t, "surroundings")}})
}

func TestStressors(t *testing.T) {
	needs(t, "stress-ng")
	for _, test := range []struct {
		stressor string
		ops      int
		long     int // operations of the long test
	}{
		{"signal", 20000, 200000}, {"sigsuspend", 500, 20000}, {"sigpending", 1000, 50000}, {"sigfd", 1000, 50000},
		{"sigq", 500, 20000}, {"sigrt", 200, 10000}, {"sigsegv", 500, 20000}, {"sigtrap", 500, 20000},
		{"sigchld", 200, 5000}, {"sigabrt", 50, 1000}, {"sigfpe", 500, 20000}, {"sigpipe", 200, 5000},
		{"clone", 50, 2000}, {"fork", 200, 5000}, {"vfork", 200, 5000}, {"pthread", 200, 5000},
		{"kill", 1000, 50000}, {"zombie", 200, 5000}, {"daemon", 20, 500}, {"switch", 1000, 50000}, {"futex", 1000, 50000},
		{"pipe", 1000, 50000}, {"mmap", 20, 500}, {"timer", 100, 5000}, {"seccomp", 20, 500}, {"session", 20, 500},
	} {
		t.Run(test.stressor, func(t *testing.T) {
			t.Parallel()
			ops := test.ops
			if !testing.Short() {
				ops = test.long
			}
			argv := []string{"stress-ng", "--oom-avoid", "--timeout", "300", "--" + test.stressor, "2", "--" + test.stressor + "-ops", strconv.Itoa(ops)}
			if test.stressor == "mmap" {
				argv = append(argv, "--mmap-bytes", "8m")
			}
			o := alike(t, program{argv: argv, same: complaints})
			if strings.Contains(o.stdout+o.stderr, "skipp") {
				t.Skipf("stress-ng: %s%s", o.stdout, o.stderr)
			}
			if o.status != 0 {
				t.Errorf("status %d: %s", o.status, o.stderr)
			}
		})
	}
}

// complaints takes out of what stress-ng writes the lines that say that something is not as it should be.
func complaints(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.Contains(line, "fail:") || strings.Contains(line, "error:") || strings.Contains(line, "skipp") {
			b.WriteString(regexp.MustCompile(`\[\d+\]`).ReplaceAllString(line, "[PID]"))
		}
	}
	return b.String()
}
