package sandbox

import "fmt"

// Isolation is how far a run is kept away from the host.
type Isolation string

// The levels. Each has what the one before it has. The package comment says what they are made of.
const (
	None     Isolation = ""
	Standard Isolation = "standard"
	Strict   Isolation = "strict"
)

// ParseIsolation reads a level as a task spells it; "none" and nothing are None.
func ParseIsolation(s string) (Isolation, error) {
	switch level := Isolation(s); level {
	case None, Standard, Strict:
		return level, nil
	case "none":
		return None, nil
	}
	return None, fmt.Errorf("isolation %q is not none, standard or strict", s)
}

func (l Isolation) String() string {
	if l == None {
		return "none"
	}
	return string(l)
}
