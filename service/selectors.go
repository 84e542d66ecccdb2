package service

import (
	"sync"

	"github.com/runnel-io/runnel/service/store"
)

// selectors keeps the compiled form of the last ones: a fleet is asked with the
// same one again and again.
type selectors struct {
	mu   sync.Mutex
	last map[string]*store.Where
}

const maxSelectors = 64

func (c *selectors) compile(text string) (*store.Where, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.last[text]; ok {
		return w, nil
	}
	w, err := store.CompileWhere(text)
	if err != nil {
		return nil, err
	}
	if c.last == nil || len(c.last) >= maxSelectors {
		c.last = map[string]*store.Where{}
	}
	c.last[text] = w
	return w, nil
}
