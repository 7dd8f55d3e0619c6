//go:build linux && amd64

package transparent

import (
	"os"
	"path/filepath"
	"testing"
)

// What is not the same under rmemrun, as docs/engines.md says. A difference that is gone is to be taken out of both.
func TestLimits(t *testing.T) {
	needs(t, "setpriv", "chage")
	const asNobody = "setpriv --reuid 65534 --regid 65534 --clear-groups "
	for _, test := range []struct {
		name, script, plain, under string // the script has env or rmemrun in $@; what it prints
		root                       bool   // only root can run it
	}{
		{
			"signals that were ignored", `trap '' HUP INT QUIT PIPE TERM TSTP TTIN TTOU; "$@" sed -n 's/SigIgn:\t//p' /proc/self/status |
				{ read -r mask; printf '%016x\n' $((0x$mask & 0x7fffffff)); }`, // the test itself may have been begun with real-time signals ignored
			"0000000000385007\n", "0000000000380003\n", false,
		},
		{"standard input that was closed", `"$@" cat <&- 2>/dev/null; echo $?`, "1\n", "0\n", false},
		{"standard output that was closed", `"$@" /bin/echo word >&- 2>/dev/null; echo $?`, "1\n", "0\n", false},
		{"set-user-ID without privilege", asNobody + `"$@" sh -c 'chage -l nobody >/dev/null 2>&1 && echo allowed || echo refused'`, "allowed\n", "refused\n", true},
		{"no new privileges", asNobody + `"$@" sed -n 's/NoNewPrivs:\t//p' /proc/self/status`, "0\n", "1\n", true},
		{"traced", `"$@" sed -n 's/TracerPid:\t0$/nobody/p; s/TracerPid:\t[1-9].*/somebody/p; s/Seccomp:\t//p' /proc/self/status`, "nobody\n0\n", "somebody\n2\n", false},
		{"a process of its own", `setsid -w "$@" sh -c '[ $(ps -o sid= -p $$) = $$ ] && echo leader || echo member'`, "leader\n", "member\n", false},
		{"descendants that stay", `"$@" sh -c '(sleep 0.2; echo late) >>f & '; cat f; until [ -s f ]; do sleep 0.02; done; rm f`, "", "late\n", false},
		{"a colon", `"$@" echo a : echo b | sort`, "a : echo b\n", "a\nb\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.root && os.Getuid() != 0 {
				t.Skip("only root can become nobody")
			}
			dir := filepath.Join(t.TempDir(), "d")
			for _, run := range []struct{ runner, want string }{{"env", test.plain}, {rmemrun(), test.under}} {
				o := execute(t, dir, program{argv: []string{"/bin/bash", "-c", test.script, "bash", run.runner}}, nil)
				if o.stdout != run.want {
					t.Errorf("with %s: output %q, want %q; status %d, errors %q", filepath.Base(run.runner), o.stdout, run.want, o.status, o.stderr)
				}
			}
		})
	}
}
