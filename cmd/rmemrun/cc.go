package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rmemrun/guest"
	"rmemrun/runtime"
)

func (a *app) ccCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cc [--show] ARGS...",
		Short: "Compile a C or C++ program that includes rmem.h",
		Long: `Compile a C or C++ program that includes rmem.h, which rmemrun brings along:
call the compiler with ARGS and the directory of the header. The compiler is $CC,
else cc. --show, as the first argument, prints the command instead, for a Makefile
or an editor. The exit status is the compiler's, 127 if there is none.`,
		Example: `  rmemrun cc -O2 -o hello hello.c
  CC=clang++ rmemrun cc -std=c++17 -o hello hello.cc`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("no file to compile")
			}
			if args[0] == "--help" || args[0] == "-h" {
				return c.Help()
			}
			return a.cc(args)
		},
	}
}

func (a *app) cc(args []string) error {
	show := args[0] == "--show"
	if show {
		args = args[1:]
	}
	include, err := headerDir(os.UserCacheDir, guest.Header)
	if err != nil {
		return failed("cannot put rmem.h where the compiler finds it: %w; set XDG_CACHE_HOME to a directory that can be written", err)
	}
	command := append(compiler(os.Getenv("CC")), "-I"+include)
	command = append(command, args...)
	if show {
		_, err := fmt.Fprintln(a.stdout, strings.Join(quoted(command), " "))
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return &statusError{status: exit.ExitCode()}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return &statusError{status: runtime.StatusNotFound, err: fmt.Errorf("no C compiler: %w; install gcc or clang, or set CC", err)}
	}
	return failed("%s: %w", command[0], err)
}

// compiler is $CC in words, as make takes it, or cc.
func compiler(cc string) []string {
	if words := strings.Fields(cc); len(words) > 0 {
		return words
	}
	return []string{"cc"}
}

// headerDir returns a directory that holds rmem.h with the given text. It is
// named after the text, so that versions of rmemrun do not disturb each other.
func headerDir(cacheDir func() (string, error), text []byte) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	dir := filepath.Join(cache, "rmemrun", fmt.Sprintf("include-%x", sum[:8]))
	name := filepath.Join(dir, "rmem.h")
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Another rmemrun may do the same at the same time, and a compiler read it.
	f, err := os.CreateTemp(dir, "rmem.h.")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return dir, err
}

// quoted quotes the words that a shell would take apart.
func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`&|;<>()*?[]{}~#!") {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return out
}
