package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDocumentation compiles the programs that docs/guests.md prints.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../docs/guests.md")
	if err != nil {
		t.Fatal(err)
	}
	compile := map[string]struct {
		file    string
		command []string // the file's path follows
	}{
		"c":   {"program.c", []string{"gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I.", "-c", "-o", os.DevNull}},
		"asm": {"program.S", []string{"gcc", "-m64", "-I.", "-c", "-o", os.DevNull}},
		"go":  {"program.go", []string{"go", "vet"}},
	}
	fenced := regexp.MustCompile("(?s)```(\\w+)\n(.*?)```\n").FindAllSubmatch(page, -1)
	if len(fenced) != 5 {
		t.Errorf("%d programs in docs/guests.md, this test knows of 5", len(fenced))
	}
	for n, match := range fenced {
		language, program := string(match[1]), match[2]
		t.Run(fmt.Sprint(n, language), func(t *testing.T) {
			with, ok := compile[language]
			if !ok {
				t.Fatalf("no compiler is known for a program in %q", language)
			}
			if _, err := exec.LookPath(with.command[0]); err != nil {
				t.Skipf("no %s here", with.command[0])
			}
			file := filepath.Join(t.TempDir(), with.file)
			if err := os.WriteFile(file, program, 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(with.command[0], append(with.command[1:], file)...)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", cmd, err, text)
			}
		})
	}
}
