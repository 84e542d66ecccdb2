package service

import (
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// table is every verb a runner answers.
func (s *Service) table() []endpoint.Row {
	return append([]endpoint.Row{
		{
			Verb: subjects.Task, Reach: endpoint.ReachEverywhere, Arrive: s.admit, LeavesAny: true,
			Busy:    endpoint.Coded(endpoint.CodeFull, run.ErrFull),
			About:   "run a task; the reply is the run, and its output is on run.logSubject",
			Ask:     `{"kind":"runner","spec":{"task":{"argv":["echo","hello"]}}}`,
			Reply:   `{"run":{"id":…,"state":…,"logStream":…,"logSubject":…},"service":{…}}`,
			Smaller: "use fewer tags",
		},
		{
			Verb: subjects.Glance, Reach: endpoint.ReachEverywhere, Handle: endpoint.Handle(s.glance),
			About:   "look at the host: a directory (dir), a file (file), the system (sys)",
			Ask:     `{"kind":"runner","spec":{"glance":{"dir":{"path":"/etc"}}}}`,
			Reply:   `{"dir":{"entries":[…]},"file":{"content":…},"sys":{…},"error":""}`,
			Smaller: "use limit and next for dir, offset and length for file, top for sys",
		},
		{
			Verb: subjects.Maint, Reach: endpoint.ReachEverywhere, Handle: endpoint.Handle(s.maint),
			About: "compare the host's clock with a time or with NTP, and set it if asked to",
			Ask:   `{"kind":"runner","spec":{"maint":{"clock":{"ntp":true}}}}`,
			Reply: `{"clock":{"diff":{"time":…,"dangerous":…},"sync":{"status":…}},"error":""}`,
		},
		{
			Verb: subjects.Query, Reach: endpoint.ReachAny, Handle: endpoint.Handle(s.query),
			// Those that wait are 64 at most (package store), and leave room for others.
			Bound:   endpoint.Bound{AtOnce: 96, Queue: 64},
			About:   "find runs of the whole fleet by id, state and tags, or wait for one",
			Ask:     `{"kind":"runner","spec":{"query":{"all":true,"limit":10}}}`,
			Reply:   `{"runs":[…],"next":"","service":{…}}`,
			Smaller: "use a smaller limit",
		},
		{
			Verb: subjects.Abort, Reach: endpoint.ReachAny | endpoint.ReachAt, Handle: endpoint.Handle(s.abort),
			// Each may wait for half a minute and costs next to nothing.
			Bound: endpoint.Bound{AtOnce: 256, Queue: 256},
			About: "end a run; the reply is its final record, or after wait one with aborting",
			Ask:   `{"kind":"runner","spec":{"abort":{"run":"ID","wait":"2s"}}}`,
			Reply: `{"run":{…},"service":{…}}`,
		},
		{
			Verb: subjects.Schedule, Reach: endpoint.ReachAny, Handle: endpoint.Handle(s.schedule),
			About:   "list, show, add, change, remove, pause, resume and run schedules",
			Ask:     `{"kind":"runner","spec":{"schedule":{"list":{}}}}`,
			Reply:   `{"schedules":[…],"runs":[…],"next":"","id":"","service":{…}}`,
			Smaller: "use a smaller limit",
		},
	}, s.cfg.Endpoints...)
}

// newEndpoints makes what answers the table; openEndpoints lets it be heard.
func (s *Service) newEndpoints() (err error) {
	clock := &store.ServerClock{Ask: s.store.ServerTime}
	s.endpoints, err = endpoint.New(s.life.ctx, endpoint.Config{
		Conn: s.conns.nc, Space: s.space, Version: Version,
		Runner: s.cfg.Name, Instance: s.data.Instance, Pools: s.cfg.Pools,
		Rows: s.table(),
		Free: func() bool { return s.runner.Load().Free },
		Allow: func(verb subjects.Verb) error {
			return s.settings.Load().policy.CheckVerb(string(verb))
		},
		ReplyPrefixes: func() []string { return s.settings.Load().replies },
		ServerTime:    clock.Bounds,
		Matches:       s.matcher(),
		Code:          codeOf,
		Metrics:       s.metrics.registry, Logger: s.log,
	})
	return err
}

// matcher returns what says whether a selector is true for this runner.
func (s *Service) matcher() func(where string) (bool, error) {
	var compiled selectors
	return func(where string) (bool, error) {
		selector, err := compiled.compile(where)
		if err != nil {
			return false, err
		}
		return selector.Match(s.presence.Card())
	}
}
