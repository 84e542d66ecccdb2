package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
)

// Resume completes the log of a run whose runner crashed: it sends what the spool has beyond what is stored, then the EOF
// record, with totals of what is stored, and removes the spool. It returns the EOF record that the log has now: end with the
// totals or, if the log had one already, that one.
func Resume(ctx context.Context, cfg Config, end lines.End) (lines.End, error) {
	cfg = cfg.withDefaults()
	stored, err := resume(ctx, cfg, end)
	if err != nil {
		return stored, fmt.Errorf("cannot complete the log of an earlier life: %w", err)
	}
	left := spool{path: cfg.SpoolPath}
	if err := left.remove(); err != nil {
		return stored, fmt.Errorf("cannot remove the spool of an earlier life: %w", err)
	}
	return stored, nil
}

// CloseLost closes the log of a run whose runner is gone, for good: should that be alive after all, its writer is fenced off.
func CloseLost(ctx context.Context, js jetstream.JetStream, subject string, end lines.End) (lines.End, error) {
	const attempts = 3 // against a runner that is not gone at all
	cfg := Config{JS: js, Subject: subject}.withDefaults()
	for i := 1; ; i++ {
		stored, err := resume(ctx, cfg, end)
		if err == nil {
			return stored, nil
		}
		if !errors.Is(err, ErrFenced) || i == attempts {
			return stored, fmt.Errorf("cannot close a lost log: %w", err)
		}
	}
}

func resume(ctx context.Context, cfg Config, end lines.End) (lines.End, error) {
	var log *stored
	var last message
	err := patiently(ctx, cfg.JS.Conn(), func() (err error) {
		if log, err = openStored(ctx, cfg.JS, cfg.Stream, cfg.Subject); err == nil {
			last, err = log.last(ctx)
		}
		return err
	})
	if err != nil && !errors.Is(err, errNotFound) {
		return lines.End{}, err
	}
	if e := last.end(); e != nil {
		return *e, nil
	}
	pub := &publisher{js: cfg.JS, subject: cfg.Subject, stream: log.stream, logger: cfg.Logger, trouble: cfg.OnTrouble, runnerSeq: last.runnerSeq, seq: last.seq}
	if err := sendSpool(ctx, pub, cfg, last.body); err != nil {
		return lines.End{}, err
	}
	sum, err := addUp(ctx, log, pub.seq)
	if err != nil {
		return lines.End{}, err
	}
	body := sum.End(end, time.Now().UnixNano())
	totals := sum.Totals()
	end.Lines, end.Bytes, end.SHA256, end.Dropped = totals.Lines, totals.Bytes, totals.SHA256, totals.Dropped
	return end, pub.publish(ctx, outgoing{number: pub.runnerSeq + 1, head: sum.Head(), body: body}, func() {})
}

// sendSpool publishes what the spool has beyond what is stored, whose last body is given.
func sendSpool(ctx context.Context, pub *publisher, cfg Config, last []byte) error {
	left, err := openSpool(cfg.SpoolPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer left.file.Close()
	var m outgoing
	for was := pub.runnerSeq; ; {
		m, err = left.next(m.body)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.number == was && !m.missing && !bytes.Equal(m.body, last) {
			return ErrFenced
		}
		if m.number > pub.runnerSeq {
			if err := pub.publish(ctx, m, func() {}); err != nil {
				return err
			}
		}
		left.read, left.frame = left.read+left.frame, 0
	}
}

// addUp reads what is stored of a run, up to the sequence last of the stream.
func addUp(ctx context.Context, log *stored, last uint64) (*lines.Sum, error) {
	sum := new(lines.Sum)
	if last == 0 {
		return sum, nil
	}
	options := FollowOptions{Stream: log.stream, Subject: log.subject}
	f := newFollower(log, options, func(lines.Record) error { return nil })
	f.sum = sum
	f.until = last
	if _, err := f.run(ctx); err != nil {
		return nil, err
	}
	return sum, nil
}
