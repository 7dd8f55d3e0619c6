package runtime

import (
	"errors"
	"testing"
)

// What is no YAML is reported where the parser has stopped.
func TestTopologySyntax(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nodes: [a\n", `t:2:1: did not find expected ',' or ']'`},
		{"nodes: [a, b\nlinks: 5\n", `t:2:6: did not find expected ',' or ']'`},
		{"nodes: 1\n  x: 2\n", `t:2:4: mapping values are not allowed in this context`},
		{"nodes: 1\nlinks:\n  - a\n - b\n", `t:4:2: did not find expected key`},
		{"nodes: \"abc\n", `t:2:1: found unexpected end of stream`},
		{"nodes: 'abc\n\nfoo: 1\n", `t:4:1: found unexpected end of stream`},
		{"nodes: 1\n\tlinks: 2\n", `t:2:1: found a tab character that violates indentation`},
		{"nodes: {a: 1, b: 2]\n", `t:1:19: did not find expected ',' or '}'`},
		{"a: b: c\n", `t:1:5: mapping values are not allowed in this context`},
		{"nodes: 1\n@x: 1\n", `t:2:1: found character that cannot start any token`},
		{"nodes: 1\nlinks: &\n", `t:2:9: did not find expected alphabetic or numeric character`},
		{"nodes: 1\nlinks: *foo\n", `t:2:8: unknown anchor 'foo' referenced`},
		{"nodes: 1\nlinks: \"\\q\"\n", `t:2:9: found unknown escape character`},
		{"nodes: 1\n]\n", `t:2:1: did not find expected key`},
		{"nodes: [a b, c: d: e]\n", `t:1:18: did not find expected ',' or ']'`},
		{"- a\nb: 1\n", `t:2:1: did not find expected '-' indicator`},
		{"nodes: 1\nfoo\nbar: 1\n", `t:3:1: could not find expected ':'`},
		{"nodes: 1\nlinks:\n  - {ends: [a, b}\n  - x\n", `t:3:17: did not find expected ',' or ']'`},
		{"nodes: |x\n  a\n", `t:1:9: did not find expected comment or line break`},
		{"nodes: 1\nä: \x01\n", `t:2:4: control characters are not allowed`},
		{"nodes: 1\nä: \xff\n", `t:2:4: invalid leading UTF-8 octet`},
		{"nodes: 1\nlinks: [{ends: [a, b], rate: OC-3, , delay: 1}]\n", `t:2:36: did not find expected node content`},
		{"nodes: 1\n---\n]", `t:3:1: did not find expected node content`},
	} {
		_, err := ParseTopology("t", []byte(c.text))
		var e *TopologyError
		if !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}
