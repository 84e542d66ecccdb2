package pb

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestParams(t *testing.T) {
	p := func(kv ...string) (ps []*Param) {
		for i := 0; i < len(kv); i += 2 {
			ps = append(ps, &Param{Name: kv[i], Value: kv[i+1]})
		}
		return ps
	}
	for _, c := range []struct {
		name   string
		params []*Param
		want   []string
		err    string
	}{
		{"literal", p("a", "$$x", "b", "${BASHPID}x", "c", "#x", "d", "pre$a", "e", "$a-suffix", "f", "${a}", "g", "$nope", "h", "$"),
			[]string{"a=$$x", "b=${BASHPID}x", "c=#x", "d=pre$a", "e=$a-suffix", "f=${a}", "g=$nope", "h=$"}, ""},
		{"reference", p("a", "1", "b", "$a"), []string{"a=1", "b=1"}, ""},
		{"reference forward", p("b", "$a", "a", "1"), []string{"b=1", "a=1"}, ""},
		{"chain", p("a", "$b", "b", "$c", "c", "3"), []string{"a=3", "b=3", "c=3"}, ""},
		{"last wins in the environment, first in a reference", p("a", "1", "a", "2", "b", "$a"), []string{"a=2", "b=1"}, ""},
		{"the last refers to the first", p("a", "1", "a", "$a"), []string{"a=1"}, ""},
		{"cycle", p("a", "$b", "b", "$a"), nil, "$b → $a"},
		{"itself", p("a", "$a"), nil, "a refers to itself"},
		{"empty name", p("", "1"), nil, "params[0].name is empty"},
		{"= in the name", p("a=b", "1"), nil, "params[0].name"},
		{"NUL in the name", p("a\x00", "1"), nil, "NUL"},
		{"NUL in the value", p("a", "1\x00"), nil, "NUL"},
	} {
		got, err := Environ(c.params)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got error %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// Whatever the params refer to, Environ ends, and every name is there once.
// A request of half a megabyte must not take a minute.
func TestParamsInALongChain(t *testing.T) {
	var params []*Param
	const n = 20_000
	for i := range n {
		params = append(params, &Param{Name: fmt.Sprint("p", i), Value: fmt.Sprint("$p", i+1)})
	}
	params = append(params, &Param{Name: fmt.Sprint("p", n), Value: "end"})
	env, err := Environ(params)
	if err != nil || len(env) != n+1 || env[0] != "p0=end" || env[n/2] != fmt.Sprintf("p%d=end", n/2) {
		t.Errorf("got %d entries, %v", len(env), err)
	}
}

// What is the default is the same request, named or not.
func TestDigest(t *testing.T) {
	digest := func(body string) string {
		var req TaskRequest
		if err := DecodeRequest([]byte(body), false, &req); err != nil {
			t.Fatal(err)
		}
		d, err := req.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	plain := digest(`{"kind":"runner","spec":{"task":{"argv":["x"]}}}`)
	for _, same := range []string{
		`{"apiVersion":"v1","kind":"runner","spec":{"task":{"argv":["x"]}}}`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{}}}}`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"width":500}}}}`,
	} {
		if digest(same) != plain {
			t.Errorf("%s is another request", same)
		}
	}
	for _, other := range []string{
		`{"kind":"runner","spec":{"task":{"argv":["x",""]}}}`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"width":499}}}}`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"pack":1}}}}`,
	} {
		if digest(other) == plain {
			t.Errorf("%s is the same request", other)
		}
	}
}

func TestParamsAlwaysEnd(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	rapid.Check(t, func(t *rapid.T) {
		var params []*Param
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			value := names.Draw(t, "value")
			if rapid.Bool().Draw(t, "ref") {
				value = "$" + value
			}
			params = append(params, &Param{Name: names.Draw(t, "name"), Value: value})
		}
		env, err := Environ(params)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range env {
			name, value, _ := strings.Cut(e, "=")
			if seen[name] {
				t.Fatalf("%s is there twice: %q", name, env)
			}
			seen[name] = true
			if known := seen[strings.TrimPrefix(value, "$")]; strings.HasPrefix(value, "$") && known {
				t.Fatalf("%s was not resolved: %q", e, env)
			}
		}
	})
}

func zip(t *testing.T, text string, closed bool) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	if closed {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestScript(t *testing.T) {
	const good = "#!/bin/bash -e\necho hello\n"
	broken := zip(t, good, true)
	broken[len(broken)-6] ^= 1
	whole := zip(t, good, true)
	for _, c := range []struct {
		name string
		file *File
		err  string
	}{
		{"plain", &File{Content: []byte(good)}, ""},
		{"env", &File{Content: []byte("#!/usr/bin/env bash\n")}, ""},
		{"gzip", &File{Content: zip(t, good, true), Gzip: true}, ""},
		{"gzip flushed, not closed", &File{Content: zip(t, good, false), Gzip: true}, ""},
		{"gzip cut in the middle", &File{Content: whole[:len(whole)-20], Gzip: true}, "the stream was cut"},
		{"not gzip", &File{Content: []byte(good), Gzip: true}, "gzip: invalid header"},
		{"one byte", &File{Content: []byte("x"), Gzip: true}, "gzip: invalid header"},
		{"checksum", &File{Content: broken, Gzip: true}, "invalid checksum"},
		{"gzip without the flag", &File{Content: zip(t, good, true)}, "invalid type"},
		{"sh", &File{Content: []byte("#!/bin/sh\n")}, "invalid type"},
		{"space before", &File{Content: []byte(" #!/bin/bash\n")}, "invalid type"},
		{"second line", &File{Content: []byte("\n#!/bin/bash\n")}, "invalid type"},
		{"empty", &File{}, "invalid file"},
	} {
		err := c.file.validate(true)
		var data bytes.Buffer
		if same := c.file.Unpack(nil, &data); same != nil && fmt.Sprint(same) != fmt.Sprint(err) {
			t.Errorf("%s: unpacked it is %v, looked at %v", c.name, same, err)
		}
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || !bytes.HasPrefix(data.Bytes(), []byte("#!/")) {
			t.Errorf("%s: got %q, %v", c.name, data.String(), err)
		}
	}
	first := &FirstLine{}
	for _, part := range []string{"#!/usr/bin/env", " bash -e -x\r", "\ntrue", "\nmore"} {
		if _, err := first.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := first.Interpreter(), []string{"/usr/bin/env", "bash", "-e", "-x"}; !cmp.Equal(got, want) {
		t.Errorf("interpreter: got %q, want %q", got, want)
	}
}

func TestBombIsRefused(t *testing.T) {
	bomb := zip(t, strings.Repeat("x", maxScriptBytes+1), true)
	if err := (&File{Content: bomb, Gzip: true}).validate(true); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("got %v", err)
	}
}

// What is big waits for its turn, and for no longer than it is wanted.
func TestUnpackIsGivenUp(t *testing.T) {
	file := &File{Content: zip(t, "#!/bin/bash\n"+strings.Repeat("# x\n", quickBytes), true), Gzip: true}
	turn <- struct{}{} // another one has it
	done := make(chan struct{})
	given := make(chan error, 1)
	go func() { given <- file.Unpack(done, io.Discard) }()
	small := &File{Content: zip(t, "#!/bin/bash\ntrue", true), Gzip: true}
	if err := small.Unpack(nil, io.Discard); err != nil {
		t.Errorf("a small one does not wait: %v", err)
	}
	close(done)
	if err := <-given; !errors.Is(err, ErrGivenUp) {
		t.Errorf("got %v", err)
	}
	<-turn
	if err := file.Unpack(nil, io.Discard); err != nil || len(turn) > 0 {
		t.Errorf("got %v, and the turn was not given back: %d", err, len(turn))
	}
}

// A field of a later version is refused in either form: it may be a limit.
func TestUnknownFieldsAreRefused(t *testing.T) {
	req := &TaskRequest{Kind: Kind, Spec: &TaskSpec{Task: &Task{Argv: []string{"true"}}}}
	for _, at := range []proto.Message{req, req.Spec, req.Spec.Task} {
		at.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 4711, protowire.VarintType), 1))
		body, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeRequest(body, true, &TaskRequest{}); err == nil || !strings.Contains(err.Error(), "4711") {
			t.Errorf("in %T: got %v", at, err)
		}
		at.ProtoReflect().SetUnknown(nil)
	}
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeRequest(body, true, &TaskRequest{}); err != nil {
		t.Error(err)
	}
}

// Clients of the old runner send every part, the empty ones as well.
func TestEmptyPartsArePassedOver(t *testing.T) {
	for body, good := range map[string]bool{
		`{"kind":"runner","spec":{"task":{"commands":["x"],"file":{},"language":{}}}}`:            true,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"file":{"content":""}}}}`:                  true,
		`{"kind":"runner","spec":{"task":{"file":{"content":"IyEvYmluL2Jhc2g="},"language":{}}}}`: true,
		`{"kind":"runner","spec":{"task":{"file":{},"language":{}}}}`:                             false,
		`{"kind":"runner","spec":{"task":{"commands":["x"],"file":{"gzip":true}}}}`:               false,
		`{"kind":"runner","spec":{"task":{"commands":["x"],"language":{"version":"3"}}}}`:         false,
	} {
		var r TaskRequest
		if err := DecodeRequest([]byte(body), false, &r); (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
}
