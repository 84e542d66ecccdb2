package stdio

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// Lines that are no messages are answered and let go of; the others pass, in order.
func TestSift(t *testing.T) {
	const good = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for name, c := range map[string]struct {
		in, passed string
		code       int // of the answer; 0: there is none
	}{
		"a message":          {good + "\n", good + "\n", 0},
		"in space":           {"  " + good + "\t\r\n", good + "\n", 0},
		"without an end":     {good, good + "\n", 0},
		"empty lines":        {"\n\r\n  \n" + good + "\n\n", good + "\n", 0},
		"a notification":     {`{"jsonrpc":"2.0","method":"x"}` + "\n", `{"jsonrpc":"2.0","method":"x"}` + "\n", 0},
		"no JSON":            {"hello\n", "", -32700},
		"cut off":            {good[:10] + "\n" + good + "\n", good + "\n", -32700},
		"several in one":     {"[" + good + "]\n", "", -32600},
		"of another version": {`{"jsonrpc":"1.0","id":1,"method":"x"}` + "\n", "", -32600},
		"a number":           {"5\n", "", -32600},
		"no method":          {`{"jsonrpc":"2.0"}` + "\n", "", -32600},
		"too long":           {strings.Repeat("x", maxMessage+1) + "\n" + good + "\n", good + "\n", -32600},
		"too long, no end":   {strings.Repeat("x", maxMessage+1), "", -32600},
		"nothing":            {"", "", 0},
	} {
		var passed, answers strings.Builder
		if err := sift(strings.NewReader(c.in), &passed, &answers); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if passed.String() != c.passed {
			t.Errorf("%s: %.80q passes, want %q", name, passed.String(), c.passed)
		}
		var answer struct {
			Jsonrpc string
			ID      json.RawMessage
			Error   struct {
				Code    int
				Message string
			}
		}
		if answers.Len() > 0 {
			if err := json.Unmarshal([]byte(answers.String()), &answer); err != nil || answer.Jsonrpc != "2.0" || string(answer.ID) != "null" || answer.Error.Message == "" || strings.Count(answers.String(), "\n") != 1 {
				t.Errorf("%s: %v: %s", name, err, answers.String())
			}
		}
		if answer.Error.Code != c.code {
			t.Errorf("%s: %s, want %d", name, answers.String(), c.code)
		}
	}
}

// A side that takes nothing ends it.
func TestSiftEnds(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	for _, in := range []string{`{"jsonrpc":"2.0","method":"x"}` + "\n", "no message\n"} {
		if err := sift(strings.NewReader(in), w, w); err != io.ErrClosedPipe {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestReadLine(t *testing.T) {
	in := bufio.NewReaderSize(strings.NewReader("a\n"+strings.Repeat("b", 100)+"\n"+"c"), 16)
	for _, want := range []string{"a\n", strings.Repeat("b", 100) + "\n", "c"} {
		line, tooLong, err := readLine(in)
		if string(line) != want || tooLong || (err == io.EOF) != (want == "c") {
			t.Errorf("%q, %v, %v", line, tooLong, err)
		}
	}
}
