package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
	"github.com/runnel-io/runnel/subjects"
)

// Definition is a pipeline as KV has it.
type Definition struct {
	Name     string               `json:"name"`
	Source   string               `json:"source"`
	Pipeline *definition.Pipeline `json:"pipeline"`
	Env      map[string]string    `json:"env,omitempty"`
	// Removed: no new job starts; those that are there go on.
	Removed bool `json:"removed,omitempty"`

	Rev uint64 `json:"-"` // of the entry that it was read from
}

// Input is what a job works with: the definition that it started with, and the
// environment that nobody but engines may read.
type Input struct {
	Definition *definition.Pipeline `json:"definition"`
	Env        map[string]string    `json:"env,omitempty"`
	// Dir is the working directory of tasks that name none.
	Dir string `json:"dir,omitempty"`
	// Runner executes tasks that have no on.
	Runner string `json:"runner,omitempty"`
}

// The keys of the engines' bucket. A name may be any text, and a key may not.
func DefKey(name string) string  { return "def." + digest(name) }
func HeadKey(name string) string { return "head." + digest(name) }
func InputKey(job string) string { return "input." + job }

func KindOfKey(key string) string {
	kind, _, _ := strings.Cut(key, ".")
	return kind
}

func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// leaseMarker is how long the marker of a lease that has ended is kept. No key
// with a time to live has less than that, so that it must be below any lease.
const leaseMarker = time.Second

// OpenBuckets opens the two buckets, and makes those that are missing.
func OpenBuckets(ctx context.Context, js jetstream.JetStream, space subjects.Space, cfg kv.Config) (defs, jobs *kv.Bucket, err error) {
	own := cfg
	own.Name, own.Description, own.MarkerTTL = space.PipelinesBucket(), "Runnel: definitions, queues and inputs of pipelines", leaseMarker
	if defs, err = kv.Open(ctx, js, own); err != nil {
		return nil, nil, err
	}
	cfg.Name, cfg.Description = space.JobsBucket(), "Runnel: jobs of pipelines"
	jobs, err = kv.Open(ctx, js, cfg)
	return defs, jobs, err
}

func ReadDefinition(e kv.Entry) (*Definition, error) {
	d := &Definition{Rev: e.Rev}
	if err := json.Unmarshal(e.Body, d); err != nil {
		return nil, fmt.Errorf("cannot read a definition: %w", err)
	}
	return d, nil
}

func ReadHead(body []byte) (waitlist.Head, error) {
	var h waitlist.Head
	if err := json.Unmarshal(body, &h); err != nil {
		return h, fmt.Errorf("cannot read the queue of a pipeline: %w", err)
	}
	return h, nil
}

// ListPipelines lists definitions by name with their queues; those that were
// removed are listed for as long as they have jobs.
func ListPipelines(defs map[string]*Definition, headOf func(name string) waitlist.Head, one string) []*pb.Pipeline {
	var all []*pb.Pipeline
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		d, h := defs[name], headOf(name)
		if one != "" && name != one || d.Removed && h.Empty() {
			continue
		}
		p := &pb.Pipeline{
			Name: name, Source: d.Source, Removed: d.Removed,
			Schedulable: !d.Removed && h.Schedulable(d.Pipeline, time.Now()), Running: len(h.Running) > 0,
			RunningJobs: int64(len(h.Running)), WaitingJobs: int64(len(h.Waiting)),
		}
		if one != "" {
			body, _ := json.Marshal(d.shown())
			p.Definition, p.Variables = string(body), d.Pipeline.VariableNames()
		}
		all = append(all, p)
	}
	return all
}

// shown is the pipeline as people may see it: of env files the names alone.
func (d *Definition) shown() *definition.Pipeline {
	p := *d.Pipeline
	p.Env = map[string]definition.Text{}
	for name := range d.Env {
		p.Env[name] = "***"
	}
	maps.Copy(p.Env, d.Pipeline.Env)
	return &p
}

// Place puts in a job that waits where it does so, and why; d may be nil.
func Place(job *pb.Job, head waitlist.Head, d *Definition, at time.Time) {
	place, waits := head.IsWaiting(job.GetId())
	if !waits {
		return
	}
	job.Place, job.Waits = int64(place), head.Why(place, 1, at)
	if d != nil {
		job.Waits = head.Why(place, d.Pipeline.Jobs(), at)
	}
}
