package endpoint

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Row is one verb: the scopes in which it is heard, and the function that
// answers it.
type Row struct {
	Verb subjects.Verb
	// Reach says in which scopes the verb is heard.
	Reach Reach
	// Handle answers a request, in a goroutine of the request. See Handle.
	Handle Handler
	// Arrive, if set, is called for each request in the order of arrival and
	// must not wait. The handler that it returns takes the place of Handle.
	Arrive func(*Request) Handler
	// Bound is how many requests are answered at once. Default: DefaultBound. Those
	// that Hold a place are bounded by their places instead.
	Bound Bound
	// Busy is what a request above the bound is told. Default: a 429.
	Busy error
	// LeavesAny: the any scopes are left while there is no free place.
	LeavesAny bool
	// About, Ask and Reply tell a stranger how to call it. "nats service info" cuts
	// each at 80 characters.
	About, Ask, Reply string
	// Smaller says how to ask for less when a reply is too large.
	Smaller string
}

// A Handler answers a request. With both a reply and an error the reply's body
// goes out with the error in its headers. One that returns neither has called
// Answer.
type Handler func(context.Context, *Request) (proto.Message, error)

// Handle makes a Handler of a function that takes the decoded request.
func Handle[M any, Q interface {
	*M
	pb.Request
}, R proto.Message](f func(context.Context, *Request, Q) (R, error)) Handler {
	return func(ctx context.Context, r *Request) (proto.Message, error) {
		req := Q(new(M))
		if err := r.decode(req); err != nil {
			return nil, err
		}
		return f(ctx, r, req)
	}
}

// Reach is a set of scopes.
type Reach uint8

// Scopes that a verb can be heard in.
const (
	ReachAt Reach = 1 << iota
	ReachAny
	ReachAll
	ReachPools
	ReachEverywhere = ReachAt | ReachAny | ReachAll | ReachPools
)

// place is a scope in which a row is heard.
type place struct {
	scope subjects.Scope
	name  string // the end of the endpoint's name
}

// places lists the scopes of a row on one runner; at is the first.
func (reach Reach) places(runner string, pools []string) (places []place) {
	if reach&ReachAt != 0 {
		places = append(places, place{subjects.At(runner), "at"})
	}
	if reach&ReachAll != 0 {
		places = append(places, place{subjects.All, "all"})
	}
	if reach&ReachAny != 0 {
		places = append(places, place{subjects.Any, "any"})
	}
	if reach&ReachPools == 0 {
		return places
	}
	for _, pool := range pools {
		places = append(places,
			place{subjects.PoolAll(pool), "pool-" + pool + "-all"},
			place{subjects.PoolAny(pool), "pool-" + pool + "-any"})
	}
	return places
}

// check refuses a table that can't be served.
func check(rows []Row) error {
	seen := map[subjects.Verb]bool{}
	for _, row := range rows {
		switch {
		case subjects.Token(string(row.Verb)) != nil:
			return fmt.Errorf("cannot serve verb %q: %w", row.Verb, subjects.Token(string(row.Verb)))
		case seen[row.Verb]:
			return fmt.Errorf("cannot serve verb %q: it has two rows", row.Verb)
		case !row.Verb.Asked():
			return fmt.Errorf("cannot serve verb %q: its subjects are no requests", row.Verb)
		case row.Handle == nil && row.Arrive == nil:
			return fmt.Errorf("cannot serve verb %q: %w", row.Verb, errors.New("it has no handler"))
		}
		seen[row.Verb] = true
	}
	return nil
}
