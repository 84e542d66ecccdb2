package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// knownTokens is how many tokens are remembered.
const knownTokens = 1024

// known remembers tokens that were good, by their digests: pages ask with the same
// one again and again, and to read it takes as long as a small request's rest.
type known struct {
	mu     sync.Mutex
	claims map[[sha256.Size]byte]*claims
}

// check is Verify of tokens that may be known. Their times are looked at again.
func (k *known) check(secret, token string) (Caller, error) {
	digest := sha256.Sum256([]byte(token))
	k.mu.Lock()
	c := k.claims[digest]
	k.mu.Unlock()
	if c != nil && c.isGoodAt(time.Now()) {
		return c.caller(), nil
	}
	c, err := read(secret, token)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		delete(k.claims, digest)
		return Caller{}, err
	}
	if k.claims == nil || len(k.claims) >= knownTokens {
		k.claims = map[[sha256.Size]byte]*claims{}
	}
	k.claims[digest] = c
	return c.caller(), nil
}

// isGoodAt says whether a token's times allow it; there is no leeway.
func (c *claims) isGoodAt(now time.Time) bool {
	return (c.ExpiresAt == nil || now.Before(c.ExpiresAt.Time)) &&
		(c.NotBefore == nil || !now.Before(c.NotBefore.Time)) &&
		(c.IssuedAt == nil || !now.Before(c.IssuedAt.Time))
}
