//go:build linux && amd64

package transparent

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a program inherits is what it inherits without rmemrun.
func TestSurroundings(t *testing.T) {
	surroundings := compile(t, "surroundings")
	for name, prelude := range map[string]string{
		"plain":               "",
		"ignored signals":     "trap '' INT HUP",
		"umask":               "umask 027",
		"limits":              "ulimit -n 333; ulimit -s 4096; ulimit -c 0; ulimit -u 5000; ulimit -t 1000",
		"soft limit":          "ulimit -Sn 100",
		"descriptors":         "exec 3</etc/passwd 7<>/dev/null 19>/dev/null 1000</dev/null",
		"directory":           "mkdir a; cd a",
		"environment":         "export EMPTY= WORDS='a b' LINES=$'a\\nb' PATH=/bin; unset HOME LANG",
		"repeated variables":  `set -- /usr/bin/env -i A=1 "$@"`,
		"nice":                "set -- nice -n 7 \"$@\"",
		"other user":          `set -- setpriv --reuid 65534 --regid 65534 --groups 65534,1 "$@"`,
		"no new privileges":   `set -- setpriv --no-new-privs "$@"`,
		"fewer capabilities":  `set -- setpriv --bounding-set -sys_time,-net_raw "$@"`,
		"other personality":   `set -- setarch --addr-no-randomize "$@"`,
		"one processor":       `set -- taskset 1 "$@"`,
		"out-of-memory score": "echo 500 >/proc/$$/oom_score_adj",
		"core filter":         "echo 0x7 >/proc/$$/coredump_filter",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "setpriv", "setarch", "taskset")
			if os.Getuid() != 0 && strings.Contains(prelude, "setpriv") {
				t.Skip("only root may change this")
			}
			alike(t, program{argv: []string{surroundings, "a", "", "two words", "-n", "--", "é"}, prelude: prelude})
		})
	}
}

// The status and the words by which rmemrun reports what is not a program.
func TestNotAProgram(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "", "script": "#!/none/such\n", "garbage": "\x7fELF garbage", "text": "exit 5\n", "loop": "#!" + filepath.Join(dir, "loop") + "\n"} {
		mode := os.FileMode(0o755)
		if name == "plain" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		program string
		status  int
	}{
		{"no-such-program-anywhere", 127},
		{filepath.Join(dir, "none"), 127},
		{filepath.Join(dir, "plain"), 126},
		{dir, 126},
		{filepath.Join(dir, "plain") + "/below", 126},
		{filepath.Join(dir, "script"), 127},
		{filepath.Join(dir, "garbage"), 126},
		{filepath.Join(dir, "loop"), 126},
	} {
		// A shell knows the same statuses and says it in its own words.
		o := alike(t, program{argv: []string{test.program}, prelude: `"$@"; exit`, message: true})
		if o.status != test.status || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.HasPrefix(o.stderr, "rmemrun: ") {
			t.Errorf("%s: status %d, output %q, errors %q; want status %d and one line", test.program, o.status, o.stdout, o.stderr, test.status)
		}
	}
	o := execute(t, filepath.Join(t.TempDir(), "d"), program{argv: []string{"--no-such-flag"}}, []string{rmemrun()})
	if o.status != 2 || o.stdout != "" {
		t.Errorf("a wrong flag: status %d, output %q; want 2", o.status, o.stdout)
	}
}

// Exit statuses and deaths.
func TestStatuses(t *testing.T) {
	for _, script := range []string{
		"exit 0", "exit 1", "exit 124", "exit 125", "exit 126", "exit 127", "exit 128", "exit 255",
		"kill -9 $$", "kill -TERM $$", "kill -INT $$", "kill -HUP $$", "kill -QUIT $$", "kill -PIPE $$", "kill -USR1 $$", "kill -ABRT $$", "kill -SEGV $$", "kill -ILL $$", "kill -TRAP $$", "kill -64 $$",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			// A second shell, which reports how the first ended: as rmemrun does.
			alike(t, program{argv: []string{"/bin/sh", "-c", "ulimit -c 0; " + script}})
		})
	}
}

// Input, output and errors are the program's own.
func TestStandardFiles(t *testing.T) {
	for name, script := range map[string]string{
		"input":              `echo word | "$@" cat`,
		"input to the end":   `"$@" wc -c`,
		"input is shared":    `"$@" head -c 5; echo; "$@" cat`,
		"much output":        `"$@" seq 1 300000 | md5sum`,
		"broken pipe":        `"$@" yes | head -n 1; echo ${PIPESTATUS[@]}`,
		"broken pipe, tree":  `"$@" sh -c 'seq 1 1000000; echo "status $?" >&2' | head -n 1; echo ${PIPESTATUS[@]}`,
		"errors":             `"$@" sh -c 'echo out; echo err >&2' 2>&1 >/dev/null | grep -v '^rmemrun: no remote-memory instruction'`,
		"appended":           `echo a >f; "$@" sh -c 'echo b' >>f; "$@" sh -c 'echo c' >>f; cat f; rm f`,
		"both ways":          `exec 3<>f; "$@" sh -c 'echo word >&3'; cat f; rm f`,
		"not inherited file": `"$@" ls /proc/self/fd`,
		"long-lived child":   `"$@" sh -c '(sleep 0.2; echo late) & echo early'`,
		"sparse input":       `head -c 20000000 /dev/zero | "$@" cat | wc -c`,
		"pipeline of two":    `seq 1 1000 | "$@" grep 7 | "$@" wc -l`,
		"nohup":              `nohup "$@" sh -c 'kill -HUP $$; echo alive'`,
		"nohup inside":       `"$@" nohup sh -c 'kill -HUP $$; echo alive'`,
		"timeout":            `timeout 0.3 "$@" sleep 1000; echo $?`,
		"timeout kills":      `timeout -s KILL 0.3 "$@" sleep 1000; echo $?`,
		"timeout inside":     `"$@" timeout 0.3 sleep 1000; echo $?`,
		"background":         `"$@" sh -c 'sleep 0.1; exit 6' & wait $!; echo $?`,
		"environment runner": `"$@" env -i A=1 sh -c 'echo $A'`,
		"xargs":              `seq 1 5 | xargs -n 2 "$@" echo`,
		"find":               `touch a b; find . -type f -exec "$@" echo {} \; | sort`,
		"su":                 `"$@" su -s /bin/sh nobody -c 'id -un' </dev/null`,
		"seccomp inside":     `"$@" setpriv --no-new-privs sh -c 'echo done'`,
		"chroot":             `"$@" chroot / /bin/sh -c 'echo done'`,
		"namespaces":         `"$@" unshare -fpn --mount-proc sh -c 'echo $$'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getuid() != 0 && (name == "su" || name == "chroot" || name == "namespaces") {
				t.Skip("only root may do this")
			}
			// "$@" is rmemrun or env, so that the script is the same for both.
			dir := filepath.Join(t.TempDir(), "d")
			script := func(runner ...string) outcome {
				return execute(t, dir, program{argv: append([]string{"/bin/bash", "-c", script, "bash"}, runner...), stdin: strings.Repeat("line\n", 1000)}, nil)
			}
			plain, under := script("env"), script(rmemrun())
			under.stderr = withoutHint(under.stderr)
			if under.status != plain.status {
				t.Errorf("exit status %d under rmemrun, %d without", under.status, plain.status)
			}
			differ(t, "output", under.stdout, plain.stdout)
			differ(t, "errors", withoutPIDs(under.stderr), withoutPIDs(plain.stderr))
			differ(t, "files", strings.Join(under.files, "\n"), strings.Join(plain.files, "\n"))
		})
	}
}

// Node 0 alone reads the standard input; both write.
func TestTwoNodes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	o := execute(t, dir, program{
		argv:  []string{"/bin/sh", "-c", `wc -l >count$RMEM_NODE; echo "$RMEM_NODES" >nodes$RMEM_NODE; exec ls /proc/self/fd | wc -l >files$RMEM_NODE`},
		stdin: "a\nb\n",
	}, []string{rmemrun(), "-n", "2"})
	if o.status != 0 || o.stdout != "" || o.stderr != "" {
		t.Errorf("status %d, output %q, errors %q", o.status, o.stdout, o.stderr)
	}
	for name, want := range map[string]string{"count0": "2\n", "count1": "0\n", "nodes0": "2\n", "nodes1": "2\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s has %q, %v; want %q", name, b, err, want)
		}
	}
	natively, err := exec.Command("/bin/sh", "-c", "ls /proc/self/fd | wc -l").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"files0", "files1"} {
		if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != string(natively) {
			t.Errorf("%s: a guest has %s files, without rmemrun %s", name, b, natively)
		}
	}
	// Real programs, which know nothing of the other.
	shell := program{argv: []string{"/bin/bash", "-c", `seq 1 100000 | sort -rn | md5sum; sh -c 'kill -9 $$'; echo $?`}}
	plain, both := execute(t, dir, shell, nil), execute(t, dir, shell, []string{rmemrun(), "-n", "2"})
	if want := strings.Split(plain.stdout+plain.stdout, "\n"); !slices.Equal(sorted(strings.Split(both.stdout, "\n")), sorted(want)) || both.status != 0 {
		t.Errorf("two nodes: status %d, output %q; one without rmemrun: %q", both.status, both.stdout, plain.stdout)
	}
	// The first that fails gives the status and ends the other.
	o = execute(t, dir, program{argv: []string{"/bin/sh", "-c", `[ $RMEM_NODE = 1 ] && exit 9; sleep 1000 & wait`}}, []string{rmemrun(), "-n", "2"})
	if o.status != 9 {
		t.Errorf("status %d, want node 1's 9", o.status)
	}
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}
