package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rmemrun/decode"
)

const explainExample = "rmemrun explain 0f b9 9c 3e 01 06 0d 5a"

func (a *app) explainCommand() *cobra.Command {
	var arch string
	c := &cobra.Command{
		Use:   "explain HEX...",
		Short: "Draw the bits of one instruction",
		Long: `Draw the bits of one instruction, given as hexadecimal digits in the order of
memory. The words of the command line are put together; spaces, commas, colons and 0x
before a word have no meaning. Bytes that are no instruction are refused with the reason.`,
		Example: "  " + explainExample + `
  rmemrun explain --arch arm64 34b50000a3900000`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("no bytes to explain: give those of an instruction in hexadecimal, as in " + explainExample)
			}
			arch, ok := map[string]decode.Arch{"amd64": decode.ArchAMD64, "arm64": decode.ArchARM64}[arch]
			if !ok {
				return usage("--arch: it is amd64 or arm64")
			}
			code, err := parseHex(args)
			if err != nil {
				return usage("%q: %w; give the bytes in hexadecimal, as in "+explainExample, strings.Join(args, " "), err)
			}
			text, err := decode.Explain(arch, code)
			if err != nil {
				return failed("% x: %w", code, err)
			}
			_, err = fmt.Fprint(a.stdout, text)
			return err
		},
	}
	c.Flags().StringVar(&arch, "arch", "amd64", "architecture: amd64 or arm64")
	complete(c, "arch", "amd64", "arm64")
	return c
}

// parseHex reads bytes as people and tools write them: "0fb9", "0f b9", "0x0f 0xb9", "0f:b9".
func parseHex(words []string) ([]byte, error) {
	var b []byte
	for _, w := range strings.FieldsFunc(strings.Join(words, " "), func(r rune) bool { return strings.ContainsRune(" \t,:", r) }) {
		w = strings.TrimPrefix(w, "0x")
		part, err := hex.DecodeString(w)
		if err != nil {
			for _, r := range w {
				if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
					return nil, fmt.Errorf("%q is not a hexadecimal digit", r)
				}
			}
			return nil, fmt.Errorf("%s has an odd number of digits, and a byte has two", w)
		}
		b = append(b, part...)
	}
	return b, nil
}
