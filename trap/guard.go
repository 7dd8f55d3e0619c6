//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// guardFilter is the seccomp program of a process that has mapped memory of another
// guest. It shows us the system calls that would let it see other pages of the same
// memory file. In the conventions of 32-bit programs (i386) and of x32 they fail: whoever
// uses these does not do so for our mappings.
func guardFilter() []unix.SockFilter {
	const (
		ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret = unix.BPF_RET | unix.BPF_K

		mremap386, remapFilePages386 = 163, 257
	)
	return []unix.SockFilter{
		0:  {Code: ld, K: offArch},
		1:  {Code: jeq, K: auditArchX86_64, Jt: 5 - 2},
		2:  {Code: ld, K: offNr},
		3:  {Code: jeq, K: mremap386, Jt: 11 - 4},
		4:  {Code: jeq, K: remapFilePages386, Jt: 11 - 5, Jf: 12 - 5},
		5:  {Code: ld, K: offNr},
		6:  {Code: jeq, K: unix.SYS_MREMAP, Jt: 10 - 7},
		7:  {Code: jeq, K: unix.SYS_REMAP_FILE_PAGES, Jt: 10 - 8},
		8:  {Code: jeq, K: x32Bit + unix.SYS_MREMAP, Jt: 11 - 9},
		9:  {Code: jeq, K: x32Bit + unix.SYS_REMAP_FILE_PAGES, Jt: 11 - 10, Jf: 12 - 10},
		10: {Code: ret, K: unix.SECCOMP_RET_TRACE},
		11: {Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		12: {Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
}

// guard gives the thread's process, all threads of it, the guard filter. An address space
// that several processes share cannot be guarded: the others would not have it.
func (e *engine) guard(t *Thread) error {
	p := t.process
	for u := range t.space.threads {
		if u.process != p {
			return fmt.Errorf("%w: several processes share its address space", ErrForbids)
		}
	}
	if p.guarded {
		return nil
	}
	st := t.space.foothold
	fprog := st.addr + footholdScratch
	st.scratch(filterProgram(guardFilter(), fprog+16))
	tid, err := e.syscall(t, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, fprog)
	if err == ErrGone {
		return err
	}
	if err == nil && tid != 0 {
		err = fmt.Errorf("thread %d has a filter of its own", tid)
	}
	if err != nil {
		return fmt.Errorf("%w: install the seccomp filter that guards mappings: %w", ErrForbids, err)
	}
	p.guarded = true
	return nil
}

// filterProgram returns a struct sock_fprog and, behind it, at the guest's address given,
// the instructions.
func filterProgram(program []unix.SockFilter, at uint64) []byte {
	b := make([]byte, 16, 16+8*len(program))
	for _, f := range program {
		b = binary.LittleEndian.AppendUint16(b, f.Code)
		b = append(b, f.Jt, f.Jf)
		b = binary.LittleEndian.AppendUint32(b, f.K)
	}
	binary.LittleEndian.PutUint16(b, uint16(len(program)))
	binary.LittleEndian.PutUint64(b[8:], at)
	return b
}

// bell is the signal by which other goroutines make the engine's wait4 return. Nobody
// else sends it to this process, and Go's handler does nothing about it. It is none of the
// real-time signals: those are refused when the user has too many of them pending.
const bell = unix.SIGIO

// canBeCalled makes bell interrupt system calls. Go's handlers have SA_RESTART, with which
// wait4 would go on without looking up.
func (e *engine) canBeCalled() error {
	if !interruptsCalls(bell) {
		return fmt.Errorf("%w: rmemrun does not handle signal %d", ErrForbids, int(bell))
	}
	return nil
}

// ring rings until the engine has taken up what was posted. It may be about to enter wait4
// when the bell rings for the first time.
func (c *calls) ring() {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		c.mu.Lock()
		if len(c.list) == 0 {
			c.rings = false
			c.mu.Unlock()
			return
		}
		tid := c.tid
		c.mu.Unlock()
		_ = unix.Tgkill(os.Getpid(), tid, bell)
		time.Sleep(pause)
	}
}
