package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rmemrun/runtime"
)

// joinFlags are the flags by which a run joins that of another rmemrun.
type joinFlags struct {
	listen, peer, secret string

	flags *pflag.FlagSet // that they are among
}

// add adds the flags to a command.
func (f *joinFlags) add(c *cobra.Command) {
	flags := c.Flags()
	f.flags = flags
	flags.StringVar(&f.listen, "listen", "", "wait at `ADDR`, [udp://|bare://|tcp://]HOST[:PORT], for another rmemrun, and run one job with it")
	flags.StringVar(&f.peer, "peer", "", "run one job with the rmemrun that listens at `ADDR`")
	flags.StringVar(&f.secret, "secret-file", "", "what is in `FILE` is the secret by which the two know each other")
}

// join is how to join, nil if the run is to stay by itself.
func (f *joinFlags) join(a *app) (*runtime.Join, error) {
	given := f.flags.Changed
	if !given("listen") && !given("peer") {
		if given("secret-file") {
			return nil, usage("--secret-file is for --listen and --peer")
		}
		return nil, nil
	}
	if given("listen") && given("peer") {
		return nil, usage("--listen and --peer: one of the two rmemruns listens, the other calls")
	}
	j := &runtime.Join{
		Listening: func(addr string) { fmt.Fprintf(a.stderr, "rmemrun: waiting at %s for the other rmemrun\n", addr) },
	}
	for _, x := range []struct {
		flag, value string
		to          *string
	}{{"listen", f.listen, &j.Listen}, {"peer", f.peer, &j.Peer}} {
		if !given(x.flag) {
			continue
		}
		if x.value == "" {
			return nil, usage("--%s: the address is empty; it is [udp://|bare://|tcp://]HOST[:PORT]", x.flag)
		}
		addr, err := runtime.JoinAddress(x.value)
		if err != nil {
			return nil, usage("--%s: %w", x.flag, err)
		}
		if x.flag == "peer" && strings.Contains(addr, "://:") {
			return nil, usage("--peer=%s: it names no host to call; it is [udp://|bare://|tcp://]HOST[:PORT]", x.value)
		}
		*x.to = addr
	}
	if given("secret-file") {
		secret, err := os.ReadFile(f.secret)
		if err != nil {
			return nil, usage("--secret-file: %w", err)
		}
		if j.Secret = bytes.TrimSpace(secret); len(j.Secret) == 0 {
			return nil, usage("--secret-file: there is no secret in %s", f.secret)
		}
	}
	return j, nil
}
