package app

import (
	"errors"
	"strconv"

	"github.com/runnel-io/runnel/service/limits"
)

// Size is the value of a flag that takes a number of bytes, with a unit or without:
// 67108864, 64M, 64MiB.
type Size struct{ To *int64 }

// Type names the value in completions.
func (s Size) Type() string { return "size" }

func (s Size) String() string {
	if s.To == nil || *s.To == 0 {
		return ""
	}
	return strconv.FormatInt(*s.To, 10)
}

// Set reads the value.
func (s Size) Set(text string) error {
	if text == "" { // as it was: a default
		*s.To = 0
		return nil
	}
	n, err := limits.ParseSize(text)
	if err != nil {
		return errors.New("it is a number of bytes, such as 67108864 or 64M")
	}
	*s.To = n
	return nil
}
