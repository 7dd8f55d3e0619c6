package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"rmemrun/runtime"
)

// joinFlags are the flags by which a run joins that of another rmemrun.
type joinFlags struct {
	listen, peer, secret string
}

// add adds the flags to a command.
func (f *joinFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "", "wait at `ADDR`, [udp://|bare://|tcp://]HOST[:PORT], for another rmemrun, and run one job with it")
	flags.StringVar(&f.peer, "peer", "", "run one job with the rmemrun that listens at `ADDR`")
	flags.StringVar(&f.secret, "secret-file", "", "what is in `FILE` is the secret by which the two know each other")
}

// join is how to join, nil if the run is to stay by itself.
func (f *joinFlags) join(a *app) (*runtime.Join, error) {
	if f.listen == "" && f.peer == "" {
		if f.secret != "" {
			return nil, usage("--secret-file is for --listen and --peer")
		}
		return nil, nil
	}
	if f.listen != "" && f.peer != "" {
		return nil, usage("--listen and --peer: one of the two rmemruns listens, the other calls")
	}
	j := &runtime.Join{
		Listening: func(addr string) { fmt.Fprintf(a.stderr, "rmemrun: waiting at %s for the other rmemrun\n", addr) },
	}
	for _, x := range []struct {
		flag, value string
		to          *string
	}{{"listen", f.listen, &j.Listen}, {"peer", f.peer, &j.Peer}} {
		if x.value == "" {
			continue
		}
		addr, err := runtime.JoinAddress(x.value)
		if err != nil {
			return nil, usage("--%s: %w", x.flag, err)
		}
		*x.to = addr
	}
	if f.secret != "" {
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
