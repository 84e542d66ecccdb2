package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule/pattern"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Overlap says what becomes of a tick while the last one's run has not ended.
type Overlap string

// The values of Overlap.
const (
	Skip    Overlap = "skip" // the default: the tick has a record that says so
	Allow   Overlap = "allow"
	Replace Overlap = "replace" // the last run is aborted, and the new one starts after it
)

// How late a fire may be and still have a run, where the schedule doesn't say.
const (
	DefaultDeadline    = 24 * time.Hour
	DefaultDeadlineAll = 10 * time.Minute
)

const (
	// maxName leaves room for the tick in an id of the queue.
	maxName = pb.MaxQueueID - len("-20060102T150405Z")
	// tickLayout is a tick in an id.
	tickLayout = "20060102T150405Z"
	// maxTags is how many tags a task may have beside the schedule's.
	maxTags = 31
	// TagSchedule is on every run of a schedule: its name.
	TagSchedule = "schedule"
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// Spec says when a schedule is due, and what is made of a tick. It is the JSON of
// the header Runner-Schedule.
type Spec struct {
	// Exactly one of Cron, Every and At.
	Cron  string     `json:"cron,omitempty"`
	Zone  string     `json:"tz,omitempty"` // with Cron; default UTC
	Every string     `json:"every,omitempty"`
	At    *time.Time `json:"at,omitempty"`
	// Pool whose runners run it. Default: "default"; with All every pool.
	Pool string `json:"pool,omitempty"`
	// All has each runner run it that On and Where leave.
	All bool     `json:"all,omitempty"`
	On  []string `json:"on,omitempty"`
	// Pipeline whose job each tick starts, in the place of a task. Its variables are
	// in the pipeline's definition, which owns the schedule.
	Pipeline string `json:"pipeline,omitempty"`
	Where    string `json:"where,omitempty"`
	// From and Until bound the ticks.
	From  *time.Time `json:"from,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Jitter puts each run off by up to that long; with All by as much each time.
	Jitter        string  `json:"jitter,omitempty"`
	StartDeadline string  `json:"startDeadline,omitempty"`
	Overlap       Overlap `json:"overlap,omitempty"`
	// Since is the time from which ticks count: of the making, or of a resume.
	Since time.Time `json:"since"`
	// By is who has made it, as far as that is known.
	By string `json:"by,omitempty"`
	// Source is the file that it was applied from, if it was.
	Source string `json:"source,omitempty"`
	// Paused: it fires no more until it is resumed.
	Paused *Pause `json:"paused,omitempty"`
}

// Pause says since when a schedule is paused, and by whom.
type Pause struct {
	Since time.Time `json:"since"`
	By    string    `json:"by,omitempty"`
}

// Schedule is a definition as it is stored.
type Schedule struct {
	Name string `json:"name"`
	Spec
	// Task is what each tick runs; its id is the tick's.
	Task *pb.TaskRequest `json:"-"`
	// Rev is the definition's sequence in the stream; 0 for one that isn't stored.
	Rev uint64 `json:"-"`
}

// Pattern is when it is due. Error: *pb.InvalidError.
func (s Spec) Pattern() (p pattern.Pattern, err error) {
	given := 0
	for _, is := range []bool{s.Cron != "", s.Every != "", s.At != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return p, pb.Invalid("give one of cron, every and at")
	case s.Zone != "" && s.Cron == "":
		return p, pb.Invalid("a time zone belongs to a cron pattern alone")
	case s.Cron != "":
		p, err = pattern.Cron(s.Cron, s.Zone)
	case s.Every != "":
		p, err = pattern.Every(s.Every)
	default:
		p, err = pattern.At(*s.At)
	}
	if err != nil {
		return p, pb.Invalid("%s", err)
	}
	return p, nil
}

// PoolOrDefault is the pool in the subject of its fires.
func (s Spec) PoolOrDefault() string {
	switch {
	case s.Pool != "":
		return s.Pool
	case s.Pipeline != "":
		return subjects.PipelinesPool
	case s.All:
		return subjects.NoPool
	default:
		return "default"
	}
}

// OverlapOrDefault is Overlap with its default.
func (s Spec) OverlapOrDefault() Overlap {
	if s.Overlap == "" {
		return Skip
	}
	return s.Overlap
}

// Deadline is how late a fire may be and still have a run.
func (s Spec) Deadline() time.Duration {
	fallback := DefaultDeadline
	if s.All {
		fallback = DefaultDeadlineAll
	}
	d, err := pb.Duration("startDeadline", s.StartDeadline, fallback)
	if err != nil {
		return fallback
	}
	return d
}

// JitterMax is Jitter as a duration.
func (s Spec) JitterMax() time.Duration {
	d, err := pb.Duration("jitter", s.Jitter, 0)
	if err != nil {
		return 0
	}
	return d
}

// Within says whether a tick lies between From and Until.
func (s Spec) Within(tick time.Time) bool {
	return (s.From == nil || !tick.Before(*s.From)) && (s.Until == nil || !tick.After(*s.Until))
}

// Check refuses a schedule that can't be right, before anything is stored.
func (s Schedule) Check(now time.Time) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	p, err := s.Pattern()
	if err != nil {
		return err
	}
	if err := s.checkTarget(); err != nil {
		return err
	}
	for _, d := range []struct{ name, text string }{{"jitter", s.Jitter}, {"startDeadline", s.StartDeadline}} {
		if v, err := pb.Duration(d.name, d.text, 0); err != nil {
			return err
		} else if v < 0 {
			return pb.Invalid("%s: %q is less than nothing", d.name, d.text)
		}
	}
	switch s.Overlap {
	case "", Skip, Allow, Replace:
	default:
		return pb.Invalid("overlap: %q: it is skip, allow or replace", s.Overlap)
	}
	if s.Until != nil && (s.Until.Before(now) || s.From != nil && s.Until.Before(*s.From)) {
		return pb.Invalid("until: %s is over before it begins", s.Until.UTC().Format(time.RFC3339))
	}
	if p.Once() && !s.At.After(now) {
		return pb.Invalid("at: %s is in the past", s.At.UTC().Format(time.RFC3339))
	}
	return s.checkTask()
}

// CheckName refuses the name of a schedule that no id could be made of.
func CheckName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return pb.Invalid("name: %q: it must be 1 to %d letters, digits, \"-\" and \"_\", beginning with a letter or digit", name, maxName)
	}
	return nil
}

func (s Schedule) checkTarget() error {
	if s.Pool != "" {
		if err := subjects.Token(s.Pool); err != nil {
			return pb.Invalid("pool: %s", err)
		}
		if s.Pool == subjects.NoPool || s.Pool == subjects.PipelinesPool {
			return pb.Invalid("pool: %q is none", s.Pool)
		}
	}
	if s.Pipeline != "" && (s.All || s.Pool != "") {
		return pb.Invalid("pipeline: the engine takes its ticks: all and pool do not go with it")
	}
	if !s.All && (len(s.On) > 0 || s.Where != "") {
		return pb.Invalid("on and where choose among all runners: they need all")
	}
	for _, name := range s.On {
		if err := subjects.Token(name); err != nil {
			return pb.Invalid("on: %s", err)
		}
	}
	if s.Where != "" {
		if _, err := store.CompileWhere(s.Where); err != nil {
			return pb.Invalid("where: %s", err)
		}
	}
	return nil
}

func (s Schedule) checkTask() error {
	if s.Pipeline != "" {
		return nil
	}
	task := s.Task.GetSpec().GetTask()
	switch {
	case s.Task.GetMetadata().GetId() != "":
		return pb.Invalid("metadata.id: a schedule names its runs by itself")
	case len(task.GetTags()) > maxTags:
		return pb.Invalid("tags: %d of at most %d", len(task.GetTags()), maxTags)
	case s.All && (task.GetRetries() != nil || task.GetDelay() != "" || task.GetNotBefore() != nil || task.GetConcurrency() != nil):
		return pb.Invalid("retries, delay, notBefore and concurrency are for one runner of a pool, not for all")
	}
	return s.Task.Validate()
}

// TickID is the id of a tick's run.
func TickID(name string, tick time.Time) string { return name + "-" + tick.UTC().Format(tickLayout) }

// Owned is the ErrOwned of a schedule that is a pipeline's.
func (s Schedule) Owned(what string) error {
	return fmt.Errorf("cannot %s schedule %s: %w: pipeline %q", what, s.Name, ErrOwned, s.Pipeline)
}

// NowID is the id of a run beside the ticks.
func NowID(name string, now time.Time) string { return TickID(name, now) + "-now" }

// History asks for the records of a schedule's ticks.
func History(name string, limit int) *pb.Query {
	return &pb.Query{All: true, Tags: map[string]string{TagSchedule: name}, Limit: int64(limit)}
}

// Request is the task of a tick.
func (s Schedule) Request(id string) *pb.TaskRequest {
	req := proto.CloneOf(s.Task)
	if req.Metadata == nil {
		req.Metadata = &pb.Metadata{}
	}
	req.Metadata.Id = id
	if task := req.GetSpec().GetTask(); task != nil {
		if task.Tags == nil {
			task.Tags = map[string]string{}
		}
		task.Tags[TagSchedule] = s.Name
	}
	return req
}

// header is the value of Runner-Schedule.
func (s Spec) header() (string, error) {
	body, err := json.Marshal(s)
	return string(body), err
}

// errNoPattern is a definition of another client's that says nothing of its time.
var errNoPattern = errors.New("no pattern")

// read fills a Spec from a header.
func readSpec(header string) (s Spec, err error) {
	if header == "" {
		return s, errNoPattern
	}
	if err := json.Unmarshal([]byte(header), &s); err != nil {
		return s, fmt.Errorf("cannot read header %s: %w", HeaderSchedule, err)
	}
	return s, nil
}
