package definition

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
)

// The schema takes what Parse takes, and refuses a key that Parse refuses.
func TestSchema(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"pipelines: {p: {concurrency: 2, queue_limit: 1, start_delay: 5s, env: {A: 1}, tasks: {a: {script: [x, 1], depends_on: b, retries: 2, on: {all: true}}, b: {script: x}, c: null}}}", true},
		{"x-a: 1\npipelines: {p: {retention_period: 5s, on_error: {script: [x]}, queue_strategy: replace}}", true},
		{"pipelines: {p: {concurency: 2}}", false},
		{"pipelines: {p: {queue_strategy: drop}}", false},
		{"pipeline: {}", false},
	} {
		var doc any
		if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
			t.Fatal(err)
		}
		body, _ := json.Marshal(doc)
		_ = json.Unmarshal(body, &doc)
		_, parseErr := Parse("p.yml", []byte(c.text))
		if err := resolved.Validate(doc); (err == nil) != c.ok || (parseErr == nil) != c.ok {
			t.Errorf("%s: schema says %v, Parse says %v", c.text, err, parseErr)
		}
	}
}
