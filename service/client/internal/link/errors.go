package link

import "errors"

// Conditions that package client gives to its callers.
var (
	ErrNoRunners = errors.New("No runners available.") //lint:ignore ST1005 the contract's words (scoot)
	ErrNoAnswer  = errors.New("no answer")
	ErrOffline   = errors.New("not online")
	ErrNoMatch   = errors.New("no online runner matches")
)

// Refusal is what a runner answered instead of a reply. It wraps what Config.Refused
// makes of it.
type Refusal struct {
	Runner string
	Code   int
	Text   string
	err    error
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap gives the error of the link's user.
func (r *Refusal) Unwrap() error { return r.err }

// CodeOf is the code of a Refusal, or 0.
func CodeOf(err error) int {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return 0
}
