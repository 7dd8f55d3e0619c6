package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ucx_perftest is UCX's own measure. It pins, warms up and repeats by itself and prints no more than quantiles; what is used is the
// median, since its means take in every disturbance. Each test needs a server of its own.
//
// A perftestItem is the test of an item: with UCP tests the transport comes from UCX_TLS, with UCT tests from the command line.
type perftestItem struct {
	test string
	// perTrip is what the printed time is to be multiplied by: *_lat print half of a round trip.
	perTrip float64
}

var perftestUCP = map[string]perftestItem{
	"pingpong": {"ucp_put_lat", 2},
	"post":     {"ucp_put_bw", 1},
	"put":      {"ucp_put_bw", 1}, // of a block: by then all but the last is acknowledged
	"get":      {"ucp_get", 1},
	"cas":      {"ucp_cswap", 1},
	"fadd":     {"ucp_fadd", 1},
}

// With cross-memory attach a put is over when the call returns.
var perftestCMA = map[string]perftestItem{"put": {"put_bw", 1}, "get": {"get", 1}}

// perftest measures items with a transport: posix, tcp or cma.
func perftest(transport string, env []string) func(context.Context, *launcher, []string) ([]byte, error) {
	return func(ctx context.Context, l *launcher, items []string) ([]byte, error) {
		var out bytes.Buffer
		for _, text := range items {
			i := itemsOf(text)[0]
			test, more := perftestUCP[i.name], []string(nil)
			if transport == "cma" {
				test, more = perftestCMA[i.name], []string{"-x", "cma", "-d", "memory", "-D", "zcopy"}
			}
			if test.test == "" {
				fmt.Fprintf(&out, "none %s %d ucx_perftest cannot measure it over %s\n", i.name, i.size, transport)
				continue
			}
			count := perftestCount(transport, i.size, l.ms)
			args := append([]string{"-t", test.test, "-s", strconv.Itoa(i.size), "-n", strconv.Itoa(count), "-w", strconv.Itoa(max(count/10, 1)), "-f", "-v"}, more...)
			printed, err := perftestRun(ctx, l, env, args)
			if err != nil {
				return nil, err
			}
			us, err := parsePerftest(printed)
			if err != nil {
				return nil, fmt.Errorf("ucx_perftest -t %s: %w", test.test, err)
			}
			// As a batch of all operations: what it is the median of is not known.
			fmt.Fprintf(&out, "batch %s %d %d %.0f\n", i.name, i.size, count, us*1000*test.perTrip*float64(count))
		}
		return out.Bytes(), nil
	}
}

// perftestCount is about how many operations fit into the time.
func perftestCount(transport string, size, ms int) int {
	perMS := 10000
	switch {
	case transport == "tcp":
		perMS = 50
	case size >= 64<<10:
		perMS = 20
	case transport == "cma":
		perMS = 500
	}
	return max(ms*perMS, 100)
}

// perftestRun runs a test against a server of its own, which has the target's CPU.
func perftestRun(ctx context.Context, l *launcher, env, args []string) ([]byte, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := strconv.Itoa(port)
	server, err := l.start(ctx, l.cpus[1:], env, "ucx_perftest", "-p", p)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	for range 200 { // it may be slow to begin; trying to call it would be taken for the client
		if listening(port) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return l.output(ctx, l.cpus[:1], env, "ucx_perftest", append([]string{"127.0.0.1", "-p", p}, args...)...)
}

// freePort is a TCP port that nobody listens at.
func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port for ucx_perftest: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// listening says whether some process listens at a TCP port, by the kernel's table.
func listening(port int) bool {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			const listen = "0A"
			if len(f) > 3 && f[3] == listen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return true
			}
		}
	}
	return false
}

// parsePerftest reads the median, in µs, from what ucx_perftest -f -v prints: a line of names and a line of numbers, which may be
// padded with blanks.
func parsePerftest(out []byte) (float64, error) {
	column := -1
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		for i, f := range fields {
			fields[i] = strings.TrimSpace(f)
		}
		if fields[0] == "iterations" {
			for i, f := range fields {
				if strings.HasPrefix(f, "50.0_percentile") {
					column = i
				}
			}
			continue
		}
		if _, err := strconv.Atoi(fields[0]); err != nil || column < 0 || column >= len(fields) {
			continue
		}
		us, err := strconv.ParseFloat(fields[column], 64)
		if err != nil || us <= 0 {
			return 0, fmt.Errorf("no time in %q", line)
		}
		return us, nil
	}
	if column < 0 {
		return 0, errors.New("it prints no column 50.0_percentile")
	}
	return 0, errors.New("it prints no line of numbers")
}

// perftestVersion is what UCX says it is.
func perftestVersion() string {
	out, err := exec.Command("ucx_info", "-v").Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return "UCX " + strings.TrimSpace(strings.TrimLeft(first, "# "))
}
