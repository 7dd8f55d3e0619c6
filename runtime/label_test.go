package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestLabelledLines(t *testing.T) {
	const label = "[3] "
	long := strings.Repeat("a", maxLabelled) // with the label in front it is cut
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"one line", "hello\n", "[3] hello\n"},
		{"empty lines", "\n\n", "[3] \n[3] \n"},
		{"a last line without its newline", "a\nb", "[3] a\n[3] b\n"},
		{"zero bytes and carriage returns are data", "a\x00\r\nb\n", "[3] a\x00\r\n[3] b\n"},
		{"a line too long to keep is cut", long + "\n", "[3] " + long[:maxLabelled-len(label)] + "\n[3] " + long[:len(label)] + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			new(labeller).copy(iotest.OneByteReader(strings.NewReader(test.in)), &out, []byte(label))
			if out.String() != test.want {
				t.Errorf("%q became %q, want %q", test.in, out.String(), test.want)
			}
			if len(test.in) >= maxLabelled {
				return // where it is cut depends on how it was read
			}
			out.Reset()
			new(labeller).copy(strings.NewReader(test.in), &out, []byte(label))
			if out.String() != test.want {
				t.Errorf("%q, read at once, became %q, want %q", test.in, out.String(), test.want)
			}
		})
	}
}

// However the writes of two guests are cut, each line comes out whole, under its own label, in its guest's order.
func TestLabelledLinesDoNotMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l labeller
		var out bytes.Buffer
		want := make([][]string, 2)
		for node := range want {
			w, err := l.attach(node, &out)
			if err != nil {
				t.Fatal(err)
			}
			lines := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,20}`), 0, 20).Draw(t, "lines")
			want[node] = lines
			text := strings.Join(append(lines, ""), "\n")
			chunk := rapid.IntRange(1, 30).Draw(t, "chunk")
			go func() {
				defer w.Close()
				for ; len(text) > 0; text = text[min(chunk, len(text)):] {
					io.WriteString(w, text[:min(chunk, len(text))])
				}
			}()
		}
		l.wait()
		got := make([][]string, 2)
		for line := range strings.Lines(out.String()) {
			var node int
			if _, err := fmt.Sscanf(line, "[%d] ", &node); err != nil || node < 0 || node > 1 {
				t.Fatalf("the line %q has no label", line)
			}
			got[node] = append(got[node], strings.TrimSuffix(line[len("[0] "):], "\n"))
		}
		for node := range want {
			if strings.Join(got[node], "\n") != strings.Join(want[node], "\n") {
				t.Errorf("node %d wrote %q, and %q came out", node, want[node], got[node])
			}
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

// A guest can go on writing when the reader of its output has gone.
func TestLabelledOutputGone(t *testing.T) {
	in := strings.NewReader(strings.Repeat("line\n", 100_000))
	new(labeller).copy(in, brokenWriter{}, []byte("[0] "))
	if in.Len() != 0 {
		t.Errorf("%d bytes were left unread", in.Len())
	}
}
