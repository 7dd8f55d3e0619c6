package runtime

import (
	"errors"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// lineOf is what an error of package yaml begins with.
var lineOf = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntax notes an error of the YAML parser: what it says, at the place where the parser has stopped. The line that package yaml writes in
// its error is left out: it is often that of the line before, and there is no column.
func (r *topologyReader) syntax(err error, d *yaml.Decoder, text []byte) {
	e := &TopologyError{File: r.file, Err: errors.New(lineOf.ReplaceAllString(err.Error(), ""))}
	e.Line, e.Column = stoppedAt(d, text)
	r.errs = append(r.errs, e)
}

// stoppedAt finds where a decoder has met an error. Package yaml v3 knows it, to the character, and does not tell: it is read from the
// state of its parser (a port of libyaml, whose structures have not changed in ten years). Of another version without these fields it
// would be 0, the file as a whole.
func stoppedAt(d *yaml.Decoder, text []byte) (line, column int) {
	field := func(v reflect.Value, name string) reflect.Value {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		return v.FieldByName(name)
	}
	number := func(v reflect.Value) int {
		if !v.IsValid() || !v.CanInt() {
			return 0
		}
		return int(v.Int())
	}
	composer := field(reflect.ValueOf(d), "parser")
	parser := field(composer, "parser")
	if !parser.IsValid() {
		return 0, 0
	}
	mark := field(parser, "problem_mark")
	switch kind := number(field(parser, "error")); {
	case kind == 0: // the text is well formed, but for an alias of nothing
		mark = field(field(composer, "event"), "start_mark")
	case number(field(mark, "index")) == 0 && field(parser, "problem_offset").IsValid() && number(field(parser, "problem_offset")) > 0:
		// of the reader: a byte that is no character, or none that a YAML file may have
		before := text[:min(number(field(parser, "problem_offset")), len(text))]
		last := strings.LastIndexByte(string(before), '\n')
		return 1 + strings.Count(string(before), "\n"), len([]rune(string(before[last+1:]))) + 1
	}
	if !mark.IsValid() {
		return 0, 0
	}
	return number(field(mark, "line")) + 1, number(field(mark, "column")) + 1
}
