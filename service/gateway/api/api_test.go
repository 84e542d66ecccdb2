package api

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// The status of each error that a client of the fleet may get.
func TestCodesOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{client.ErrFull, 429},
		{fmt.Errorf("cannot run: %w", client.ErrFull), 429},
		{client.ErrUnknownRun, 404},
		{client.ErrUnknownJob, 404},
		{client.ErrNoAnswer, 504},
		{context.DeadlineExceeded, 504},
		{pb.Invalid("no"), 400},
		{errors.New("something else"), 503},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestWordsAreNotTheWires(t *testing.T) {
	for text, want := range map[string]string{
		"spec.task.argv: is empty":                         "argv: is empty",
		"spec.query.runs and spec.query.all exclude, both": "runs and all exclude, both",
		"nothing of the kind":                              "nothing of the kind",
	} {
		if got := wordsOf(errors.New(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}
