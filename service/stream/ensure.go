package stream

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/nats-io/nats.go/jetstream"
)

// Wanted is a stream that must be there.
type Wanted struct {
	Name string
	// Create gives the configuration of a new one.
	Create func() (jetstream.StreamConfig, error)
	// Change is applied to the stream, new or old, and says what must be so.
	Change func(*jetstream.StreamConfig)
}

// Ensure makes a stream, or changes the one that is there. Many may do so at
// once. Error: *UpdateError where there is one that can't be changed; it can be
// used as it is.
func Ensure(ctx context.Context, js jetstream.JetStream, w Wanted) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, w.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var want jetstream.StreamConfig
		if want, err = w.Create(); err == nil {
			s, err = js.CreateStream(ctx, want)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by somebody with another configuration, just now
			s, err = js.Stream(ctx, w.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make stream %s: %w", w.Name, err)
	}
	return Update(ctx, js, s, w.Change)
}

// UpdateError says that a stream doesn't have the settings it should have.
type UpdateError struct {
	Have jetstream.StreamConfig
	Err  error
}

func (e *UpdateError) Error() string {
	return fmt.Sprintf("cannot change the settings of stream %s: %s", e.Have.Name, e.Err)
}

func (e *UpdateError) Unwrap() error { return e.Err }

// Update changes a stream's settings, if they are not yet so. It returns the
// stream with an *UpdateError as well.
func Update(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, change func(*jetstream.StreamConfig)) (jetstream.Stream, error) {
	have := s.CachedInfo().Config
	want := have
	change(&want)
	if reflect.DeepEqual(have, want) {
		return s, nil
	}
	changed, err := js.UpdateStream(ctx, want)
	if err != nil {
		return s, &UpdateError{have, err}
	}
	return changed, nil
}
