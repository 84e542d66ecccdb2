package service

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/maint"
	"github.com/runnel-io/runnel/service/policy"
)

// settings is what of the configuration can change while the runner runs. A
// request uses one set from its beginning to its end.
type settings struct {
	labels  map[string]string
	policy  *policy.Policy
	glancer *glance.Glancer
	keeper  *maint.Keeper
}

func (s *Service) newSettings(cfg Config) *settings {
	files := cfg.Policy.Open(append([]string{s.data.Path}, cfg.Secrets...)...)
	return &settings{
		labels: maps.Clone(cfg.Labels),
		policy: cfg.Policy,
		glancer: glance.New(glance.Config{
			OpenDir: files.OpenDir, OpenFile: files.OpenFile, HideCommandLines: cfg.Policy.HideCommandLines,
			Runner: cfg.Name, MaxReplyBytes: int(s.nc.MaxPayload()), Logger: s.log,
		}),
		keeper: maint.New(maint.Config{
			Servers: cfg.NTPServers, AllowSet: cfg.Policy.CheckClockSet() == nil, MaxStep: cfg.Policy.Clock.MaxStep, Logger: s.log,
		}),
	}
}

// Reload takes over labels, policy, NTP servers, slots and backlog of a new
// configuration; the rest needs a restart. Runs that are there go on as they
// began. An error changes nothing.
func (s *Service) Reload(cfg Config) error {
	cfg.Name, cfg.Prefix, cfg.Pools, cfg.DataDir = s.cfg.Name, s.cfg.Prefix, s.cfg.Pools, s.cfg.DataDir
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
	old := s.settings.Swap(s.newSettings(cfg))
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
