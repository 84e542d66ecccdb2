package service

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Version of Runnel, a semantic version. It is also the micro service's, and the
// card's. The linker may set it: -X github.com/runnel-io/runnel/service.Version=1.2.3-rc1.
var Version = "0.1.0"

// DefaultPool is the pool of a runner that names none.
const DefaultPool = "default"

// Defaults of Config.
const (
	DefaultCardInterval = 10 * time.Second
	DefaultLostAfter    = time.Minute
)

// Config of a runner. The zero value is a runner named after its host, in the
// default pool, with 64 slots and its data in a temporary directory.
type Config struct {
	// Name of the runner: a token. Default: the host's name, made one.
	Name string
	// Prefix of all subjects. Default: "runner".
	Prefix string
	// Pools the runner is in. Default: "default".
	Pools []string
	// Settings can be changed while the runner runs: see Service.Reload.
	Settings
	// DataDir holds the instance id and the spools. Default: a directory of its
	// own that is removed by Close.
	DataDir string
	// JetStreamDomain and JetStreamPrefix say how JetStream is reached, where not
	// in the usual way. At most one.
	JetStreamDomain, JetStreamPrefix string
	// Replicas of the streams and buckets. Default: 1 for new ones; those that
	// exist are left as they are.
	Replicas int
	// LogMaxAge and LogMaxBytes bound the stream of all logs. Defaults for a new
	// one: 7 days, a tenth of the account's storage.
	LogMaxAge   time.Duration
	LogMaxBytes int64
	// Retention is how long final records are kept. Default: 7 days.
	Retention time.Duration
	// KeepCount is how many final records are kept at most. Default: no limit.
	KeepCount int
	// SpoolMaxBytes bounds the spool of one run. Default: 256 MiB.
	SpoolMaxBytes int64
	// Secrets are paths that glance never shows, such as the runner's own
	// credentials. DataDir is always among them.
	Secrets []string
	// NoCgroup leaves cgroups alone, even where there are some.
	NoCgroup bool
	// CgroupRoot is the cgroup v2 directory to use. Default: this process's own.
	CgroupRoot string
	// CardInterval is how often the runner's card is written. Default: 10 s.
	CardInterval time.Duration
	// OfflineAfter is how old a card may be. Default: 30 s.
	OfflineAfter time.Duration
	// LostAfter is how long a runner may be offline before its runs are lost.
	// Default: 1 minute.
	LostAfter time.Duration
	// Adopt says that DataDir was moved here from another machine, for good.
	// Without it Start refuses one that another machine's runner used last.
	Adopt bool
	// QueueAckWait is how long this runner may be silent before its work of the
	// queue is given to another, where it is the first to use a pool's queue.
	// Default: 30 s.
	QueueAckWait time.Duration
	// GiveUpAfter is how long NATS may refuse the credentials of a runner that has
	// nothing to run before that ends by itself (see Service.Done). 0: for ever.
	GiveUpAfter time.Duration
	// ServerTrouble says what is wrong with the NATS server, where whoever started
	// the runner knows; nil if nothing is.
	ServerTrouble func() error
	// StartWait bounds how long Start waits for a NATS that is there and can't do
	// yet what is needed, such as a cluster without a leader. Default: 5 minutes.
	StartWait time.Duration
	// OnWait is told what a start waits for, again and again. It must not block.
	OnWait func(error)
	// Languages of the operator, beside those that are shipped or instead of them.
	Languages []lang.Row
	// OnDemand finds out what this host can do (isolation, languages) when a task
	// asks for it, and not at the start: for a runner that lives as long as one
	// command, or is one of many in a process. Its card doesn't list them.
	OnDemand bool
	// Endpoints are further rows for the table.
	Endpoints []endpoint.Row
	// Logger. Default: slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy that is complete, or says what contradicts itself.
func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("cannot read the host's name: %w: give the runner a name", err)
		}
		c.Name = subjects.Legalise(host)
	}
	if err := subjects.Token(c.Name); err != nil {
		return c, fmt.Errorf("cannot use name: %w", err)
	}
	c.Pools = slices.Clone(c.Pools)
	if len(c.Pools) == 0 {
		c.Pools = []string{DefaultPool}
	}
	slices.Sort(c.Pools)
	c.Pools = slices.Compact(c.Pools)
	for _, p := range c.Pools {
		if err := subjects.Pool(p); err != nil {
			return c, fmt.Errorf("cannot use pool: %w", err)
		}
	}
	settings, err := c.Settings.withDefaults()
	if err != nil {
		return c, err
	}
	c.Settings = settings
	orDuration(&c.StartWait, DefaultStartWait)
	orDuration(&c.CardInterval, DefaultCardInterval)
	orDuration(&c.OfflineAfter, store.DefaultOnlineFor)
	orDuration(&c.LostAfter, DefaultLostAfter)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OnWait == nil {
		c.OnWait = func(error) {}
	}
	if c.DataDir != "" {
		abs, err := filepath.Abs(c.DataDir)
		if err != nil {
			return c, fmt.Errorf("cannot use data directory %s: %w", c.DataDir, err)
		}
		c.DataDir = abs
	}
	return c, nil
}

func orDuration(d *time.Duration, byDefault time.Duration) {
	if *d <= 0 {
		*d = byDefault
	}
}
