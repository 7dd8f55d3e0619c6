package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Print the manual page, or write those of all commands to a directory",
		Long: `Print the manual page of rmemrun, or write the pages of all commands to DIR,
which is made if it does not exist.`,
		Example: `  rmemrun man | man -l -
  rmemrun man ~/.local/share/man/man1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			root.DisableAutoGenTag = true // a page does not change with the day
			header := func() *doc.GenManHeader {
				return &doc.GenManHeader{Section: "1", Source: "rmemrun", Manual: "rmemrun manual"}
			}
			if len(args) == 0 {
				return doc.GenMan(root, header(), a.stdout)
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed("cannot make the directory of the pages: %w", err)
			}
			if err := doc.GenManTree(root, header(), args[0]); err != nil {
				return failed("cannot write the pages: %w", err)
			}
			_, err := fmt.Fprintf(a.stdout, "manual pages written to %s\n", args[0])
			return err
		},
	}
}
