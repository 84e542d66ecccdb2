package peers

import (
	"strings"
	"testing"
	"time"
)

// Which of two gateways with two secrets serves: the one that was there first, and
// one that is refused is in nobody's way.
func TestAgainst(t *testing.T) {
	now := time.Now()
	const ours, theirs = "ours, which has 16 bytes", "theirs, which has 16 bytes"
	card := func(order int, secret string, refused bool) Card {
		return Card{ID: "b", Host: "h", Order: order, Fingerprint: fingerprint(secret), Refused: refused}
	}
	for _, c := range []struct {
		name  string
		own   Card
		other Card
		at    time.Time
		stops bool
	}{
		{"the same secret", card(2, ours, false), card(1, ours, false), now, false},
		{"another, there first", card(2, ours, false), card(1, theirs, false), now, true},
		{"another, later", card(1, ours, false), card(2, theirs, false), now, false},
		{"another, later, and this one was kept from serving", card(1, ours, true), card(2, theirs, false), now, true},
		{"another that does not serve", card(2, ours, false), card(1, theirs, true), now, false},
		{"another that is long gone", card(2, ours, false), card(1, theirs, false), now.Add(-3 * cardLife), false},
	} {
		c.other.ID = "a"
		p := &Peers{own: c.own, synced: true, known: map[string]seen{"card.a": {c.other, c.at}}}
		if got := p.against() != nil; got != c.stops {
			t.Errorf("%s: %v", c.name, got)
		}
		err := p.Err()
		if (err != nil) != c.stops || err != nil && (!strings.Contains(err.Error(), "the gateway on h") || strings.Contains(err.Error(), theirs)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := (&Peers{}).Err(); err == nil {
		t.Error("it serves and has not looked for the others")
	}
}

func TestCards(t *testing.T) {
	a, b := Card{ID: "a", Order: 1}, Card{ID: "b", Order: 1}
	if !a.before(b) || b.before(a) || (Card{ID: "a", Order: 2}).before(b) {
		t.Error("which was there first")
	}
	c := Card{Fingerprint: fingerprint("one secret"), Host: "h", URLs: []string{"http://x:1", "http://y:2"}}
	if !c.Knows("one secret") || c.Knows("another secret") {
		t.Error("which secret it has")
	}
	if got := c.String(); got != "the gateway on h (http://x:1 http://y:2)" {
		t.Errorf("%s", got)
	}
	if strings.Contains(fingerprint("one secret"), "secret") || len(fingerprint("")) != 16 {
		t.Error("the fingerprint")
	}
}
