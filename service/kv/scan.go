package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

const (
	// pullBatch messages are asked for at a time, and two such requests are under
	// way: with records of 24 KiB still far below the server's limit of what may
	// wait for one client (64 MB).
	pullBatch = 1024
	// scanIdle is how long a scan waits for a message before it gives up.
	scanIdle = 5 * time.Second
	// scanLaps bounds how often a scan looks for what came meanwhile: revisions at
	// the end of the bucket may have been removed, and never come.
	scanLaps = 4
	// scanOrphan is when the server removes the consumer of a scan whose process
	// has died.
	scanOrphan = 30 * time.Second
)

var errNoAnswer = errors.New("no answer of the server")

// Scan calls each with every entry from a revision on, in the order of their
// revisions, which is that of their last change. Markers of keys that are gone
// are entries without a body. It reads by a consumer without acknowledgements
// that is gone when Scan returns: three times as fast as direct gets, and the
// server doesn't hold up the connection's other requests meanwhile.
func (b *Bucket) Scan(ctx context.Context, from uint64, each func(Entry)) (err error) {
	consumer, err := b.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: stream.OrphanLife(b.nc, scanOrphan),
	})
	if err != nil {
		return fmt.Errorf("cannot scan bucket %s: %w", b.kv.Bucket(), err)
	}
	info := consumer.CachedInfo()
	defer func() {
		if !stream.Tidies(b.nc) {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stream.RequestTimeout)
		defer cancel()
		_ = b.stream.DeleteConsumer(ctx, info.Name) // else it goes after scanOrphan
	}()
	// A record that is written again while it is read over moves to the end. For
	// a moment the server counts neither its old place nor its new one, so that
	// the end that a consumer tells of is not to be trusted alone.
	laps := 0
	isEnd := func(last uint64) (bool, error) {
		now, err := b.stream.Info(ctx)
		if err != nil {
			return false, err
		}
		laps++
		return laps == scanLaps || now.State.Msgs == 0 || now.State.LastSeq <= last, nil
	}
	if info.NumPending == 0 {
		if end, err := isEnd(max(from, 1) - 1); err != nil || end {
			return err
		}
	}
	if err := b.pull(ctx, info.Name, each, isEnd); err != nil {
		return fmt.Errorf("cannot scan bucket %s: %w", b.kv.Bucket(), err)
	}
	return nil
}

// pull reads what a consumer has, until isEnd says so of the last revision.
func (b *Bucket) pull(ctx context.Context, consumer string, each func(Entry), isEnd func(last uint64) (bool, error)) error {
	inbox := b.nc.NewInbox()
	messages := make(chan *nats.Msg, 2*pullBatch+16)
	sub, err := b.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()

	request := []byte(`{"batch":` + strconv.Itoa(pullBatch) + `,"no_wait":true}`)
	p := &puller{isEnd: isEnd, more: func() error {
		return b.nc.PublishRequest(b.api+"CONSUMER.MSG.NEXT."+b.name+"."+consumer, inbox, request)
	}}
	if err := errors.Join(p.more(), p.more()); err != nil {
		return err
	}
	idle := time.NewTimer(scanIdle)
	defer idle.Stop()
	for end := false; !end; {
		var m *nats.Msg
		select {
		case m = <-messages:
		default:
			select {
			case m = <-messages:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-idle.C:
				return errNoAnswer
			}
			idle.Reset(scanIdle)
		}
		if len(m.Data) == 0 && m.Header.Get("Status") != "" {
			end, err = p.emptied()
		} else {
			end, err = p.take(m, func(meta *nats.MsgMetadata) { each(b.pulledEntry(m, meta)) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) pulledEntry(m *nats.Msg, meta *nats.MsgMetadata) Entry {
	e := Entry{Key: m.Subject[len(b.subject):], Rev: meta.Sequence.Stream, Stored: meta.Timestamp}
	if !isGone(m.Header) {
		e.Body = m.Data
	}
	return e
}

// puller keeps two requests for messages under way.
type puller struct {
	more           func() error // sends a request
	isEnd          func(last uint64) (bool, error)
	received, last uint64
	inPull         int // messages since a request was sent
	emptyPulls     int
}

// take counts a message, gives it to each, and asks for more when that is due.
func (p *puller) take(m *nats.Msg, each func(*nats.MsgMetadata)) (end bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return false, err
	}
	if p.received++; meta.Sequence.Consumer != p.received {
		return false, errors.New("the connection was lost")
	}
	each(meta)
	p.last = meta.Sequence.Stream
	if meta.NumPending == 0 {
		return p.again()
	}
	if p.inPull++; p.inPull == pullBatch {
		p.inPull, p.emptyPulls = 0, 0
		return false, p.more()
	}
	return false, nil
}

// emptied is told of the end of a request that found less than it asked for, or of
// the consumer.
func (p *puller) emptied() (end bool, err error) {
	if p.emptyPulls++; p.emptyPulls < 2 {
		return false, nil
	}
	return p.again()
}

// again asks for the messages that have come meanwhile, if there are any.
func (p *puller) again() (end bool, err error) {
	if end, err = p.isEnd(p.last); end || err != nil {
		return true, err
	}
	p.inPull, p.emptyPulls = 0, 0
	return false, errors.Join(p.more(), p.more())
}
