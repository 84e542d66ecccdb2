package service

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/subjects"
)

// Endpoint is a row of the table: a verb, where it is heard, what answers it.
type Endpoint struct {
	Verb subjects.Verb
	// Reach says in which scopes the verb is heard.
	Reach Reach
	// Handle answers the request, in a goroutine of its own.
	Handle func(*Request)
	// admit, if set, runs before it, in the order of arrival, and must not wait.
	admit func(*Request)
	// LeavesAny: the any scopes are left while there is no free place.
	LeavesAny bool
	// About, Ask and Reply tell a stranger how to call it (nats service info).
	About, Ask, Reply string
	// Smaller says how to ask for less when a reply is too large.
	Smaller string
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

// table is every verb a runner answers.
func (s *Service) table() []Endpoint {
	return append([]Endpoint{
		{
			Verb: subjects.Task, Reach: ReachEverywhere, Handle: s.task, admit: s.admit, LeavesAny: true,
			About:   "run a task; answers at once with the run, whose output is on run.logSubject of stream run.logStream",
			Ask:     `{"kind":"runner","spec":{"task":{"commands":["echo hello"]}}}`,
			Reply:   `{"run":{"id":…,"state":…,"logStream":…,"logSubject":…},"service":{…}}`,
			Smaller: "use fewer tags",
		},
		{
			Verb: subjects.Glance, Reach: ReachEverywhere, Handle: s.glance,
			About:   "look at the host: a directory, a file, the system",
			Ask:     `{"kind":"runner","spec":{"glance":{"sys":{"enable":true,"top":10},"dir":{"path":"/etc"},"file":{"path":"/etc/hostname","maxSize":4096}}}}`,
			Reply:   `{"dir":{"entries":[…]},"file":{"content":base64},"sys":{"resource":{…},"stats":{…}},"error":""}`,
			Smaller: "use limit and next for dir, offset and length for file, top for sys",
		},
		{
			Verb: subjects.Maint, Reach: ReachEverywhere, Handle: s.maint,
			About: "compare the host's clock with a time or with NTP, and set it if asked to",
			Ask:   `{"kind":"runner","spec":{"maint":{"clock":{"ntp":true,"sync":false}}}}`,
			Reply: `{"clock":{"diff":{"time":ms,"dangerous":false},"sync":{"status":0}},"error":""}`,
		},
		{
			Verb: subjects.Query, Reach: ReachAny, Handle: s.query,
			About:   "find runs of the whole fleet by id, state and tags, or wait for one",
			Ask:     `{"kind":"runner","spec":{"query":{"all":true,"states":["RUNNING"],"limit":10}}}`,
			Reply:   `{"runs":[…],"next":"","service":{…}}`,
			Smaller: "use a smaller limit",
		},
		{
			Verb: subjects.Abort, Reach: ReachAny | ReachAt, Handle: s.abort,
			About: "end a run; answers with its final record or, after wait, with aborting set",
			Ask:   `{"kind":"runner","spec":{"abort":{"run":"ID","wait":"2s"}}}`,
			Reply: `{"run":{…},"service":{…}}`,
		},
	}, s.cfg.Endpoints...)
}

// register puts a row into the micro service, an endpoint a scope.
func (s *Service) register(e *Endpoint) error {
	if e.Reach&ReachAt != 0 {
		if err := s.add(e, subjects.At(s.cfg.Name), "at", ""); err != nil {
			return err
		}
	}
	if e.Reach&ReachAll != 0 {
		if err := s.add(e, subjects.All, "all", ""); err != nil {
			return err
		}
	}
	if e.Reach&ReachAny != 0 {
		if err := s.addAny(e, subjects.Any, "any"); err != nil {
			return err
		}
	}
	if e.Reach&ReachPools == 0 {
		return nil
	}
	for _, pool := range s.cfg.Pools {
		if err := s.add(e, subjects.PoolAll(pool), "pool-"+pool+"-all", ""); err != nil {
			return err
		}
		if err := s.addAny(e, subjects.PoolAny(pool), "pool-"+pool+"-any"); err != nil {
			return err
		}
	}
	return nil
}

// addAny registers an any scope: with micro where it is never left, else with
// the gate, because micro can't pause an endpoint.
func (s *Service) addAny(e *Endpoint, scope subjects.Scope, name string) error {
	if !e.LeavesAny {
		return s.add(e, scope, name, subjects.Queue)
	}
	c := &counts{}
	subject := s.space.Request(e.Verb, scope)
	if at, ok := s.counts.Load(endpointName(e, "at")); ok {
		at.(*counts).with(subject, c)
	}
	s.gate.add(subject, s.handler(e, scope, c))
	return nil
}

func endpointName(e *Endpoint, scope string) string { return string(e.Verb) + "-" + scope }

func (s *Service) add(e *Endpoint, scope subjects.Scope, name, queue string) error {
	opts := []micro.EndpointOpt{
		micro.WithEndpointSubject(s.space.Request(e.Verb, scope)),
		micro.WithEndpointMetadata(s.metadata(e, scope)),
	}
	if queue == "" {
		opts = append(opts, micro.WithEndpointQueueGroupDisabled())
	} else {
		opts = append(opts, micro.WithEndpointQueueGroup(queue))
	}
	c := &counts{}
	full := endpointName(e, name)
	s.counts.Store(full, c)
	handle := s.handler(e, scope, c)
	err := s.micro.AddEndpoint(full, micro.HandlerFunc(func(m micro.Request) {
		handle(&Request{subject: m.Subject(), reply: m.Reply(), header: map[string][]string(m.Headers()), body: m.Data()})
	}), opts...)
	if err != nil {
		return fmt.Errorf("cannot register endpoint %s: %w", full, err)
	}
	return nil
}

// metadata makes "nats service info" enough to call an endpoint.
func (s *Service) metadata(e *Endpoint, scope subjects.Scope) map[string]string {
	m := map[string]string{
		"about": e.About, "request": e.Ask, "reply": e.Reply,
		"try": fmt.Sprintf("nats req --no-templates %s '%s'", s.space.Request(e.Verb, scope), e.Ask),
	}
	if e.LeavesAny {
		any := []string{s.space.Request(e.Verb, subjects.Any)}
		for _, pool := range s.cfg.Pools {
			any = append(any, s.space.Request(e.Verb, subjects.PoolAny(pool)))
		}
		m["any"] = strings.Join(any, " ")
		m["any-queue"] = subjects.Queue
	}
	return m
}

// handler accounts for the request and gives it a goroutine of its own: micro
// calls handlers one after the other.
func (s *Service) handler(e *Endpoint, scope subjects.Scope, c *counts) func(*Request) {
	return func(r *Request) {
		r.Scope, r.Context, r.service, r.endpoint, r.counts, r.came = scope, s.ctx, s, e, c, time.Now()
		c.heard()
		if !s.begin() {
			r.Fail(&coded{codeFull, errStopping})
			return
		}
		if e.admit != nil {
			e.admit(r)
		}
		go func() {
			defer s.requests.Done()
			defer r.release()
			defer r.guard()
			r.hear()
		}()
	}
}

// counts are an endpoint's own: micro can't see what is answered late.
type counts struct {
	mu        sync.Mutex
	requests  int64
	errors    int64
	lastError string
	lastAt    time.Time
	// others are those of subjects that are not endpoints of micro.
	others map[string]*counts
}

// with has other told with c.
func (c *counts) with(subject string, other *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.others == nil {
		c.others = map[string]*counts{}
	}
	c.others[subject] = other
}

func (c *counts) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
}

func (c *counts) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors++
	c.lastError, c.lastAt = oneLine(err), time.Now()
}

// stats is what "nats service stats" shows beside micro's own numbers.
func (c *counts) stats() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]any{"requests": c.requests, "errors": c.errors}
	if c.lastError != "" {
		m["last_error"], m["last_error_at"] = c.lastError, c.lastAt.UTC().Format(time.RFC3339)
	}
	if len(c.others) > 0 {
		others := map[string]any{}
		for subject, other := range c.others {
			others[subject] = other.stats()
		}
		m["any"] = others
	}
	return m
}
