package presence

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
)

var (
	here      = Place{Machine: "m1", Boot: "b1", Data: "1:10"}
	lastBoot  = Place{Machine: "m1", Boot: "b0", Data: "7:10"}
	copyHere  = Place{Machine: "m1", Boot: "b1", Data: "1:11"}
	restored  = Place{Machine: "m1", Boot: "b0", Data: "1:11"}
	otherHost = Place{Machine: "m2", Boot: "b2", Data: "1:10"}
	clone     = Place{Machine: "m2", Boot: "b1", Data: "1:10"} // a container with another machine id
	nameless  = Place{Boot: "b2", Data: "1:10"}
	nowhere   = Place{}
)

func card(instance string, at Place) *pb.Card {
	return &pb.Card{Name: "web1", Instance: instance, Host: "h2", Machine: at.Machine, Boot: at.Boot, Data: at.Data, Start: 1}
}

func TestDecide(t *testing.T) {
	const (
		fresh  = 3 * time.Second
		old    = time.Hour
		uptime = 10 * time.Minute
	)
	for _, c := range []struct {
		name   string
		origin Place
		adopt  bool
		holder holder
		want   verdict
		renew  bool
		kind   error
	}{
		{"nobody", here, false, holder{}, take, false, nil},
		{"nobody, and it is not known where the directory was used", nowhere, false, holder{}, take, true, nil},
		{"nobody, and the directory is a copy", copyHere, false, holder{}, take, true, nil},
		{"nobody, and the directory is from another host", otherHost, false, holder{}, take, true, nil},
		{"nobody, after a reboot", lastBoot, false, holder{}, take, false, nil},
		{"no card, but an answer", here, false, holder{Answered: true}, refuse, false, ErrNameTaken},

		{"own, crashed just now", here, false, holder{Card: card("i", here), Age: fresh}, take, false, nil},
		{"own, crashed, in spite of late writes", here, false, holder{Card: card("i", here), Age: fresh, Renewed: true}, take, false, nil},
		{"own, stopped", here, false, holder{Card: card("i", here), Age: fresh, Stopped: true}, take, false, nil},
		{"own, rebooted", here, false, holder{Card: card("i", lastBoot), Age: old}, take, false, nil},
		{"own, rebooted, but written since", here, false, holder{Card: card("i", lastBoot), Age: fresh}, wait, false, nil},
		{"own, rebooted, but an answer", here, false, holder{Card: card("i", lastBoot), Age: old, Answered: true}, refuse, false, ErrCopied},

		{"a copy of one that lives here", here, false, holder{Card: card("i", copyHere), Age: fresh}, refuse, false, ErrCopied},
		{"a copy of one that is cut off", here, false, holder{Card: card("i", copyHere), Age: old}, refuse, false, ErrCopied},
		{"a copy of one that stopped", here, false, holder{Card: card("i", copyHere), Age: old, Stopped: true}, take, true, nil},
		{"restored after a reboot", here, false, holder{Card: card("i", restored), Age: old}, refuse, false, ErrCopied},
		{"restored after a reboot, adopted", here, true, holder{Card: card("i", restored), Age: old, Watched: settle}, take, true, nil},

		{"another host's, alive", here, false, holder{Card: card("i", otherHost), Age: fresh, Answered: true}, refuse, false, ErrCopied},
		{"another host's, alive, adopted", here, true, holder{Card: card("i", otherHost), Age: fresh, Answered: true}, refuse, false, ErrCopied},
		{"another host's, renewed, adopted", here, true, holder{Card: card("i", otherHost), Age: fresh, Renewed: true}, refuse, false, ErrCopied},
		{"another host's, silent", here, false, holder{Card: card("i", otherHost), Age: old, Watched: time.Hour}, refuse, false, ErrCopied},
		{"another host's, stopped", here, false, holder{Card: card("i", otherHost), Age: old, Stopped: true}, refuse, false, ErrCopied},
		{"another host's, stopped, adopted", here, true, holder{Card: card("i", otherHost), Age: fresh, Stopped: true}, take, true, nil},
		{"another host's, silent, adopted", here, true, holder{Card: card("i", otherHost), Age: fresh}, wait, false, nil},
		{"another host's, gone, adopted", here, true, holder{Card: card("i", otherHost), Age: old, Watched: settle}, take, true, nil},
		{"the same boot, another machine id", here, false, holder{Card: card("i", clone), Age: old}, refuse, false, ErrCopied},

		{"a host without an id, silent", here, false, holder{Card: card("i", nameless), Age: fresh}, wait, false, nil},
		{"a host without an id, gone", here, false, holder{Card: card("i", nameless), Age: old, Watched: settle}, take, false, nil},
		{"an older version's card, gone", nowhere, false, holder{Card: card("i", nowhere), Age: old, Watched: settle}, take, false, nil},
		{"an older version's card, and the directory is a copy", copyHere, false, holder{Card: card("i", nowhere), Age: old}, refuse, false, ErrCopied},

		{"another instance, alive", here, false, holder{Card: card("j", otherHost), Age: fresh, Answered: true}, refuse, false, ErrNameTaken},
		{"another instance, renewed", here, false, holder{Card: card("j", otherHost), Age: fresh, Renewed: true}, refuse, false, ErrNameTaken},
		{"another instance, stopped", here, false, holder{Card: card("j", otherHost), Age: fresh, Stopped: true}, take, false, nil},
		{"another instance, silent", here, false, holder{Card: card("j", here), Age: fresh, Watched: time.Hour}, wait, false, nil},
		{"another instance, old, not watched", here, false, holder{Card: card("j", here), Age: old}, wait, false, nil},
		{"another instance, gone", here, false, holder{Card: card("j", here), Age: old, Watched: settle}, take, false, nil},
		{"another instance, gone, and the directory is a copy", copyHere, false, holder{Card: card("j", here), Age: old, Watched: settle}, take, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := asking{
				Name: "web1", Instance: "i", DataDir: "/data", Place: here, Origin: c.origin,
				Uptime: uptime, Adopt: c.adopt, OnlineFor: 30 * time.Second,
			}
			v, renew, err := decide(a, c.holder)
			if v != c.want || renew != c.renew || !errors.Is(err, c.kind) || (err == nil) != (c.kind == nil) {
				t.Errorf("got %d, renew %v, %v; want %d, renew %v, %v", v, renew, err, c.want, c.renew, c.kind)
			}
			if errors.Is(err, ErrCopied) && !strings.Contains(err.Error(), "/data") {
				t.Errorf("%v doesn't name the directory", err)
			}
		})
	}
}

// Whatever is known: nobody takes an identity from one that is seen to live,
// unless the lock on the data directory shows that it doesn't.
func TestDecideNeverTakesFromTheLiving(t *testing.T) {
	places := []Place{here, lastBoot, copyHere, restored, otherHost, clone, nameless, nowhere}
	for _, own := range places {
		for _, origin := range places {
			for _, at := range places {
				for bits := range 32 {
					a := asking{Name: "web1", Instance: "i", Place: own, Origin: origin, Uptime: time.Hour, Adopt: bits&1 != 0, OnlineFor: time.Second}
					h := holder{Card: card("i", at), Age: time.Duration(bits&2) * time.Hour, Watched: time.Duration(bits&4) * time.Hour, Answered: bits&8 != 0, Renewed: bits&8 == 0}
					if bits&16 != 0 {
						h.Card.Instance = "j"
					}
					v, _, err := decide(a, h)
					used := at
					if at == nowhere { // an older version's card: the directory knows
						used = origin
					}
					locked := h.Card.Instance == "i" && own.from(used) == samePlace
					if v == take && !locked || v == refuse && err == nil {
						t.Errorf("%+v, %+v: got %d, %v", a, h, v, err)
					}
				}
			}
		}
	}
}
