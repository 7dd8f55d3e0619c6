package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"rmemrun/decode"
)

func (a *app) objdumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "objdump FILE...",
		Short: "List the remote-memory instructions of programs",
		Long: `List the remote-memory instructions of programs, libraries or object files:
address, function, bytes, operation, and the register of each operand.`,
		Example: `  rmemrun objdump ./hello`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("no file to list: name a program, library or object file, as in rmemrun objdump ./hello")
			}
			var failure error
			for i, name := range args {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				if err := a.objdump(name); err != nil {
					fmt.Fprintf(a.stderr, "rmemrun: %v\n", err)
					failure = &statusError{status: statusFailed}
				}
			}
			return failure
		},
	}
}

func (a *app) objdump(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sites, err := decode.Scan(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch len(sites) {
	case 0:
		_, err = fmt.Fprintf(a.stdout, "%s: no remote-memory instructions\n", name)
		return err
	case 1:
		_, err = fmt.Fprintf(a.stdout, "%s: 1 remote-memory instruction\n", name)
	default:
		_, err = fmt.Fprintf(a.stdout, "%s: %d remote-memory instructions\n", name, len(sites))
	}
	if err != nil {
		return err
	}
	// One width for the functions of this file: the texts stand in a column.
	width := 0
	for _, s := range sites {
		width = max(width, len(function(s)))
	}
	for _, s := range sites {
		_, err := fmt.Fprintf(a.stdout, "%8x  %-*s  %-26s  %v\n", s.Addr, width, function(s), fmt.Sprintf("% x", s.Bytes), s.Instruction)
		if err != nil {
			return err
		}
	}
	return nil
}

// function says in which function an instruction is. A file may call one by any bytes:
// those that are not for a terminal are written as in a Go string.
func function(s decode.Site) string {
	quoted := strconv.Quote(s.Symbol)
	name := quoted[1 : len(quoted)-1]
	switch {
	case name == "":
		return ""
	case s.Offset == 0:
		return "<" + name + ">"
	}
	return fmt.Sprintf("<%s+%#x>", name, s.Offset)
}
