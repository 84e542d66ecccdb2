package endpoint

import (
	"sync"
	"time"
)

// counts are an endpoint's own: micro can't see what is answered late.
type counts struct {
	mu         sync.Mutex
	requests   int64
	errors     int64
	badReplies int64 // not run, for their reply subject
	lastError  string
	lastAt     time.Time
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
	c.lastError, c.lastAt = Text(err), time.Now()
}

func (c *counts) refusedReply() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.badReplies++
}

// stats is what "nats service stats" shows beside micro's own numbers.
func (c *counts) stats() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]any{"requests": c.requests, "errors": c.errors}
	if c.badReplies > 0 {
		m["refused_reply_subjects"] = c.badReplies
	}
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
