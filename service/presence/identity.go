package presence

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// Why a runner may not have the identity it asks for; errors.Is finds them.
var (
	// ErrNameTaken: a runner of that name lives.
	ErrNameTaken = errors.New("name taken")
	// ErrCopied: the data directory is a copy of the one of a runner that lives,
	// or may live elsewhere.
	ErrCopied = errors.New("data directory copied")
)

// Place is where a life of a runner is: on which machine, in which boot of it,
// with which data directory. What isn't known is empty.
type Place struct {
	Machine string `json:"machine,omitempty"`
	Boot    string `json:"boot,omitempty"`
	// Data is the directory's device and inode, "device:inode".
	Data string `json:"data,omitempty"`
}

func placeOf(c *pb.Card) Place {
	return Place{Machine: c.GetMachine(), Boot: c.GetBoot(), Data: c.GetData()}
}

// relation says what an earlier place of a data directory is to this one.
type relation int

const (
	unknownPlace relation = iota
	samePlace             // the lock on the directory shows the predecessor dead
	rebooted              // the same directory in an earlier boot
	movedHere             // another directory of this machine: moved, or copied
	elsewhere             // another machine: moved, or copied
)

// from compares places. The device counts within one boot alone: numbers of
// devices may change in the next.
func (p Place) from(old Place) relation {
	switch {
	case p.Machine != "" && old.Machine != "" && p.Machine != old.Machine:
		return elsewhere
	case p.Data == "" || old.Data == "" || p.Boot == "" || old.Boot == "":
		return unknownPlace
	case p.Boot == old.Boot && p.Data == old.Data:
		return samePlace
	case p.Boot == old.Boot:
		return movedHere
	case p.Machine == "" || old.Machine == "":
		return unknownPlace
	case inode(p.Data) == inode(old.Data):
		return rebooted
	}
	return movedHere
}

func inode(data string) string { return data[strings.IndexByte(data, ':')+1:] }

// asking is a start that asks for an identity, and what it knows.
type asking struct {
	Name, Instance string
	DataDir        string
	Place          Place
	// Origin is where the data directory was used last, by itself. IsNew: never.
	Origin Place
	IsNew  bool
	// Uptime of this machine; 0 if unknown.
	Uptime time.Duration
	// Adopt: whoever started this says that the directory was moved here.
	Adopt bool
	// OnlineFor is how old the card of a runner that lives may be.
	OnlineFor time.Duration
}

// holder is what the runner's card says, and what was seen since the first look.
type holder struct {
	// Card is nil if there is none.
	Card *pb.Card
	Age  time.Duration // by the server's clock
	// Stopped: it said goodbye.
	Stopped bool
	// Answered: it was asked and has answered. Renewed: the card was written again.
	Answered, Renewed bool
	// Watched is how long that has not been so.
	Watched time.Duration
}

// verdict on a start.
type verdict int

const (
	wait   verdict = iota // until it is known whether the holder lives
	take                  // the identity
	refuse                // with the error
)

// settle is how long a holder that seems to be gone is watched: after NATS was
// away every card is old, and its runner is back within a few seconds.
const settle = 5 * time.Second

// decide says whether a start may have the identity. renew says that it needs an
// instance id of its own: the directory was copied or moved, and processes of
// the old id on this host may be another runner's.
func decide(a asking, h holder) (v verdict, renew bool, err error) {
	if h.Card == nil {
		if h.Answered {
			return refuse, false, a.nameTaken("")
		}
		return take, a.renews(false, a.Place.from(a.Origin)), nil
	}
	own := h.Card.GetInstance() == a.Instance
	old := a.Origin
	if card := placeOf(h.Card); own && card != (Place{}) {
		old = card
	}
	rel := a.Place.from(old)
	if own && rel == samePlace {
		return take, false, nil
	}
	if h.Answered || h.Renewed {
		if own {
			return refuse, false, a.copied(h.Card, "which lives")
		}
		return refuse, false, a.nameTaken(h.Card.GetHost())
	}
	switch {
	case own && rel == rebooted && a.Uptime > 0 && h.Age >= a.Uptime:
		return take, false, nil
	case own && rel == elsewhere && !a.Adopt:
		return refuse, false, a.copied(h.Card, "which may still live there")
	case h.Stopped:
		return take, a.renews(own, rel), nil
	case own && rel == movedHere && !a.Adopt:
		return refuse, false, a.copied(h.Card, "which may still live")
	case h.Age >= a.OnlineFor && h.Watched >= settle:
		return take, a.renews(own, rel), nil
	}
	return wait, false, nil
}

// renews says whether a start needs another instance id: its directory is a
// copy or was moved, or nothing shows that it isn't.
func (a asking) renews(own bool, r relation) bool {
	return r == movedHere || r == elsewhere || r == unknownPlace && !own && !a.IsNew
}

func (a asking) nameTaken(host string) error {
	if host != "" {
		host = " on host " + host
	}
	return &refusal{ErrNameTaken, fmt.Sprintf("another runner is called %s already%s", a.Name, host)}
}

func (a asking) copied(holder *pb.Card, state string) error {
	return &refusal{ErrCopied, fmt.Sprintf("data directory %s is a copy of that of runner %s on host %s, %s", a.DataDir, holder.GetName(), holder.GetHost(), state)}
}

// refusal is one of the errors above, in words.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }
