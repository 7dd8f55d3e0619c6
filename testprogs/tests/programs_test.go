// Package tests runs the programs of testprogs as guests.
package tests

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"rmemrun/runtime"
)

// A style is a way to compile and link a C program.
type style struct {
	name  string
	flags []string
}

var (
	static = style{"static", []string{"-O2", "-static", "-pthread"}}
	pie    = style{"pie", []string{"-O2", "-fPIE", "-pie", "-pthread"}}
	plain  = style{"O0", []string{"-O0", "-pthread"}}
	asm    = style{"asm", []string{"-nostdlib", "-static"}}
	asmPIE = style{"asm-pie", []string{"-nostdlib", "-static-pie"}}
	golang = style{name: "go"}
)

// compile builds a program, given by its path from testprogs, and returns the
// path of the result. It skips the test if there is no compiler.
func compile(t *testing.T, source string, s style) string {
	t.Helper()
	source = filepath.Join("..", source)
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), filepath.Ext(source)))
	cmd := exec.Command("go", "build", "-o", out, "./"+source)
	if s.name != golang.name {
		cc, err := exec.LookPath("gcc")
		if err != nil {
			t.Skip("no gcc here")
		}
		cmd = exec.Command(cc, append(s.flags, "-Wall", "-Wextra", "-Werror", "-I../../guest", "-o", out, source)...)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	return out
}

// run runs a program on nodes nodes, and returns its exit status and what it wrote.
func run(t *testing.T, program string, nodes int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return runOver(t, nil, 0, nil, program, nodes, args...)
}

// runOver is run over a topology.
func runOver(t *testing.T, topology *runtime.Topology, seed uint64, observer func(*runtime.Event), program string, nodes int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return runJob(t, runtime.Job{Topology: topology, Seed: seed, Observer: observer}, program, nodes, args...)
}

// runJob is run as part of a job of which all else is given.
func runJob(t *testing.T, job runtime.Job, program string, nodes int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	if goruntime.GOARCH != "amd64" {
		t.Skip("guests run on x86-64 only")
	}
	file := func() *os.File {
		f, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	text := func(f *os.File) string {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	out, errs := file(), file()
	job.Programs = []runtime.Program{{Path: program, Args: args, Nodes: nodes}}
	job.Stdout, job.Stderr = out, errs
	result, err := job.Run()
	if err != nil {
		t.Fatalf("run %s on %d nodes: %v", filepath.Base(program), nodes, err)
	}
	return result.Status, text(out), text(errs)
}

// lines returns the lines of a text in order: those of different nodes come in any.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	slices.Sort(all)
	return all
}

// each returns a line for every node.
func each(nodes int, line func(node int) string) []string {
	var all []string
	for n := range nodes {
		all = append(all, line(n))
	}
	slices.Sort(all)
	return all
}

func TestPrograms(t *testing.T) {
	hello := func(nodes int) []string {
		return each(nodes, func(n int) string {
			return fmt.Sprintf(`node %d: "hello, node %d, from node %d"`, n, n, (n+nodes-1)%nodes)
		})
	}
	only := func(line string) func(int) []string {
		return func(int) []string { return []string{line} }
	}
	for _, test := range []struct {
		source string
		styles []style
		nodes  []int
		args   string
		want   func(nodes int) []string
	}{
		{"hello.c", []style{static, pie, plain}, []int{1, 2, 5}, "", hello},
		{"go/hello", []style{golang}, []int{1, 2, 5}, "", hello},
		{"hello.S", []style{asm, asmPIE}, []int{1, 2, 5}, "", func(nodes int) []string {
			return each(nodes, func(n int) string { return fmt.Sprintf("hello from node %4d", (n+nodes-1)%nodes) })
		}},
		{"pingpong.c", []style{static, pie}, []int{2, 3}, "200 40", only("200 round trips of 40 bytes, every word right")},
		{"pingpong.c", []style{static, pie}, []int{2}, "20 4096", only("20 round trips of 4096 bytes, every word right")},
		{"go/pingpong", []style{golang}, []int{2}, "200 40", only("200 round trips of 40 bytes, every word right")},
		{"pingpong.S", []style{asm, asmPIE}, []int{2}, "", only("1000 round trips of 40 bytes, every word right")},
		{"producer.c", []style{static, pie}, []int{2, 4}, "200 7", func(nodes int) []string {
			return []string{fmt.Sprintf("200 items from each of %d producers, in order", nodes-1)}
		}},
		{"producer.c", []style{static}, []int{2}, "50 1", only("50 items from each of 1 producers, in order")},
		{"counter.c", []style{static, pie}, []int{1, 2, 4}, "50", func(nodes int) []string {
			return []string{fmt.Sprintf("locked %[1]d, swapped %[1]d, added %[1]d, of %[1]d", 50*nodes)}
		}},
		{"counter.c", []style{static, pie}, []int{1, 3}, "20 4", func(nodes int) []string {
			return []string{fmt.Sprintf("locked %[1]d, swapped %[1]d, added %[1]d, of %[1]d", 80*nodes)}
		}},
		{"jacobi.c", []style{static, pie}, []int{1, 2, 4, 8}, "24 30", func(nodes int) []string {
			return []string{fmt.Sprintf("24 x 24 points, 30 steps, %d nodes: equal to one node alone, to the bit; 0.186744 in the middle", nodes)}
		}},
		{"fixtures/every.c", []style{static, pie, plain}, []int{1, 2}, "", func(nodes int) []string {
			return each(nodes, func(int) string { return "every function of the header does what it should" })
		}},
		{"../guest/go/rmem/testdata/every", []style{golang}, []int{1, 2}, "", func(nodes int) []string {
			return each(nodes, func(int) string { return "every function of the binding does what it should" })
		}},
	} {
		for _, s := range test.styles {
			t.Run(test.source+"/"+s.name, func(t *testing.T) {
				program := compile(t, test.source, s)
				for _, nodes := range test.nodes {
					status, stdout, stderr := run(t, program, nodes, strings.Fields(test.args)...)
					got, want := lines(stdout), test.want(nodes)
					if status != 0 || !slices.Equal(got, want) {
						t.Errorf("%s on %d nodes: status %d, printed %q, want %q\n%s", test.source, nodes, status, got, want, stderr)
					}
				}
			})
		}
	}
}

// TestNames checks that each node finds all names, and that each name has one home.
func TestNames(t *testing.T) {
	for _, s := range []style{static, pie} {
		t.Run(s.name, func(t *testing.T) {
			program := compile(t, "names.c", s)
			for _, nodes := range []int{1, 2, 4} {
				const names = 60
				status, stdout, stderr := run(t, program, nodes, fmt.Sprint(names))
				printed, bound := 0, 0
				for _, line := range lines(stdout) {
					var node, home, found int
					if _, err := fmt.Sscanf(line, "node %d: home of %d names, found all %d", &node, &home, &found); err != nil ||
						node != printed || found != names {
						t.Errorf("on %d nodes line %d is %q", nodes, printed, line)
					}
					printed++
					bound += home
				}
				if status != 0 || printed != nodes || bound != names {
					t.Errorf("on %d nodes: status %d, %d lines, %d names have a home, want %d\n%s", nodes, status, printed, bound, names, stderr)
				}
			}
		})
	}
}

// TestAllToAll checks random traffic for several seeds.
func TestAllToAll(t *testing.T) {
	for _, s := range []style{static, pie} {
		t.Run(s.name, func(t *testing.T) {
			program := compile(t, "alltoall.c", s)
			for _, c := range []struct{ nodes, operations, threads int }{{1, 300, 1}, {2, 300, 1}, {4, 150, 1}, {8, 60, 1}, {2, 60, 4}} {
				for seed := range 3 {
					status, stdout, stderr := run(t, program, c.nodes, fmt.Sprint(c.operations), fmt.Sprint(seed), fmt.Sprint(c.threads))
					all := fmt.Sprintf("%d actors x %d operations, all right; ", c.nodes*c.threads, c.operations)
					if status != 0 || strings.Count(stdout, all) != c.nodes {
						t.Errorf("%d nodes, %d threads, seed %d: status %d\n%s%s", c.nodes, c.threads, seed, status, stdout, stderr)
					}
				}
			}
		})
	}
}

// TestRefuses checks what the programs say to arguments and nodes that they cannot
// run with.
func TestRefuses(t *testing.T) {
	for _, test := range []struct {
		source string
		style  style
		nodes  int
		args   []string
		want   string
	}{
		{"pingpong.c", static, 1, nil, "needs two nodes"},
		{"pingpong.c", static, 2, []string{"10", "41"}, "a multiple of 8"},
		{"pingpong.c", static, 1, []string{"ten"}, `ROUNDS must be a number from 1 to 1000000000, not "ten"`},
		{"pingpong.S", asm, 1, nil, "needs two nodes"},
		{"go/pingpong", golang, 1, nil, "needs two nodes"},
		{"producer.c", static, 1, nil, "needs a producer and a consumer"},
		{"producer.c", static, 1, []string{"1", "2000"}, `SLOTS must be a number from 1 to 1024, not "2000"`},
		{"jacobi.c", static, 3, []string{"2"}, "2 rows are too few for 3 nodes"},
	} {
		t.Run(fmt.Sprint(test.source, test.args), func(t *testing.T) {
			status, stdout, stderr := run(t, compile(t, test.source, test.style), test.nodes, test.args...)
			if status != 2 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, printed %q and %q, want status 2 and %q", status, stdout, stderr, test.want)
			}
		})
	}
}
