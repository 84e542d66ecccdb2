package serve

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// maxReplicas is the most that JetStream keeps.
const maxReplicas = 5

// check says what is wrong with flags, alone or together.
func (s *command) check() error {
	if err := s.checkNegative(); err != nil {
		return err
	}
	switch {
	case s.cfg.Slots < 1:
		return fmt.Errorf("cannot use --slots %d: it must be at least 1", s.cfg.Slots)
	case s.cfg.Replicas > maxReplicas:
		return fmt.Errorf("cannot use --replicas %d: it is %d at most", s.cfg.Replicas, maxReplicas)
	case s.cfg.Retention > 0 && s.cfg.Retention < store.MinRetention:
		return fmt.Errorf("cannot use --retention %s: records are kept for a day at least, or a run that is asked for twice could start again; to remove runs earlier, use runnel rm", s.cfg.Retention)
	case s.cfg.Retention > 0 && s.cfg.Retention < s.cfg.LogMaxAge:
		return fmt.Errorf("cannot use --retention %s with --log-max-age %s: a run's record is kept as long as its log at least", s.cfg.Retention, s.cfg.LogMaxAge)
	case s.simulate > 0 && len(s.http) > 0:
		return errors.New("cannot use --http with --simulate: it is for one runner")
	case s.listen != "" && s.Conn.Explicit():
		return errors.New("cannot use --listen with a server elsewhere: it is for the NATS server built in")
	}
	for _, pool := range s.cfg.Pools {
		if err := subjects.Pool(pool); err != nil {
			return fmt.Errorf("cannot use --pool: %w", err)
		}
	}
	for key := range s.cfg.Labels {
		if key == "" {
			return errors.New("cannot use --label: its name is empty")
		}
	}
	for _, server := range s.cfg.NTPServers {
		if server == "" || strings.ContainsAny(server, " \t\n") {
			return fmt.Errorf("cannot use --ntp %q: it is HOST or HOST:PORT", server)
		}
	}
	return checkLoopback(s.listen)
}

// checkNegative names the flag that is below 0.
func (s *command) checkNegative() error {
	for flag, value := range map[string]time.Duration{
		"drain-timeout": s.drainTimeout, "connect-wait": s.connectWait, "start-wait": s.cfg.StartWait,
		"log-max-age": s.cfg.LogMaxAge, "retention": s.cfg.Retention, "max-step": s.maxStep,
	} {
		if value < 0 {
			return fmt.Errorf("cannot use --%s %s: it must not be negative", flag, value)
		}
	}
	for flag, value := range map[string]int{
		"backlog": s.cfg.Backlog, "keep": s.cfg.KeepCount, "replicas": s.cfg.Replicas, "simulate": s.simulate,
	} {
		if value < 0 {
			return fmt.Errorf("cannot use --%s %d: it must not be negative", flag, value)
		}
	}
	return nil
}

// checkLoopback: the NATS server built in speaks without TLS, which is for this
// machine alone. An address that can't be read is left to whoever listens there.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	ip := net.ParseIP(host)
	if host == "" || ip != nil && !ip.IsLoopback() {
		return fmt.Errorf("cannot use --listen %s: the NATS server built in has no TLS, and so it is for this machine alone; for others, run a nats-server with TLS and use --server (docs/deploy.md)", listen)
	}
	return nil
}
