package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rmemrun/internal/bench"
)

// benchCompareCommand compares two records.
func (a *app) benchCompareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two records of rmemrun bench --all",
		Long: `compare prints the figures that are in both of two records of rmemrun bench --all -o,
and how those of B differ from those of A. A figure is better or worse if the values of its
pairs in the one record are all below those in the other.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var r [2]*bench.Record
			for i, path := range args {
				var err error
				if r[i], err = bench.Read(path); err != nil {
					return failed("compare: %w", err)
				}
			}
			if err := bench.WriteChanges(a.stdout, r[0], r[1]); err != nil {
				return failed("print the comparison: %w", err)
			}
			return nil
		},
	}
}

// benchPlotCommand draws a record.
func (a *app) benchPlotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plot FILE DIRECTORY",
		Short: "Draw a record of rmemrun bench --all as SVG",
		Long: `plot draws what is in a record of rmemrun bench --all -o FILE into a directory: the ladder
from trap to store and, if it was measured with --sweep, time and bandwidth against size
and cost against the number of nodes. Each is an SVG with its data as CSV.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := bench.Read(args[0])
			if err != nil {
				return failed("plot: %w", err)
			}
			names, err := r.WritePlots(args[1])
			if err != nil {
				return failed("plot: %w", err)
			}
			if len(names) == 0 {
				return failed("plot: %s has nothing to draw; measure with --all --sweep", args[0])
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n", strings.Join(names, "\n"))
			return err
		},
	}
}
