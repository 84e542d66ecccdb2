package lines

import "testing"

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]int{"SIGHUP": 1, "SIGKILL": 9, "SIGTERM": 15, "SIGSYS": 31, "signal 34": 34, "KILL": 0, "SIGNOPE": 0, "": 0} {
		if got := SignalNumber(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
}
