//go:build linux && amd64

package trap

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping is a line of /proc/PID/maps.
type mapping struct {
	start, end uint64
	prot       uint64 // PROT_READ, PROT_WRITE, PROT_EXEC
	shared     bool
	off        uint64 // of start in the file
	inode      uint64
	name       string
}

func (m mapping) String() string {
	name := m.name
	if name == "" {
		name = "anonymous"
	}
	return fmt.Sprintf("%#x-%#x %s", m.start, m.end, name)
}

// mappings returns the guest's mappings that touch [start, end), by address.
func mappings(tid int, start, end uint64) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", tid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []mapping
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return nil, err
		}
		if m.start >= end {
			break // they come by address
		}
		if m.end > start {
			found = append(found, m)
		}
	}
	return found, lines.Err()
}

// parseMapping reads a line such as
//
//	7f1c5a000000-7f1c5a021000 rw-p 00000000 00:00 0     [stack]
func parseMapping(line string) (mapping, error) {
	bad := func() (mapping, error) {
		return mapping{}, fmt.Errorf("unexpected line in /proc/PID/maps: %q", line)
	}
	fields := strings.Fields(line)
	if len(fields) < 5 || len(fields[1]) != 4 {
		return bad()
	}
	from, to, ok := strings.Cut(fields[0], "-")
	if !ok {
		return bad()
	}
	var m mapping
	var err error
	if m.start, err = strconv.ParseUint(from, 16, 64); err != nil {
		return bad()
	}
	if m.end, err = strconv.ParseUint(to, 16, 64); err != nil {
		return bad()
	}
	if m.off, err = strconv.ParseUint(fields[2], 16, 64); err != nil {
		return bad()
	}
	if m.inode, err = strconv.ParseUint(fields[4], 10, 64); err != nil {
		return bad()
	}
	for i, p := range []uint64{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if fields[1][i] != '-' {
			m.prot |= p
		}
	}
	m.shared = fields[1][3] == 's'
	if len(fields) > 5 {
		m.name = strings.Join(fields[5:], " ")
	}
	return m, nil
}
