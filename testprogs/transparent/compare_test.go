//go:build linux && amd64

// Package transparent runs real programs by themselves and under rmemrun, and compares what they did: exit status, output,
// errors, files made. Nothing may be left of either: no process, no file.
package transparent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bin is the directory with the programs that are built here.
var bin string

// rmemrun is the path of the command, as built once for all tests.
func rmemrun() string { return filepath.Join(bin, "rmemrun") }

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "rmemrun-transparent"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil { // others than root run it too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if text, err := exec.Command("go", "build", "-o", rmemrun(), "../../cmd/rmemrun").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build rmemrun: %v\n%s", err, text)
		return 1
	}
	return m.Run()
}

// compile compiles a C program of testdata.
func compile(t *testing.T, name string) string {
	t.Helper()
	needs(t, "gcc")
	out := filepath.Join(bin, name)
	if text, err := exec.Command("gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", out, "testdata/"+name+".c").CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", name, err, text)
	}
	return out
}

// needs skips the test unless all programs are there.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// A program is what is run, and how its runs are made comparable.
type program struct {
	argv    []string
	prelude string              // shell commands of the shell that becomes the program, or rmemrun: its surroundings
	stdin   string              // by a pipe
	flags   []string            // of rmemrun
	env     []string            // besides the usual
	same    func(string) string // takes out of output and errors what is not the same twice
	message bool                // the errors are compared by presence: the text is the shell's or rmemrun's own
}

// outcome is what a run did.
type outcome struct {
	status         int
	stdout, stderr string
	files          []string // those that it left, with their contents' length
}

// alike runs a program by itself and under rmemrun and compares. It returns the outcome.
func alike(t *testing.T, p program) outcome {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d") // the same for both: programs print it
	plain := execute(t, dir, p, nil)
	under := execute(t, dir, p, append([]string{rmemrun()}, p.flags...))
	if p.same != nil {
		for _, o := range []*outcome{&plain, &under} {
			o.stdout, o.stderr = p.same(o.stdout), p.same(o.stderr)
		}
	}
	if p.message && plain.stderr != "" && under.stderr != "" {
		plain.stderr = under.stderr
	}
	if under.status != plain.status {
		t.Errorf("exit status %d under rmemrun, %d without", under.status, plain.status)
	}
	differ(t, "output", under.stdout, plain.stdout)
	differ(t, "errors", under.stderr, plain.stderr)
	differ(t, "files", strings.Join(under.files, "\n"), strings.Join(plain.files, "\n"))
	return under
}

// differ reports the first line in which two texts differ.
func differ(t *testing.T, what, under, plain string) {
	t.Helper()
	if under == plain {
		return
	}
	u, p := strings.Split(under, "\n"), strings.Split(plain, "\n")
	for i := range max(len(u), len(p)) {
		lines := [2]string{"(end)", "(end)"}
		for j, text := range [][]string{u, p} {
			if i < len(text) {
				lines[j] = text[i]
			}
		}
		if lines[0] != lines[1] {
			t.Errorf("%s differ in line %d:\nunder rmemrun %q\nwithout       %q", what, i+1, lines[0], lines[1])
			break
		}
	}
	if len(under)+len(plain) < 4000 {
		t.Logf("%s under rmemrun:\n%s\nwithout:\n%s", what, under, plain)
	}
}

// execute runs a program in a fresh directory, and checks that no process is left of it. A wrapper of rmemrun's words goes
// before its own.
func execute(t *testing.T, dir string, p program, wrapper []string) outcome {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, p, wrapper)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(p.stdin), &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%s: %v", cmd, err)
	}
	o := outcome{status: shellStatus(cmd.ProcessState), stdout: stdout.String(), stderr: stderr.String(), files: list(t, dir)}
	if wrapper != nil {
		o.stderr = withoutHint(o.stderr)
	}
	nothingLeft(t)
	return o
}

// patience is after what time a run that has not ended counts as one that hangs.
const patience = 3 * time.Minute

// command is the command of a program, which is killed when patience ends.
func command(t *testing.T, dir string, p program, wrapper []string) *exec.Cmd {
	t.Helper()
	argv := append(slices.Clone(wrapper), p.argv...)
	if p.prelude != "" {
		argv = append([]string{"/bin/bash", "-c", p.prelude + "\nexec \"$@\"", "bash"}, argv...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() { cancel(); kill(t) })
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8", "TERM=dumb", mark(t),
	}, p.env...)
	cmd.WaitDelay = time.Second // then somebody who was left behind holds the pipes
	return cmd
}

// shellStatus is an exit status as a shell gives it.
func shellStatus(s *os.ProcessState) int {
	ws := s.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// hint is how the line begins that rmemrun adds to the errors of a run without remote instructions.
const hint = "rmemrun: no remote-memory instruction was executed"

// withoutHint takes out the lines that say that a run had no remote instruction.
func withoutHint(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, hint) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// list lists the files under a directory.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			files = append(files, fmt.Sprintf("%v %s", d.Type(), path[len(dir)+1:]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mark is the entry of the environment by which a test's processes are known.
func mark(t *testing.T) string { return fmt.Sprintf("TRANSPARENT_TEST=%s/%d", t.Name(), os.Getpid()) }

// nothingLeft checks that no process of the test is left. What is about to end is given the time for it.
func nothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left = processes(mark(t))
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("processes left behind: %s", strings.Join(left, ", "))
			kill(t)
			return
		}
	}
}

// kill ends the processes of the test.
func kill(t *testing.T) {
	for _, p := range processes(mark(t)) {
		if pid, err := strconv.Atoi(strings.Fields(p)[0]); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// processes lists those that have an entry in their environment: number, state, command line.
func processes(entry string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), []byte("\x00"+entry+"\x00")) {
			continue // not ours, or gone
		}
		line, _ := os.ReadFile(filepath.Dir(f) + "/cmdline")
		stat, _ := os.ReadFile(filepath.Dir(f) + "/stat")
		state := strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		found = append(found, fmt.Sprintf("%s %.1s %s", filepath.Base(filepath.Dir(f)), state, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")))
	}
	return found
}
