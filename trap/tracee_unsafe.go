//go:build linux && amd64

package trap

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ptrace requests, by raw system calls: they return at once, so the Go
// scheduler need not hear of them. ESRCH means that the tracee has been killed
// meanwhile, which is never more than a fact: its exit status follows.

// offRIP is where PTRACE_POKEUSER finds the program counter in struct user.
const offRIP = unsafe.Offsetof(unix.PtraceRegs{}.Rip)

func ptrace(request, tid int, addr, data uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	return errno
}

func getRegs(tid int, regs *unix.PtraceRegs) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGS, uintptr(tid), 0, uintptr(unsafe.Pointer(regs)), 0, 0)
	return errno
}

func setRegs(tid int, regs *unix.PtraceRegs) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGS, uintptr(tid), 0, uintptr(unsafe.Pointer(regs)), 0, 0)
	return errno
}

func setRIP(tid int, rip uint64) syscall.Errno {
	return ptrace(unix.PTRACE_POKEUSR, tid, offRIP, uintptr(rip))
}

// siginfo is the kernel's siginfo_t: 128 bytes, of which the first words are
// common to all signals.
type siginfo struct {
	signo int32
	errno int32
	code  int32
	_     int32
	_     [112]byte
}

func (si *siginfo) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(si)), unsafe.Sizeof(*si))
}

func getSiginfo(tid int, si *siginfo) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(si)), 0, 0)
	return errno
}

func setSiginfo(tid int, si *siginfo) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETSIGINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(si)), 0, 0)
	return errno
}

// rseqArea is where a thread has its struct rseq, if it has registered one (Linux 5.13).
func rseqArea(tid int) (uint64, bool) {
	const getRseqConfiguration = 0x420f
	var conf struct {
		pointer                uint64
		size, sig, flags, _pad uint32
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, getRseqConfiguration, uintptr(tid), unsafe.Sizeof(conf), uintptr(unsafe.Pointer(&conf)), 0, 0)
	return conf.pointer, errno == 0 && conf.pointer != 0
}

func eventMessage(tid int) (uint64, syscall.Errno) {
	var msg uint64
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETEVENTMSG, uintptr(tid), 0, uintptr(unsafe.Pointer(&msg)), 0, 0)
	return msg, errno
}

func getSigmask(tid int) (uint64, syscall.Errno) {
	var mask uint64
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGMASK, uintptr(tid), 8, uintptr(unsafe.Pointer(&mask)), 0, 0)
	return mask, errno
}

func setSigmask(tid int, mask uint64) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETSIGMASK, uintptr(tid), 8, uintptr(unsafe.Pointer(&mask)), 0, 0)
	return errno
}

// syscallStop tells whether a tracee in a syscall-stop enters or leaves the call
// (PTRACE_SYSCALL_INFO_ENTRY, _EXIT), and in the latter case what it returns.
func syscallStop(tid int) (op byte, result int64, errno syscall.Errno) {
	var info struct {
		op   byte
		_    [3]byte
		_    uint32
		_    [2]uint64
		rval int64
		_    [7]uint64
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info.op, info.rval, errno
}

// wait4 waits for children of the calling thread. It may block, so the Go
// scheduler is told.
func wait4(pid int, status *unix.WaitStatus, flags int) (int, syscall.Errno) {
	var raw int32
	tid, _, errno := syscall.Syscall6(unix.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&raw)), uintptr(flags), 0, 0, 0)
	*status = unix.WaitStatus(raw)
	return int(tid), errno
}

// readTwo reads from two places of a guest's memory in one system call. It returns
// the number of bytes read in all: as always with process_vm_readv, fewer than
// asked if a page could not be read.
func readTwo(tid int, a []byte, addrA uint64, b []byte, addrB uint64) int {
	local := [2]unix.Iovec{
		{Base: unsafe.SliceData(a), Len: uint64(len(a))},
		{Base: unsafe.SliceData(b), Len: uint64(len(b))},
	}
	remote := [2]unix.RemoteIovec{
		{Base: uintptr(addrA), Len: len(a)},
		{Base: uintptr(addrB), Len: len(b)},
	}
	n := uintptr(2)
	if len(b) == 0 {
		n = 1
	}
	got, _, errno := syscall.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid),
		uintptr(unsafe.Pointer(&local)), n, uintptr(unsafe.Pointer(&remote)), n, 0)
	if errno != 0 {
		return 0
	}
	return int(got)
}

// transfer copies between p and the guest's memory at addr, which may be an
// address that no Go pointer can have. The call is SYS_PROCESS_VM_READV or
// SYS_PROCESS_VM_WRITEV.
func transfer(call uintptr, tid int, addr uint64, p []byte) (int, syscall.Errno) {
	local := unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(p)}
	n, _, errno := syscall.RawSyscall6(call, uintptr(tid),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// kernelSigaction is struct sigaction as rt_sigaction(2) of x86-64 has it.
type kernelSigaction struct {
	handler  uint64
	flags    uint64
	restorer uint64
	mask     uint64
}

const (
	sigDfl = 0
	sigIgn = 1

	saNocldstop = 0x1
	saNodefer   = 0x40000000
	saResethand = 0x80000000
)

func (a *kernelSigaction) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a))
}

// quietChildStops sets SA_NOCLDSTOP on this process's handler of SIGCHLD. Without
// it each stop of a tracee also sends a SIGCHLD to us, which makes a trap about
// half as expensive again; that children end is still signalled.
func quietChildStops() {
	var act kernelSigaction
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
	if errno != 0 || act.flags&saNocldstop != 0 {
		return
	}
	act.flags |= saNocldstop
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

// sequences returns the address of a tracee's struct rseq, 0 if it has none.
func sequences(tid int) uint64 {
	var config struct {
		abi       uint64
		size      uint32
		signature uint32
		flags     uint32
		_         uint32
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_RSEQ_CONFIGURATION, uintptr(tid), unsafe.Sizeof(config), uintptr(unsafe.Pointer(&config)), 0, 0)
	if errno != 0 {
		return 0
	}
	return config.abi
}

// interruptsCalls makes a signal of this process, which Go handles, interrupt system calls
// for good, and reports whether it does.
func interruptsCalls(sig unix.Signal) bool {
	var act kernelSigaction
	const saRestart = 0x10000000
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
	if errno != 0 || act.handler <= sigIgn {
		return false
	}
	if act.flags&saRestart != 0 {
		act.flags &^= saRestart
		_, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
	}
	return errno == 0
}

// futexWake wakes all who wait on the word, in whatever process.
func futexWake(word *uint32) {
	const futexWakeOp = 1
	syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakeOp, 1<<31-1, 0, 0, 0)
}

// word returns the 32-bit word at an aligned offset of a mapping.
func word(mapping []byte, off int) *uint32 {
	return (*uint32)(unsafe.Pointer(&mapping[off]))
}

// mapAt maps part of a file into a reservation of ours.
func mapAt(reservation []byte, off, length uint64, fd int, fileOff int64) error {
	at := unsafe.Pointer(&reservation[off])
	_, err := unix.MmapPtr(fd, fileOff, at, uintptr(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	return err
}

// currentProcessor is the number of the processor that this runs on, -1 if the kernel does not tell.
func currentProcessor() int {
	var n uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&n)), 0, 0); errno != 0 {
		return -1
	}
	return int(n)
}
