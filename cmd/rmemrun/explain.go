package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rmemrun/decode"
)

func (a *app) explainCommand() *cobra.Command {
	var arch string
	c := &cobra.Command{
		Use:   "explain HEX...",
		Short: "Draw the bits of one instruction",
		Long: `Draw the bits of one instruction, given as hexadecimal digits in the order of
memory. The words of the command line are put together; spaces, commas, colons and 0x
before a word have no meaning. Bytes that are no instruction are refused with the reason.`,
		Example: `  rmemrun explain 0f b9 9c 3e 01 06 0d 5a
  rmemrun explain --arch arm64 34b50000a3900000`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			arch, ok := map[string]decode.Arch{"amd64": decode.ArchAMD64, "arm64": decode.ArchARM64}[arch]
			if !ok {
				return usage("--arch: it is amd64 or arm64")
			}
			code, err := parseHex(args)
			if err != nil {
				return usage("%q is not a number of whole bytes in hexadecimal: %w", strings.Join(args, " "), err)
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
			return nil, err
		}
		b = append(b, part...)
	}
	return b, nil
}
