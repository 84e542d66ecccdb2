package service

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/maint"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/service/run"
)

// Settings are the part of a Config that can change while the runner runs.
type Settings struct {
	// Labels for selectors.
	Labels map[string]string
	// Slots is how many runs there are at a time. Default: 64.
	Slots int
	// Backlog is how many more may wait. Default: 256; below 0: none.
	Backlog int
	// Policy says what may be asked. Default: everything but looking at secrets.
	Policy *policy.Policy
	// NTPServers for maint, as host or host:port. Default: four of pool.ntp.org,
	// which are asked only when a request wants NTP.
	NTPServers []string
	// ReplyPrefixes are the inbox prefixes of callers that have other ones than
	// _INBOX, _INBOX_<token> and this connection's own: a request is run only if
	// its reply goes to one of these.
	ReplyPrefixes []string
}

// withDefaults returns a copy that is complete, or says what contradicts itself.
func (s Settings) withDefaults() (Settings, error) {
	if s.Slots < 0 {
		return s, errors.New("cannot use slots: it must not be negative")
	}
	s.Labels = maps.Clone(s.Labels)
	if s.Policy == nil {
		s.Policy = &policy.Policy{}
	}
	return s, s.Policy.Validate()
}

// settings is what Settings have become. A request uses one set from its
// beginning to its end.
type settings struct {
	labels  map[string]string
	policy  *policy.Policy
	glancer *glance.Glancer
	keeper  *maint.Keeper
	// replies are the prefixes of inboxes beside the usual ones.
	replies []string
}

func (s *Service) newSettings(cfg Settings) (*settings, error) {
	replies, err := s.replyPrefixes(cfg.ReplyPrefixes)
	if err != nil {
		return nil, err
	}
	opener := files.New(files.Config{
		Roots: cfg.Policy.Files.Roots, Deny: cfg.Policy.Files.Deny, HideCommandLines: cfg.Policy.HideCommandLines,
		Own: append([]string{s.data.Path}, s.cfg.Secrets...), NoHomes: os.Geteuid() == 0,
	})
	return &settings{
		labels: cfg.Labels,
		policy: cfg.Policy,
		glancer: glance.New(glance.Config{
			Files: opener, Helpers: s.hanging.helpers, HideCommandLines: cfg.Policy.HideCommandLines,
			Runner: s.cfg.Name, MaxReplyBytes: int(s.conns.nc.MaxPayload()), Logger: s.log,
		}),
		keeper: maint.New(maint.Config{
			Servers: cfg.NTPServers, Defaults: maint.DefaultServers(), AllowSet: cfg.Policy.CheckClockSet() == nil, MaxStep: cfg.Policy.Clock.MaxStep, Logger: s.log,
		}),
		replies: replies,
	}, nil
}

// replyPrefixes reads the setting, and adds the prefix of this connection: the
// runners of a fleet ask one another.
func (s *Service) replyPrefixes(setting []string) ([]string, error) {
	var all []string
	for _, text := range setting {
		prefix, err := s.space.ReplyPrefix(text)
		if err != nil {
			return nil, err
		}
		all = append(all, prefix)
	}
	if own, err := s.space.ReplyPrefix(s.conns.nc.Opts.InboxPrefix); err == nil {
		all = append(all, own)
	}
	return all, nil
}

// Reload replaces all settings: what is not set gets its default, as in a new
// Config. Runs that are there go on as they began. An error changes nothing.
func (s *Service) Reload(cfg Settings) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if s.endpoints.Stopping() {
		return errors.New("cannot reload: " + endpoint.ErrStopping.Error())
	}
	if err := s.knowsLanguages(cfg.Policy); err != nil {
		return err
	}
	next, err := s.newSettings(cfg)
	if err != nil {
		return err
	}
	old := s.settings.Swap(next)
	old.glancer.Close()
	s.runner.Resize(cfg.Slots, cfg.Backlog)
	s.presence.Changed()
	s.log.Info("configuration reloaded", "runner", s.cfg.Name)
	return nil
}

// knowsLanguages refuses a policy that allows what would never match: requests
// are checked by a language's own name.
func (s *Service) knowsLanguages(p *policy.Policy) error {
	for _, name := range p.Languages {
		own, known := s.languages.Name(name)
		if !known {
			return fmt.Errorf("cannot use policy: languages: %q is no language this runner knows", name)
		}
		if !strings.EqualFold(own, name) {
			return fmt.Errorf("cannot use policy: languages: %q is an alias: write %q", name, own)
		}
	}
	return nil
}

// runPolicy is what a submission is held to now.
func (s *Service) runPolicy() run.Policy {
	return run.Policy{Hold: s.holdToPolicy, HidesCommands: s.settings.Load().policy.HideCommandLines}
}
