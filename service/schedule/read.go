package schedule

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Read has each message handled in turn until ctx ends or the consumer fails.
func Read(ctx context.Context, c jetstream.Consumer, each func(context.Context, jetstream.Msg)) error {
	failed := make(chan error, 1)
	messages := make(chan jetstream.Msg)
	reading, err := c.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(1), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, nats.ErrNoResponders) {
			select {
			case failed <- err:
			default:
			}
		}
	}))
	if err != nil {
		return err
	}
	defer func() { reading.Stop(); <-reading.Closed() }()
	for {
		select {
		case m := <-messages:
			each(ctx, m)
		case err := <-failed:
			return err
		case <-reading.Closed():
			return errors.New("the consumer has closed")
		case <-ctx.Done():
			return nil
		}
	}
}
