package sandbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var orderCmp = cmp.AllowUnexported(order{})

func TestOrderComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[^\x00]{0,20}`)
		texts := rapid.SliceOfN(text, 1, 4)
		number := rapid.Int64()
		want := &order{level: Isolation(text.Draw(t, "level")), network: rapid.Bool().Draw(t, "network"), hasLeaf: rapid.Bool().Draw(t, "leaf"),
			uid: number.Draw(t, "uid"), gid: number.Draw(t, "gid"), groups: rapid.SliceOfN(number, 1, 3).Draw(t, "groups"), path: text.Draw(t, "path"),
			argv: texts.Draw(t, "argv"), env: texts.Draw(t, "env"), dir: text.Draw(t, "dir"), readOnly: texts.Draw(t, "readOnly"), writable: texts.Draw(t, "writable"),
			hide: texts.Draw(t, "hide"), homes: texts.Draw(t, "homes"), scratchBytes: number.Draw(t, "scratch"), tmpBytes: number.Draw(t, "tmp"),
			rlimits: []int64{number.Draw(t, "resource"), number.Draw(t, "max")}}
		got, err := decodeOrder(want.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, orderCmp); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Whatever a shim is sent, it refuses or understands; what it understands comes back.
func FuzzOrder(f *testing.F) {
	f.Add((&order{argv: []string{"true"}, uid: -1}).encode())
	f.Add((&order{level: Strict, argv: []string{"a", "b"}, env: []string{"A=b"}, rlimits: []int64{1, 2}}).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		o, err := decodeOrder(in)
		if err != nil {
			return
		}
		again, err := decodeOrder(o.encode())
		if err != nil || !cmp.Equal(o, again, orderCmp) {
			t.Errorf("%v\n%s", err, cmp.Diff(o, again, orderCmp))
		}
		_, _ = decodeAnswer(in)
	})
}
