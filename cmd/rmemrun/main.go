// Rmemrun runs programs that contain remote-memory instructions, on emulated
// nodes, and looks at such programs and at their runs.
//
// The package only parses, calls, and prints: what a command does is in the
// packages beside cmd. Each command has a file of its own, as has each view of a
// run (trace.go, summary.go, ndjson.go).
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr, os.Args[1:])) }

// The exit statuses of the commands that run no guests. Those of a run are in
// docs/commands/run.md.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// run is rmemrun: it returns the exit status.
func run(stdin, stdout, stderr *os.File, args []string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ran, err := root.ExecuteC()
	var s *statusError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &s):
	case errors.As(err, new(*os.PathError)): // standard output cannot be written to
		s = &statusError{status: statusFailed, err: err}
	default:
		s = wrongCall(err) // cobra's own: of flags and arguments
	}
	if s.err != nil {
		fmt.Fprintf(stderr, "rmemrun: %v\n", s.err)
	}
	if s.usage {
		fmt.Fprintf(stderr, "Try '%s --help'.\n", ran.CommandPath())
	}
	return s.status
}

// A statusError ends rmemrun with a status, and with a message unless err is nil.
type statusError struct {
	status int
	err    error
	usage  bool // rmemrun was called wrongly; the status does not tell, since a guest's may be the same
}

func (s *statusError) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.status)
	}
	return s.err.Error()
}

func (s *statusError) Unwrap() error { return s.err }

// failed is the error of a command that could not do its work.
func failed(format string, args ...any) error {
	return &statusError{status: statusFailed, err: fmt.Errorf(format, args...)}
}

// usage is the error of a command that was called wrongly.
func usage(format string, args ...any) error {
	return wrongCall(fmt.Errorf(format, args...))
}

// wrongCall makes of err the error of a command that was called wrongly.
func wrongCall(err error) *statusError {
	return &statusError{status: statusUsage, err: err, usage: true}
}

// An app is one call of rmemrun: its files and what the flags of all commands say.
type app struct {
	stdin, stdout, stderr *os.File

	logLevel string
	color    string
}

func (a *app) rootCommand() *cobra.Command {
	root := a.runCommand()
	root.Use = "rmemrun [run] [-n N] [flags] PROG [ARGS...] [: -n M PROG2 [ARGS...]]..."
	root.Short = "Run programs with remote-memory instructions on emulated nodes"
	root.Version = version()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "warn", "what to log on standard error: trace, debug, info, warn, error, off")
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "colour: auto (on a terminal, unless NO_COLOR is set), always, never")
	complete(root, "log-level", "trace", "debug", "info", "warn", "error", "off")
	complete(root, "color", "auto", "always", "never")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkFlags() }
	root.AddCommand(a.runCommand(), a.objdumpCommand(), a.explainCommand(), a.ccCommand(), a.doctorCommand(), a.manCommand(), a.benchCommand(), a.demoCommand(), a.captureCommand(), a.netCommand(), a.pingCommand())
	return root
}

func (a *app) checkFlags() error {
	switch a.color {
	case "auto", "always", "never":
	default:
		return usage("--color=%s: it is auto, always or never", a.color)
	}
	if a.logLevel != "off" && hclog.LevelFromString(a.logLevel) == hclog.NoLevel {
		return usage("--log-level=%s: it is trace, debug, info, warn, error or off", a.logLevel)
	}
	return nil
}

// log makes rmemrun's own log, on standard error.
func (a *app) log() hclog.Logger {
	color := hclog.ColorOff // hclog's own choice does not know NO_COLOR
	if a.colored(a.stderr) {
		color = hclog.ForceColor
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "rmemrun", Level: hclog.LevelFromString(a.logLevel), Output: a.stderr, DisableTime: true, Color: color,
	})
}

// complete makes the shell complete the values of a flag.
func complete(c *cobra.Command, flag string, values ...string) {
	// The only error is a flag that the command does not have.
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// version is the module's version and the commit it was built from, as far as
// the Go toolchain has noted them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}
