package auth

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/runnel-io/runnel/tests/rig"
)

// A token that is known is good for as long as it says, and no longer.
func TestKnownTokensEnd(t *testing.T) {
	var k known
	token := signed(t, jwt.MapClaims{"sub": "me", "exp": time.Now().Add(3 * time.Second).Unix()})
	rig.Eventually(t, "it has ended", func() bool {
		who, err := k.check(secret, token)
		if err == nil && who.Sub != "me" {
			t.Fatalf("it is %+v's", who)
		}
		if err != nil && err.Error() != "token is expired" {
			t.Fatal(err)
		}
		return err != nil
	})
	if len(k.claims) != 0 {
		t.Errorf("%d are remembered", len(k.claims))
	}
}

func TestTimesOfKnownTokens(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(seconds int) *jwt.NumericDate {
		return jwt.NewNumericDate(now.Add(time.Duration(seconds) * time.Second))
	}
	for _, c := range []struct {
		exp, nbf, iat *jwt.NumericDate
		want          bool
	}{
		{nil, nil, nil, true}, {at(1), at(0), at(0), true}, {at(0), nil, nil, false}, {at(-1), nil, nil, false}, {nil, at(1), nil, false}, {nil, nil, at(1), false},
	} {
		claims := &claims{RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: c.exp, NotBefore: c.nbf, IssuedAt: c.iat}}
		if got := claims.isGoodAt(now); got != c.want {
			t.Errorf("exp %v, nbf %v, iat %v: %v", c.exp, c.nbf, c.iat, got)
		}
	}
}

// Only what was good is remembered, and not without end.
func TestKnownTokensAreBounded(t *testing.T) {
	var k known
	for i := range knownTokens + 10 {
		if who, err := k.check(secret, signed(t, jwt.MapClaims{"sub": fmt.Sprint(i)})); err != nil || who.Sub != fmt.Sprint(i) {
			t.Fatalf("%+v, %v", who, err)
		}
		if len(k.claims) > knownTokens {
			t.Fatalf("%d are remembered", len(k.claims))
		}
	}
	before := len(k.claims)
	good := signed(t, jwt.MapClaims{"sub": "me"})
	for _, bad := range []string{"", "a.b.c", good + "x", good[:len(good)-2]} {
		if _, err := k.check(secret, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := k.check("another secret of enough bytes", good); err == nil || len(k.claims) != before {
		t.Errorf("%d are remembered, of %d; %v", len(k.claims), before, err)
	}
	first, err := k.check(secret, good)
	again, err2 := k.check(secret, good)
	if err != nil || err2 != nil || first.Sub != again.Sub || len(k.claims) != before+1 {
		t.Errorf("%+v and %+v, %v %v", first, again, err, err2)
	}
}
