package lines_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/lines"
)

// Records of a step name it, in every form; what was held back is still its own.
func TestStep(t *testing.T) {
	for _, pack := range []int{0, 1} {
		c := lines.NewCutter(lines.Config{Pack: pack})
		now := time.Unix(1, 0)
		var body strings.Builder
		take := func() {
			for {
				message, ok := c.Next(nil)
				if !ok {
					return
				}
				body.Write(message)
			}
		}
		write := func(s lines.Stream, text string) {
			for p := []byte(text); len(p) > 0; take() {
				p = p[c.Write(s, p, now):]
			}
		}
		c.SetStep("compile")
		write(lines.Stdout, "one\ntwo\nunfinished")
		write(lines.Stderr, "\xff\n")
		take()
		c.SetStep("")
		write(lines.Stderr, "run\n")
		c.Finish(now)
		take()
		var got []string
		err := lines.Decode([]byte(body.String()), func(r lines.Record) error {
			got = append(got, r.Step+":"+string(r.Text))
			if again := string(lines.AppendJSON(nil, r)); (r.Step == "compile") != strings.Contains(again, `"step":"compile"`) {
				t.Errorf("written again: %s", again)
			}
			return nil
		})
		want := []string{"compile:one", "compile:two", "compile:\xff", "compile:unfinished", ":run"}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("pack %d: %v\n%s%s", pack, err, d, body.String())
		}
	}
}
