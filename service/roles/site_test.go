package roles_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/roles"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func space(t *testing.T) subjects.Space {
	t.Helper()
	s, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// users of the server of these tests.
var users = []roles.User{
	{Name: "ann", Role: roles.Admin},
	{Name: "olga", Role: roles.Operator},
	{Name: "tom", Role: roles.Task, Pools: []string{"web"}},
	{Name: "vera", Role: roles.Viewer},
	{Name: "sue", Role: roles.Scheduler},
	{Name: "web1", Role: roles.Runner, Pools: []string{"web"}},
	{Name: "db1", Role: roles.Runner, Pools: []string{"db"}},
	{Name: "eng1", Role: roles.Engine, Pools: []string{"eng"}},
	{Name: "gate1", Role: roles.Gateway},
}

// site is a server that permits what the lists say, and its users.
type site struct {
	t      *testing.T
	server *rig.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("authorization {\n  users = [\n")
	for _, user := range users {
		list, err := roles.For(space(t), user)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&conf, "    {user: %s, password: x, permissions: %s}\n", user.Name, list.Conf("    "))
	}
	// Whoever installs the site: the streams are not a runner's to make.
	conf.WriteString("    {user: setup, password: x}\n  ]\n}\n")
	var options natsserver.Options
	if err := options.ProcessConfigString(conf.String()); err != nil {
		t.Fatalf("%v in\n%s", err, conf.String())
	}
	s := &site{t, rig.Start(t, options)}
	first, err := service.Start(rig.Within(t, rig.Patience), s.as("setup").Conn, service.Config{
		Name: "first", DataDir: t.TempDir(), Logger: rig.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	engine, err := pipeline.Start(rig.Within(t, rig.Patience), s.as("setup").Conn, pipeline.Config{Name: "first", Logger: rig.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	engine.Close()
	space := space(t)
	if _, err := gateway.OpenBucket(rig.Within(t, rig.Patience), rig.JetStream(t, s.as("setup").Conn), space); err != nil {
		t.Fatal(err)
	}
	if err := s.as("ann").client().Forget(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) runner(name string) {
	s.t.Helper()
	fleet.Runner(s.t, s.as(name).Conn, service.Config{Name: name, CardInterval: 100 * time.Millisecond, Pools: []string{map[string]string{"web1": "web", "db1": "db"}[name]}, Logger: rig.Logger(s.t)})
}

// person is a user, and what the server has refused to them.
type person struct {
	*nats.Conn
	t       *testing.T
	name    string
	refused chan error
}

func (s *site) as(name string) *person {
	s.t.Helper()
	p := &person{t: s.t, name: name, refused: make(chan error, 100)}
	s.t.Cleanup(p.nothingRefused) // after the connection was closed
	p.Conn = rig.Dial(s.t, s.server.ClientURL(), nats.UserInfo(name, "x"), nats.CustomInboxPrefix(roles.InboxPrefix(name)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.refused <- err }))
	return p
}

func (p *person) nothingRefused() {
	select {
	case err := <-p.refused:
		p.t.Errorf("%s was refused: %v", p.name, err)
	default:
	}
}

func (p *person) client() *client.Client {
	p.t.Helper()
	return fleet.Client(p.t, p.Conn)
}

// mayNot publishes on each subject and is refused.
func (p *person) mayNot(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		if err := p.Publish(subject, []byte("{}")); err != nil {
			p.t.Fatal(err)
		}
		p.isRefused("publish on " + subject)
	}
}

// mayNotHear subscribes to each subject and is refused.
func (p *person) mayNotHear(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		sub, err := p.SubscribeSync(subject)
		if err != nil {
			p.t.Fatal(err)
		}
		p.isRefused("subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
}

func (p *person) isRefused(what string) {
	p.t.Helper()
	select {
	case err := <-p.refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			p.t.Errorf("%s, %s: %v", p.name, what, err)
		}
	case <-time.After(rig.Patience):
		p.t.Errorf("%s may %s", p.name, what)
	}
}

// wiretap collects who publishes on what; whose inbox the reply goes to tells.
func (s *site) wiretap() (used func(user, pattern string) bool) {
	s.t.Helper()
	var mu sync.Mutex
	seen := map[[2]string]bool{}
	if _, err := s.as("setup").Subscribe(">", func(msg *nats.Msg) {
		inbox, _, _ := strings.Cut(msg.Reply, ".")
		mu.Lock()
		defer mu.Unlock()
		seen[[2]string{strings.TrimPrefix(inbox, "_INBOX_"), msg.Subject}] = true
	}); err != nil {
		s.t.Fatal(err)
	}
	return func(user, pattern string) bool {
		mu.Lock()
		defer mu.Unlock()
		for one := range seen {
			if (one[0] == user || one[0] == "") && natsserver.SubjectsCollide(one[1], pattern) {
				return true
			}
		}
		return false
	}
}
