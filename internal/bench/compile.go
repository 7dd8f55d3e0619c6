package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	programs "rmemrun/testprogs/bench"
	"rmemrun/testprogs/floors"
)

// flags are those of all programs.
var flags = []string{"-std=gnu11", "-O2"}

// sources are the programs that are always compiled; guests by rmemrun cc.
var sources = []struct {
	name, text string
	guest      bool
	more       []string
}{
	{"shm", floors.Memory, false, nil},
	{"vm", floors.CrossMemory, false, nil},
	{"traps", floors.Traps, false, nil},
	{"net", floors.Net, false, nil},
	{"tracer", floors.Tracer, false, nil},
	{"guest", programs.Guest, true, nil},
	{"start", programs.Start, false, []string{"-static"}},
}

// compile compiles all that is ours into the bench's directory.
func (b *Bench) compile(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(b.dir, "batch.h"), []byte(programs.Header), 0o600); err != nil {
		return fmt.Errorf("write the programs' header: %w", err)
	}
	for _, s := range sources {
		compiler := []string{b.CC}
		if s.guest {
			compiler = []string{b.Self, "cc"}
		}
		err := b.compileOne(ctx, compiler, s.name, s.text, s.more...)
		if err != nil && s.name == "start" { // no static libc: the dynamic loader is then in both
			err = b.compileOne(ctx, compiler, s.name, s.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compileOne compiles one program of that name.
func (b *Bench) compileOne(ctx context.Context, compiler []string, name, text string, more ...string) error {
	source := filepath.Join(b.dir, name+".c")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the source of %s: %w", name, err)
	}
	args := append(append(compiler[1:len(compiler):len(compiler)], flags...), "-I"+b.dir, "-o", filepath.Join(b.dir, name), source)
	cmd := exec.CommandContext(ctx, compiler[0], append(args, more...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile %s with %s: %w: %s", name, filepath.Base(compiler[0]), err, firstError(out))
	}
	return nil
}

// firstError is the line of a compiler's output that says what is wrong.
func firstError(out []byte) string {
	first := ""
	for line := range bytes.Lines(out) {
		text := string(bytes.TrimSpace(line))
		if bytes.Contains(line, []byte("error:")) || bytes.Contains(line, []byte("cannot find")) {
			return text
		}
		if first == "" {
			first = text
		}
	}
	return first
}
