//go:build linux && amd64

package trap

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Ask is the first argument of prctl(2) by which a guest asks whether
// remote-memory instructions are carried out: 1 if so, else the kernel's EINVAL.
// "RMEM" in ASCII.
const Ask = 0x524d454d

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

const (
	auditArchX86_64 = 0xc000003e
	x32Bit          = 0x40000000
)

// filter is the seccomp program of every guest. It stops the guest at the system
// calls that engine.observed looks at and lets all others pass. A system call of
// another convention (i386, x32) passes: such a program cannot run our
// instructions.
func filter() []unix.SockFilter {
	const (
		ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret = unix.BPF_RET | unix.BPF_K
	)
	arg := func(n int) uint32 { return uint32(offArgs + 8*n) }
	return []unix.SockFilter{
		0:  {Code: ld, K: offArch},
		1:  {Code: jeq, K: auditArchX86_64, Jf: 16 - 2},
		2:  {Code: ld, K: offNr},
		3:  {Code: jge, K: x32Bit, Jt: 16 - 4},
		4:  {Code: jeq, K: unix.SYS_RT_SIGRETURN, Jt: 17 - 5},
		5:  {Code: jeq, K: unix.SYS_SECCOMP, Jt: 17 - 6},
		6:  {Code: jeq, K: unix.SYS_RT_SIGPROCMASK, Jt: 9 - 7},
		7:  {Code: jeq, K: unix.SYS_RT_SIGACTION, Jt: 9 - 8},
		8:  {Code: jeq, K: unix.SYS_PRCTL, Jt: 13 - 9, Jf: 16 - 9},
		9:  {Code: ld, K: arg(1)}, // a null pointer only asks
		10: {Code: jeq, K: 0, Jf: 17 - 11},
		11: {Code: ld, K: arg(1) + 4},
		12: {Code: jeq, K: 0, Jt: 16 - 13, Jf: 17 - 13},
		13: {Code: ld, K: arg(0)},
		14: {Code: jeq, K: Ask, Jt: 17 - 15},
		15: {Code: jeq, K: unix.PR_SET_SECCOMP, Jt: 17 - 16},
		16: {Code: ret, K: unix.SECCOMP_RET_ALLOW},
		17: {Code: ret, K: unix.SECCOMP_RET_TRACE},
	}
}

// equip gives a process what its descendants inherit: the filter. The root also
// loses the parent-death signal that protected the start.
func (e *engine) equip(t *Thread) error {
	p := t.process
	if p.filtered {
		return nil
	}
	st := t.space.foothold
	fprog := st.addr + footholdScratch
	st.scratch(filterProgram(filter(), fprog+16))
	_, err := e.syscall(t, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, fprog)
	if err == syscall.EACCES {
		// Without privilege a filter may only be had by one who can no longer
		// gain any.
		e.Log.Debug("the guest runs with no_new_privs: set-user-ID programs do not change its user", "pid", p.pid)
		if _, err = e.syscall(t, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err == nil {
			_, err = e.syscall(t, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, fprog)
		}
	}
	if err != nil {
		return wrapGone("install the seccomp filter (CONFIG_SECCOMP_FILTER)", err)
	}
	p.filtered = true
	if p.pid == e.root {
		if _, err := e.syscall(t, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0); err != nil {
			return wrapGone("clear the parent-death signal", err)
		}
	}
	return nil
}
