package fan

import (
	"time"

	"github.com/runnel-io/runnel/subjects"
)

// A runner has a card before it hears requests. A fan-out that comes in between asks
// it again, by itself, until it listens or the time is over.

// startingPause is between two requests to a runner that was starting.
const startingPause = 200 * time.Millisecond

// noteStarting has those asked by themselves as well that may be asked with all others
// and not hear it. Who hears both does a thing once: a run has an id, and to look
// twice changes nothing. Other verbs are not asked twice.
func (f *Fan) noteStarting() {
	f.starting = map[string]bool{}
	for _, name := range f.Starting {
		f.starting[name] = !f.OneByOne && (f.Verb == subjects.Task || f.Verb == subjects.Glance)
	}
}

// askLater has a runner asked again that nobody heard for, if it was starting.
func (f *Fan) askLater(name string) bool {
	if _, starts := f.starting[name]; !starts {
		return false
	}
	f.starting[name] = true
	return true
}

// askStarting asks those whose turn it is. Once somebody listens it is the last time.
func (f *Fan) askStarting() error {
	for name, due := range f.starting {
		if !due || !f.waiting[name] {
			continue
		}
		f.starting[name] = false
		if err := f.publish(f.Link.Space.Request(f.Verb, subjects.At(name)), name); err != nil {
			return err
		}
	}
	return nil
}

// startingWords end what is said of one that did not answer.
func (f *Fan) startingWords(name string) string {
	if _, starts := f.starting[name]; starts {
		return ": it was starting"
	}
	return ""
}
