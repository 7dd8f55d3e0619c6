package runtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// topologySchema is the schema, compiled by a validator that knows no YAML and no topologies.
func topologySchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(TopologySchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("topology.schema.json", text); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("topology.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate is the verdict of the schema on a YAML file, as an editor has it. What is no YAML, or nothing that JSON can say, is wrong.
func validate(s *jsonschema.Schema, text string) error {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(b)); err != nil {
		return err
	}
	return s.Validate(value)
}

// read is the verdict of the loader before it looks at what the parts have to do with each other.
func read(text string) error {
	r := &topologyReader{file: "t"}
	if root := r.parse([]byte(text)); root != nil {
		r.topology(root)
	}
	return r.err()
}

// Topologies that are in use are right for both.
func TestSchemaTakesTopologies(t *testing.T) {
	s := topologySchema(t)
	texts := map[string]string{"lab": lab, "contractLab": contractLab}
	for _, page := range []string{"../docs/topology.md", "../docs/network.md", "../docs/commands/net.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(b), "\n```yaml ")[1:] {
			name, block, _ := strings.Cut(block, "\n")
			block, _, _ = strings.Cut(block, "\n```")
			if name != "wrong.yaml" {
				texts[fmt.Sprint(filepath.Base(page), " ", i)] = block
			}
		}
	}
	if len(texts) < 4 {
		t.Errorf("there are %d topologies, want those of the pages, too", len(texts))
	}
	for name, text := range texts {
		if err := validate(s, text); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
		if _, err := ParseTopology(name, []byte(text)); err != nil {
			t.Errorf("%s: the loader refuses it: %v", name, err)
		}
	}
}

// schemaValues are what the keys of a topology may be given; some is right for some keys.
var schemaValues = []string{
	"1", "0", "-1", "2.5", "1e2", "1e-3", "0x10", "1_000", "1.0", ".5", "2000", "5000", "'1'", "'0.5'", ".nan", ".inf", "true", "false", "yes", "'true'", "~", "''",
	"OC-3", "oc-12", "OC-5", "unlimited", "Unlimited", "nan", "10us", "1.5ms", ".5s", "1.s", "+2s", "-2s", "1h2m3s", "5", "5 s", "1..s", "0s", "'0'", "µs", "3µs",
	"1s..2s", "1s..", "..", "..2s", "0..5s", "'1s'", "[1s..2s, 3s..]", "[]", "[1]", "[1, 2]", "[0]", "[a]", "[a, b]", "[a, b, c]", "[a, a]", "[7up]", "[1, 'b']", "a", "a b",
	"7up", "{}", "[[]]", "{enter: 0.5, leave: 0.5, loss: 1}", "{enter: 2}", "{in: 1}", "{size: 5, clp: 2, ppd: true}", "{size: 0}", "{size: 2.5}", "{ppd: 1}", "{weights: {cbr: 2}}",
	"{weights: {cbr: 0}}", "{weights: [1]}", "{rate: OC-3}", "{delay: 5}", "{ends: [a, b]}", "{loss: 0.5, cut: 1s..2s}", "cbr", "vbr", "CBR", "abr", "CBR.1", "VBR.3", "UBR.2", "VBR.4",
	"'*'", "n?", "2001-01-01", "!!str 5", "!!int '5'", "1.5", "3",
}

// templates put a value where a key has it.
var templates = []string{
	"nodes: %s", "nodes: 1\nswitches: %s", "nodes: 1\ntree: %s", "nodes: 1\nlinks: %s", "nodes: 1\ndefaults: %s", "nodes: 1\ncontracts: %s", "%s", "nodes: 1\nother: %s",
	"nodes: 1\ncontracts: [%s]", "nodes: 2\nlinks: [%s]", "nodes: 2\nlinks: [{ends: %s}]",
}

func init() {
	ways := (&topologyReader{}).wayKeys(&Way{}).names()
	for _, key := range append(ways, "forward", "backward", "name", "speed") {
		templates = append(templates, "nodes: [a, b]\nlinks: [{ends: [a, b], "+key+": %s}]")
	}
	for _, key := range append(ways, "ends") {
		templates = append(templates, "nodes: 1\ndefaults: {"+key+": %s}", "nodes: [a, b]\nlinks: [{ends: [a, b], forward: {"+key+": %s}}]")
	}
	for _, key := range []string{"from", "to", "class", "police", "pcr", "scr", "mbs", "cdvt", "shape", "rate"} {
		templates = append(templates, "nodes: 1\ncontracts: [{"+key+": %s}]")
	}
}

// The schema and the loader have the same verdict on every value of every key: what the schema refuses the loader refuses, and what the loader
// refuses by itself, before it looks at what the parts have to do with each other, the schema refuses.
func TestSchemaAgreesWithLoader(t *testing.T) {
	s := topologySchema(t)
	taken, refused := 0, 0
	for _, template := range templates {
		for _, value := range schemaValues {
			agree(t, s, fmt.Sprintf(template, value), &taken, &refused)
		}
	}
	if taken < 300 || refused < 3000 {
		t.Errorf("%d texts were right and %d wrong: the values are not those of the keys", taken, refused)
	}
}

func agree(t interface{ Errorf(string, ...any) }, s *jsonschema.Schema, text string, taken, refused *int) {
	schema, reader := validate(s, text), read(text)
	_, loader := ParseTopology("t", []byte(text))
	switch {
	case schema == nil && reader != nil:
		t.Errorf("%q: the schema takes it, and the loader says: %v", text, reader)
	case schema != nil && loader == nil:
		t.Errorf("%q: the loader takes it, and the schema says: %v", text, schema)
	case schema == nil:
		*taken++
	default:
		*refused++
	}
}

// So it is for combinations.
func TestSchemaAgreesWithLoaderOnCombinations(t *testing.T) {
	s := topologySchema(t)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom(schemaValues)
		mapping := func(keys ...string) string {
			var parts []string
			for _, key := range keys {
				if rapid.IntRange(0, 3).Draw(t, "there") == 0 {
					parts = append(parts, key+": "+value.Draw(t, key))
				}
			}
			return strings.Join(parts, ", ")
		}
		ways := (&topologyReader{}).wayKeys(&Way{}).names()
		text := fmt.Sprintf("nodes: [a, b]\ndefaults: {%s}\nlinks: [{ends: [a, b], forward: {%s}, %s}]\ncontracts: [{%s}]",
			mapping(ways...), mapping(ways...), mapping("delay", "cut", "loss", "name"), mapping("from", "class", "police", "pcr", "mbs"))
		var taken, refused int
		agree(t, s, text, &taken, &refused)
	})
}
