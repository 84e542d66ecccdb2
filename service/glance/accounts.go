package glance

import (
	"os/user"
	"strconv"
	"sync"
	"time"
)

const (
	accountsKept = 10 * time.Second
	maxAccounts  = 4096
)

// accounts remembers names of users and groups for a few seconds: a fan-out of
// pages asks for the same ones, and the source may be a directory server.
type accounts struct {
	mu    sync.Mutex
	since time.Time
	names *ownerNames
}

// ownerNames of one request or of several that come close together.
type ownerNames struct {
	mu            sync.Mutex
	users, groups map[uint32]string
}

func (a *accounts) request() *ownerNames {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.names == nil || time.Since(a.since) > accountsKept {
		a.names = &ownerNames{users: map[uint32]string{}, groups: map[uint32]string{}}
		a.since = time.Now()
	}
	return a.names
}

func (o *ownerNames) user(id uint32) string {
	return o.name(o.users, id, func(s string) (string, error) {
		u, err := user.LookupId(s)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (o *ownerNames) group(id uint32) string {
	return o.name(o.groups, id, func(s string) (string, error) {
		g, err := user.LookupGroupId(s)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// name looks up without the lock: a slow source must not hold up others.
func (o *ownerNames) name(known map[uint32]string, id uint32, lookup func(string) (string, error)) string {
	o.mu.Lock()
	name, ok := known[id]
	o.mu.Unlock()
	if ok {
		return name
	}
	name = strconv.FormatUint(uint64(id), 10)
	if found, err := lookup(name); err == nil && found != "" {
		name = valid(found)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(known) >= maxAccounts {
		clear(known)
	}
	known[id] = name
	return name
}
