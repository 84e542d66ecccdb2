// Package signin lets people in: a one-time link or a pasted token becomes a
// cookie, which a sign-out takes back.
package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/kv"
)

// CodeLife is how long a one-time code is good.
const CodeLife = 10 * time.Minute

// cookieLife is how long who has come by a code stays signed in.
const cookieLife = 30 * 24 * time.Hour

// ErrCode: a code is none, was used, or is too old. Which one, nobody is told.
var ErrCode = errors.New("this link has been used, or is older than ten minutes: make another one")

// Codes are one-time codes that any gateway of the fleet takes.
type Codes struct {
	Bucket *kv.Bucket // the fleet's GatewayBucket
	Secret string     // what its gateways sign tokens with
}

// New makes a code that signs in somebody with some scopes (nil: those of tokens
// without any). What is stored does not let anybody in: it has the code's hash,
// and is sealed with a key of its own.
func (c *Codes) New(ctx context.Context, sub string, scopes []auth.Scope) (string, error) {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // it never fails
	code := base64.RawURLEncoding.EncodeToString(random)
	sealed, err := auth.Token(c.seal(code), sub, scopes, CodeLife)
	if err != nil {
		return "", err
	}
	if _, err := c.Bucket.Put(ctx, kv.Write{Key: keyOf(code), Body: []byte(sealed), Create: true, TTL: CodeLife}); err != nil {
		return "", fmt.Errorf("cannot store the code: %w", err)
	}
	return code, nil
}

// Link makes a code and the path that takes it.
func Link(ctx context.Context, c *Codes, sub string, scopes []auth.Scope) (string, error) {
	code, err := c.New(ctx, sub, scopes)
	return "/signin?code=" + code, err
}

// use takes a code and says whose it is. Of several who try, at whichever
// gateways, one succeeds: a mark is written over the code on condition that it is
// still what was read. Error: ErrCode.
func (c *Codes) use(ctx context.Context, code string) (auth.Caller, error) {
	entry, err := c.Bucket.GetLeader(ctx, keyOf(code))
	if errors.Is(err, kv.ErrNoKey) {
		return auth.Caller{}, ErrCode
	}
	if err != nil {
		return auth.Caller{}, err
	}
	who, err := auth.Verify(c.seal(code), string(entry.Body))
	if err != nil {
		return auth.Caller{}, ErrCode
	}
	// The mark is nobody else's, or a lost answer would be taken for a success.
	mark := []byte("used " + ulid.Make().String())
	_, err = c.Bucket.Put(ctx, kv.Write{Key: keyOf(code), Body: mark, Expect: entry.Rev, TTL: CodeLife})
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return auth.Caller{}, ErrCode
	}
	return who, err
}

// seal is the key that a code's entry is signed with: who can write the bucket
// and has not the secret makes no codes.
func (c *Codes) seal(code string) string {
	mac := hmac.New(sha256.New, []byte(c.Secret))
	_, _ = mac.Write([]byte("one-time code " + code))
	return hex.EncodeToString(mac.Sum(nil))
}

func keyOf(code string) string {
	sum := sha256.Sum256([]byte(code))
	return "code." + hex.EncodeToString(sum[:])
}
