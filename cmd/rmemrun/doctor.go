package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"rmemrun/ring"
	"rmemrun/runtime"
)

// A check looks at one thing that rmemrun needs, or is better with.
type check struct {
	name     string
	required bool // without it no guest runs
	look     func() result
}

// A result is what was found and, if that will not do, why, and what to do.
type result struct {
	found   string
	problem error
	remedy  string
}

// A finding is what a check has found, as --json prints it.
type finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"` // "ok", "warn", or "fail": something required is missing
	Found   string `json:"found"`
	Problem string `json:"problem,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this machine allows rmemrun to do",
		Long: `Check what this machine allows rmemrun to do, by doing it. What is missing is printed with
its remedy: "fail" means that no program can be run, "warn" that something
works less well or not at all. The exit status is 1 if anything has failed.`,
		Example: `  rmemrun doctor
  rmemrun doctor --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			findings := diagnose(checks)
			if err := a.report(findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == "fail" {
					return &statusError{status: statusFailed}
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print NDJSON, one object a line")
	return c
}

func diagnose(checks []check) []finding {
	var all []finding
	for _, c := range checks {
		r := c.look()
		f := finding{Check: c.name, Status: "ok", Found: r.found}
		if r.problem != nil {
			f.Problem, f.Remedy, f.Status = r.problem.Error(), r.remedy, "warn"
			if c.required {
				f.Status = "fail"
			}
		}
		all = append(all, f)
	}
	return all
}

func (a *app) report(findings []finding, asJSON bool) error {
	w := &lineWriter{w: a.stdout}
	if asJSON {
		header, err := json.Marshal(ndjsonHeader{Type: "rmemrun", Version: ndjsonVersion})
		if err != nil {
			return err
		}
		w.printf("%s\n", header)
	}
	p := paint(a.colored(a.stdout))
	mark := map[string]string{"ok": p.green("ok  "), "warn": p.yellow("warn"), "fail": p.red("fail")}
	for _, f := range findings {
		if asJSON {
			line, err := json.Marshal(f)
			if err != nil {
				return err
			}
			w.printf("%s\n", line)
			continue
		}
		w.printf("%s  %-18s %s\n", mark[f.Status], f.Check, f.Found)
		if f.Problem != "" {
			w.printf("      %-18s %s\n", "", f.Problem)
			w.printf("      %-18s %s\n", "", p.dim("-> "+f.Remedy))
		}
	}
	return w.err
}

var checks = []check{
	{"processor", true, processor},
	{"kernel", true, kernel},
	{"ptrace", true, yama},
	{"seccomp filter", true, seccompFilter},
	{"memory file", true, memoryFile},
	{"process memory", true, processMemory},
	{"guest", true, aGuest},
	{"stubs", false, stubs},
	{"container", false, container},
	{"processors", false, cpus},
	{"directory", false, directory},
	{"perf counters", false, perfCounters},
	{"C compiler", false, cCompiler},
}

func processor() result {
	found := goruntime.GOOS + "/" + goruntime.GOARCH
	if found != "linux/amd64" {
		return result{found, errors.New("guests run on linux/amd64"), "use an x86-64 machine; objdump and explain work here too"}
	}
	return result{found, nil, ""}
}

// oldest is the oldest kernel that can do it: PTRACE_GET_SYSCALL_INFO came with it.
var oldest = [2]int{5, 3}

func kernel() result {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return result{"", err, "uname(2) has to be allowed"}
	}
	release := unix.ByteSliceToString(u.Release[:])
	return result{"Linux " + release, kernelOldEnough(release), fmt.Sprintf("install Linux %d.%d or later", oldest[0], oldest[1])}
}

func kernelOldEnough(release string) error {
	var major, minor int
	if n, err := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return fmt.Errorf("the release is not a number: %w", err)
	}
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return fmt.Errorf("it is older than %d.%d", oldest[0], oldest[1])
	}
	return nil
}

// yama reads who may trace whom. The check "guest" tries it.
func yama() result {
	b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if errors.Is(err, fs.ErrNotExist) {
		return result{"no Yama: a process may trace its children", nil, ""}
	}
	if err != nil {
		return result{"", err, "/proc/sys has to be readable"}
	}
	scope := strings.TrimSpace(string(b))
	found := "kernel.yama.ptrace_scope = " + scope
	remedy, err := yamaScope(scope, capable(unix.CAP_SYS_PTRACE))
	return result{found, err, remedy}
}

// yamaScope says why a scope will not do, and what to do.
func yamaScope(scope string, privileged bool) (remedy string, problem error) {
	switch scope {
	case "0", "1":
		return "", nil // a process may trace its children
	case "2":
		if privileged {
			return "", nil
		}
		return "sysctl kernel.yama.ptrace_scope=1, or run rmemrun as root", errors.New("only processes with CAP_SYS_PTRACE may trace")
	}
	return "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and boot again: it cannot be lowered", errors.New("no process may trace")
}

// capable reports whether this process has a capability.
func capable(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func seccompFilter() result {
	const remedy = "build the kernel with CONFIG_SECCOMP_FILTER; in a container, use --security-opt seccomp=unconfined"
	action := uint32(unix.SECCOMP_RET_TRACE)
	if errno := seccompActionAvailable(&action); errno != 0 {
		return result{"", fmt.Errorf("filters cannot report system calls to a tracer: %w", errno), remedy}
	}
	return result{"a filter can report system calls to a tracer", nil, ""}
}

func memoryFile() result {
	const remedy = "memfd_create(2) has to be allowed: in a container, use --security-opt seccomp=unconfined"
	fd, err := unix.MemfdCreate("rmemrun-doctor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return result{"", fmt.Errorf("memfd_create: %w", err), remedy}
	}
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_FUTURE_WRITE); err != nil {
		return result{"", fmt.Errorf("seals: %w", err), remedy}
	}
	return result{"memory files can be made and sealed", nil, ""}
}

func processMemory() result {
	from, to := []byte{1}, []byte{0}
	n, err := unix.ProcessVMReadv(os.Getpid(), []unix.Iovec{{Base: &to[0], Len: 1}}, []unix.RemoteIovec{{Base: addressOf(from), Len: 1}}, 0)
	if err == nil && (n != 1 || to[0] != 1) {
		err = errors.New("it read something else")
	}
	if err != nil {
		return result{"", fmt.Errorf("process_vm_readv: %w", err), "build the kernel with CONFIG_CROSS_MEMORY_ATTACH; in a container, use --cap-add=SYS_PTRACE"}
	}
	return result{"process_vm_readv works", nil, ""}
}

// aGuest runs a guest, rmemrun itself, as every run does.
func aGuest() result {
	const remedy = "the checks above, or the message, say what is missing; in a container, use --cap-add=SYS_PTRACE --security-opt seccomp=unconfined"
	self, err := os.Executable()
	if err != nil {
		return result{"", err, "/proc has to be mounted"}
	}
	start := time.Now()
	job := runtime.Job{Programs: []runtime.Program{{Path: self, Args: []string{"--version"}, Nodes: 1}}}
	ended, err := job.Run()
	if err == nil && ended.Status != 0 {
		err = fmt.Errorf("it ended with status %d", ended.Status)
	}
	if err != nil {
		return result{"", fmt.Errorf("a guest could not be run: %w", err), remedy}
	}
	return result{fmt.Sprintf("a program was traced to its end, in %s", format(time.Since(start))), nil, ""}
}

// stubs looks at what the patch engine needs to carry instructions out without a trap, beside what every engine does.
func stubs() result {
	if !cpu.X86.HasPCLMULQDQ || !cpu.X86.HasSSSE3 {
		return result{"", errors.New("the processor lacks PCLMULQDQ or SSSE3: every instruction traps"), "none; every instruction works, in more time"}
	}
	const proc = "/proc has to be mounted, with the process's own files in it"
	fd, err := unix.MemfdCreate("rmemrun-doctor", unix.MFD_CLOEXEC)
	if err != nil {
		return result{"", fmt.Errorf("memfd_create: %w", err), "see memory file"}
	}
	defer unix.Close(fd)
	name := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) // by which a guest opens it
	again, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return result{"", fmt.Errorf("open %s: %w: no memory can be shared with guests, and every instruction traps", name, err), proc}
	}
	unix.Close(again)
	if err := ring.Barrier(); err != nil {
		return result{"", fmt.Errorf("membarrier(2): %w: each instruction takes a fence more", err), "build the kernel with CONFIG_MEMBARRIER, 4.16 or later; in a container, use --security-opt seccomp=unconfined"}
	}
	return result{"instructions can be carried out without a trap", nil, ""}
}

// container notes in what rmemrun runs: it explains what else is missing.
func container() result {
	for file, name := range map[string]string{"/.dockerenv": "Docker", "/run/.containerenv": "Podman"} {
		if _, err := os.Stat(file); err == nil {
			return result{name, nil, ""}
		}
	}
	return result{"none that is known", nil, ""}
}

func cpus() result {
	n := goruntime.NumCPU() // those that this process may run on
	if n < 2 {
		return result{"1 processor", errors.New("the nodes take turns, and no figure of a benchmark tells about the other machine"), "give rmemrun two processors or more"}
	}
	return result{fmt.Sprintf("%d processors", n), nil, ""}
}

// directory looks where people compile their first program.
func directory() result {
	var s unix.Statfs_t
	if err := unix.Statfs(".", &s); err != nil {
		return result{"", err, "change to a directory that exists"}
	}
	if s.Flags&unix.ST_NOEXEC != 0 {
		return result{"", errors.New("the current directory is mounted noexec: programs in it cannot be executed"), "build guests elsewhere, or mount it with exec"}
	}
	return result{"programs in the current directory can be executed", nil, ""}
}

func perfCounters() result {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK, Size: unix.PERF_ATTR_SIZE_VER0,
		Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return result{"", fmt.Errorf("perf_event_open: %w: perf cannot look at guests", err), "sysctl kernel.perf_event_paranoid=2; in a container, --cap-add=PERFMON"}
	}
	unix.Close(fd)
	return result{"perf can count events of a process", nil, ""}
}

func cCompiler() result {
	name := compiler(os.Getenv("CC"))[0]
	path, err := exec.LookPath(name)
	if err != nil {
		return result{"", fmt.Errorf("there is no %s for rmemrun cc", name), "install gcc or clang, or set CC"}
	}
	return result{path, nil, ""}
}
