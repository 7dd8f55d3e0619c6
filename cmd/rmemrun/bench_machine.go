package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// benchMachine is where and with what was measured.
type benchMachine struct {
	CPU      string `json:"cpu"`
	CPUs     int    `json:"cpus"`
	Pinned   []int  `json:"pinned_to,omitempty"` // CPUs that guests, tracer and rmemrun were confined to
	Kernel   string `json:"kernel"`
	Arch     string `json:"arch"`
	Version  string `json:"rmemrun"`
	Go       string `json:"go"`
	Compiler string `json:"cc,omitempty"`
}

func thisMachine(pinned []int, compiler string) benchMachine {
	m := benchMachine{CPU: "unknown", Pinned: pinned, Kernel: "unknown", Arch: runtime.GOARCH, Version: version(), Go: runtime.Version(), Compiler: compiler}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "model name":
				m.CPU = strings.TrimSpace(value)
			case "processor":
				m.CPUs++
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// firstLine is the first line that a program prints.
func firstLine(path string, args ...string) string {
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		return path
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(line)
}

// pinProcess confines this process, and what it will start, to the CPUs: a list as
// in 0,2-3; "all" for those it may use; "" for the first of these. It returns
// them, or nil for all.
func pinProcess(list string) ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("ask which CPUs may be used: %w", err)
	}
	var cpus []int
	switch list {
	case "all":
		return nil, nil
	case "":
		cpu := 0
		for !allowed.IsSet(cpu) {
			cpu++
		}
		cpus = []int{cpu}
	default:
		var err error
		if cpus, err = parseCPUs(list); err != nil {
			return nil, err
		}
	}
	var set unix.CPUSet
	for _, cpu := range cpus {
		if !allowed.IsSet(cpu) {
			return nil, fmt.Errorf("--cpus %s: CPU %d does not exist or may not be used", list, cpu)
		}
		set.Set(cpu)
	}
	// A thread inherits the CPUs of the one that started it: when a pass finds
	// none that it has not seen, all have them.
	for seen := map[string]bool{}; ; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return nil, fmt.Errorf("list the threads to be pinned: %w", err)
		}
		found := false
		for _, t := range tasks {
			if seen[t.Name()] {
				continue
			}
			seen[t.Name()], found = true, true
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return nil, fmt.Errorf("list the threads to be pinned: %w", err)
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return nil, fmt.Errorf("pin to CPU %v: %w", cpus, err)
			}
		}
		if !found {
			return cpus, nil
		}
	}
}

// parseCPUs reads a list such as 0,2-3.
func parseCPUs(list string) ([]int, error) {
	const most = 1024 // of unix.CPUSet
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || to < from || to >= most {
			return nil, fmt.Errorf("--cpus %s: not a list of CPUs such as 0,2-3, or all", list)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	return cpus, nil
}

// A benchProgress is a line on a terminal that says how far the bench is.
type benchProgress struct {
	w      *bufio.Writer // nil: no terminal
	what   string
	rounds int
}

func newProgress(f *os.File, what string, rounds int) *benchProgress {
	p := &benchProgress{what: what, rounds: rounds}
	if isTerminal(f) {
		p.w = bufio.NewWriter(f)
	}
	return p
}

func (p *benchProgress) show(round int) {
	if p.w != nil {
		fmt.Fprintf(p.w, "\r%s: round %d of %d", p.what, round+1, p.rounds)
		_ = p.w.Flush() // only a terminal's view is lost
	}
}

// end takes the line away.
func (p *benchProgress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\033[K")
		_ = p.w.Flush()
	}
}
