package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// Get reads a schedule. Error: ErrUnknown.
func (s *Store) Get(ctx context.Context, name string) (Schedule, error) {
	if CheckName(name) != nil {
		return Schedule{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	m, err := s.stream.Last(ctx, s.cfg.Space.ScheduleDef(name))
	var api *jetstream.APIError
	switch {
	case errors.Is(err, stream.ErrNoMessage), errors.Is(err, nats.ErrNoResponders), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return Schedule{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	case err != nil:
		return Schedule{}, fmt.Errorf("cannot read schedule %s: %w", name, err)
	}
	return s.definition(name, m)
}

// definition is the schedule that a message has. Error: ErrUnknown.
func (s *Store) definition(name string, m stream.Message) (Schedule, error) {
	if isMarker(m) {
		return Schedule{Rev: m.Seq}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return s.read(name, m.Header, m.Data, m.Seq)
}

// isMarker says whether a message stands where a removed one was.
func isMarker(m stream.Message) bool {
	return len(m.Data) == 0 && m.Header.Get(HeaderSchedule) == "" && m.Header.Get(headerPattern) == ""
}

// read makes a Schedule of a message: a definition, or a fire, which has its
// headers and body.
func (s *Store) read(name string, h nats.Header, body []byte, rev uint64) (Schedule, error) {
	def := Schedule{Name: name, Rev: rev, Task: &pb.TaskRequest{}}
	spec, err := readSpec(h.Get(HeaderSchedule))
	if errors.Is(err, errNoPattern) {
		err = spec.foreign(h)
		all, pool, _, ok := s.cfg.Space.ParseFired(h.Get(headerTarget))
		if ok {
			spec.All, spec.Pool = all, strings.TrimPrefix(pool, subjects.NoPool)
		}
	}
	def.Spec = spec
	if err != nil || spec.Pipeline != "" {
		return def, err
	}
	return def, pb.DecodeRequest(body, h.Get(subjects.HeaderContentType) == subjects.Protobuf, def.Task)
}

// foreign fills a Spec from the server's own headers.
func (s *Spec) foreign(h nats.Header) error {
	text := h.Get(headerPattern)
	switch {
	case text == "":
		return nil // a fire: its definition tells
	case strings.HasPrefix(text, "@every "):
		s.Every = strings.TrimPrefix(text, "@every ")
	case strings.HasPrefix(text, "@at "):
		at, err := time.Parse(time.RFC3339, strings.TrimPrefix(text, "@at "))
		if err != nil {
			return err
		}
		s.At = &at
	default:
		s.Cron, s.Zone = text, h.Get(headerZone)
	}
	return nil
}

// List reads all schedules, by name, and all at once where the server can. Those
// that can't be read are left out.
func (s *Store) List(ctx context.Context) (all []Schedule, err error) {
	st, err := s.cfg.JS.Stream(ctx, s.stream.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list schedules: %w", err)
	}
	found, whole, _ := s.stream.LastOfEach(ctx, s.cfg.Space.ScheduleDef("*"), st.CachedInfo().State.LastSeq)
	if whole {
		for _, m := range found {
			name, _ := s.cfg.Space.ParseScheduleDef(m.Subject)
			if def, err := s.definition(name, m); err == nil {
				all = append(all, def)
			}
		}
	} else if all, err = s.eachOf(ctx, st); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Schedule) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// eachOf reads all schedules one after another, from the leader.
func (s *Store) eachOf(ctx context.Context, st jetstream.Stream) (all []Schedule, err error) {
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Space.ScheduleDef("*")))
	if err != nil {
		return nil, fmt.Errorf("cannot list schedules: %w", err)
	}
	for subject := range info.State.Subjects {
		name, _ := s.cfg.Space.ParseScheduleDef(subject)
		def, err := s.Get(ctx, name)
		var invalid *pb.InvalidError
		switch {
		case errors.Is(err, ErrUnknown), errors.As(err, &invalid): // removed just now, or another client's
		case err != nil:
			return nil, err
		default:
			all = append(all, def)
		}
	}
	return all, nil
}
