package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets this program be a ucx_perftest: one that is called by an address says what it was asked for and prints a time; another
// listens.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "ucx_perftest" {
		os.Exit(m.Run())
	}
	if slices.Contains(os.Args, "127.0.0.1") {
		i := slices.Index(os.Args, "-p")
		peer, err := net.Dial("tcp4", "127.0.0.1:"+os.Args[i+1])
		if err != nil {
			fmt.Fprintln(os.Stderr, "no server:", err)
			os.Exit(1)
		}
		peer.Close()
		test := os.Args[slices.Index(os.Args, "-t")+1]
		times := map[string]string{"ucp_put_lat": "0.050", "ucp_get": "0.020", "ucp_cswap": "0.030", "put_bw": "1.400"}
		fmt.Printf("iterations,50.0_percentile_lat,avg_lat\n%5d,%s,9.9\n", 500, times[test])
		os.Exit(0)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[2])
	if err != nil {
		os.Exit(1)
	}
	for {
		if _, err := listener.Accept(); err != nil {
			os.Exit(1)
		}
	}
}

// Each item is a test of ucx_perftest with a server of its own; what it prints half of is doubled, and what it cannot measure is said.
func TestPerftest(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ucx_perftest")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	cpu := firstCPU(t)
	for _, tt := range []struct {
		transport string
		items     []string
		want      map[string]float64
		absent    string
		command   string
	}{
		{"posix", []string{"pingpong:40", "get:40", "cas:8"}, map[string]float64{"pingpong:40": 100, "get:40": 20, "cas:8": 30}, "", "-t ucp_put_lat -s 40 -n 10000 -w 1000 -f -v"},
		{"cma", []string{"put:40", "cas:8"}, map[string]float64{"put:40": 1400}, "cas:8", "-t put_bw -s 40 -n 500 -w 50 -f -v -x cma -d memory -D zcopy"},
	} {
		l := &launcher{ms: 1, cpus: [2]int{cpu, cpu}}
		out, err := perftest(tt.transport, []string{"UCX_TLS=test"})(context.Background(), l, tt.items)
		if err != nil {
			t.Fatal(err)
		}
		items, _, err := parseLines(out)
		if err != nil || len(items) != len(tt.items) {
			t.Fatalf("%s: %v, %v", tt.transport, items, err)
		}
		for _, i := range items {
			k := key(i.Name, i.Bytes)
			if (i.Absent != "") != (k == tt.absent) || i.P50 != tt.want[k] {
				t.Errorf("%s %s: %v ns, absent %q, want %v", tt.transport, k, i.P50, i.Absent, tt.want[k])
			}
		}
		if !strings.HasPrefix(l.command[0], "UCX_TLS=test ucx_perftest -p ") || !strings.HasSuffix(l.command[1], tt.command) {
			t.Errorf("%s: it was run as %q", tt.transport, l.command[:2])
		}
	}
}
