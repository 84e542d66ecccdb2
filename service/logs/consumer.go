package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/service/stream"
)

// consumerLife is how long the server keeps a consumer that we could not delete.
const consumerLife = time.Minute

// consumer reads one run's messages in the order of the stream. It is the client's ordered consumer, but that it heeds a
// context when the server is gone; that no message is missing is seen by Runner-Seq.
type consumer struct {
	log    *stored
	name   string
	puller *puller
	single uint64 // not 0: no consumer; the next message is the first from here on
	ahead  *Ahead // whose turns those take that have no consumer

	here  *message // it begins with this one, which was read already
	taken bool     // it has been given
}

// errSpent turns from a message that was read already to a consumer.
var errSpent = errors.New("the message was taken")

// spent says whether it has given all that it ever had.
func (c *consumer) spent() bool { return c.taken && c.single == 0 && c.puller == nil }

// openConsumer begins at the sequence from of the stream.
func openConsumer(ctx context.Context, log *stored, from uint64, ahead *Ahead) (*consumer, error) {
	name := ulid.Make().String()
	err := createConsumer(ctx, log, jetstream.ConsumerConfig{
		Name:              name,
		FilterSubject:     log.subject,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(from, 1),
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: stream.OrphanLife(log.js.Conn(), consumerLife),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", log.subject, err)
	}
	p, err := newPuller(log, name, ahead)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read %s: %w", log.subject, err), deleteConsumer(log, name))
	}
	return &consumer{log: log, name: name, puller: p}, nil
}

// answerPatience is how long a caller who leaves waits for the answer to a request
// to create: one that was stored and not deleted would stay for consumerLife.
const answerPatience = time.Second

// createConsumer creates a consumer, and deletes it again if ctx ends before the
// answer is there. The server may handle two requests of one connection in either
// order, so the deletion has to wait for the answer.
func createConsumer(ctx context.Context, log *stored, cfg jetstream.ConsumerConfig) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	came := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout) // the client waits for a lost answer as long as ctx lasts
		defer cancel()
		_, err := log.js.CreateConsumer(ctx, log.stream, cfg)
		came <- err
	}()
	undo := func(err error) {
		if err == nil && stream.Tidies(log.js.Conn()) {
			_ = deleteConsumer(log, cfg.Name)
		}
	}
	select {
	case err := <-came:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(answerPatience)
	defer patience.Stop()
	select {
	case err := <-came:
		undo(err)
	case <-patience.C:
		go func() { undo(<-came) }() // it ends with requestTimeout
	}
	return context.Cause(ctx)
}

// next waits for a message until ctx ends.
func (c *consumer) next(ctx context.Context) (message, error) {
	switch {
	case c.here != nil && !c.taken:
		c.taken = true
		if c.single > 0 {
			c.single = c.here.seq + 1
		}
		return *c.here, nil
	case c.single > 0:
		return c.nextSingle(ctx)
	case c.puller == nil:
		return message{}, errSpent
	}
	msg, err := c.puller.next(ctx)
	if err != nil {
		return message{}, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, err
	}
	return message{seq: meta.Sequence.Stream, runnerSeq: runnerSeq(msg.Header), header: msg.Header, body: msg.Data}, nil
}

func (c *consumer) nextSingle(ctx context.Context) (message, error) {
	done, err := c.ahead.turn(ctx)
	if err != nil {
		return message{}, err
	}
	m, err := c.log.at(ctx, c.single)
	done()
	if errors.Is(err, errNotFound) { // let go of by the stream's limits
		<-ctx.Done()
		return message{}, ctx.Err()
	}
	if err == nil {
		c.single = m.seq + 1
	}
	return m, err
}

// close leaves nothing on the server.
func (c *consumer) close() {
	if c.puller == nil {
		return
	}
	c.puller.close()
	if !stream.Tidies(c.log.js.Conn()) {
		return
	}
	// The server deletes it by itself after a while where this fails.
	_ = deleteConsumer(c.log, c.name)
}

func deleteConsumer(log *stored, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return log.js.DeleteConsumer(ctx, log.stream, name)
}
