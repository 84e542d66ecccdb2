package definition

import (
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema is the JSON Schema of a pipelines.yml, for editors.
func Schema() ([]byte, error) {
	scalarText := &jsonschema.Schema{Types: []string{"string", "number", "boolean", "null"}}
	list := func(items *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{items, {Type: "array", Items: items}}}
	}
	options := &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Text]():      scalarText,
		reflect.TypeFor[Int]():       {Types: []string{"integer", "string"}},
		reflect.TypeFor[Bool]():      {Types: []string{"boolean", "string"}},
		reflect.TypeFor[Duration]():  {Type: "string", Description: "a duration such as 90s or 1h30m"},
		reflect.TypeFor[Object]():    {Type: "object"},
		reflect.TypeFor[Names]():     list(&jsonschema.Schema{Type: "string"}),
		reflect.TypeFor[Script]():    list(scalarText),
		reflect.TypeFor[Strategy]():  {Type: "string", Enum: []any{Append, Replace, PartitionedReplace}},
		reflect.TypeFor[Variables](): {Type: "string", Enum: []any{ReplaceVariables, MergeVariables}},
	}}
	type mapping Retries // without Retries' own way of reading
	retries, err := jsonschema.For[mapping](options)
	if err != nil {
		return nil, err
	}
	retries.Type, retries.Types = "", []string{"integer", "object"}
	options.TypeSchemas[reflect.TypeFor[Retries]()] = retries
	schema, err := jsonschema.For[File](options)
	if err != nil {
		return nil, err
	}
	schema.Schema = "https://json-schema.org/draft/2020-12/schema"
	schema.Title = "Runnel pipelines"
	schema.PatternProperties = map[string]*jsonschema.Schema{"^x-": {}}
	relax(schema)
	return json.MarshalIndent(schema, "", "  ")
}

// relax takes back what Go's types say and YAML does not: nothing is required
// that has a default.
func relax(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	s.Required = nil
	for _, p := range s.Properties {
		relax(p)
	}
	for _, p := range s.AnyOf {
		relax(p)
	}
	relax(s.Items)
	relax(s.AdditionalProperties)
}
