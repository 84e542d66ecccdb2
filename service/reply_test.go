package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// A request whose reply subject is no inbox is not run, nothing is published
// there, and the runner says so in its log, its metrics and its statistics.
func TestReplyThatIsNoInbox(t *testing.T) {
	f := newFleet(t)
	log := &rig.Buffer{}
	s := f.start(service.Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	all, err := f.nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{
		"runner.log.web1.forged", "runner.task.any", "acme.log.db1.forged",
		"$JS.API.STREAM.PURGE.RUNNER_LOG", "$KV.runner_runs.forged", "$SRV.PING", "foo", "inbox.x", "_INBOX", "_INBOXES.x", "_INBOX_.x", "_R_",
	}
	path := filepath.Join(t.TempDir(), "ran")
	for _, scope := range []string{"any", "all", "at.web1", "pool.default.any", "pool.default.all"} {
		for _, reply := range forged {
			body := fmt.Sprintf(`{"kind":"runner","spec":{"task":{"argv":["touch",%q]}}}`, path)
			if err := f.nc.PublishRequest("runner.task."+scope, reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for verb := range verbs {
		if err := f.nc.PublishRequest("runner."+verb+".any", "runner.log.web1.forged", []byte(`{`)); err != nil {
			t.Fatal(err)
		}
	}
	f.deliver("runner.task.at.web1", fmt.Sprintf(`{"kind":"runner","spec":{"task":{"argv":["touch",%q]}}}`, path))
	want := 5*len(forged) + len(verbs) + 1
	rig.Eventually(f.t, "all are in the log", func() bool { return strings.Count(log.String(), "setting=replyPrefixes") == want })
	for _, text := range []string{"reply=runner.log.web1.forged", "subject=runner.task.at.web1", "reply=$JS.ACK."} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not name %s", text)
		}
	}
	f.ask("runner.glance.any", verbs["glance"]).ok(t) // behind them
	if _, err := os.Stat(path); err == nil {
		t.Error("a task was run")
	}
	for f.settled(all) {
		m, err := all.NextMsg(time.Second)
		if err != nil {
			break
		}
		if m.Header.Get("Runner-Name") != "" && !strings.HasPrefix(m.Subject, "_INBOX.") {
			t.Errorf("published on %s: %s", m.Subject, m.Data)
		}
	}
	page := httptest.NewRecorder()
	s.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	if line := fmt.Sprintf(`runnel_refused_reply_subjects_total{runner="web1",verb="task"} %d`, 5*len(forged)+2); !strings.Contains(page.Body.String(), line) {
		t.Errorf("no line %s in\n%s", line, page.Body)
	}
}

// deliver has a JetStream consumer deliver a message to a subject: the server
// takes $JS.ACK as a reply subject from nobody else.
func (f *fleet) deliver(to, body string) {
	f.t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "OTHER", Subjects: []string{"other.>"}}); err != nil {
		f.t.Fatal(err)
	}
	if _, err := js.AddConsumer("OTHER", &nats.ConsumerConfig{Durable: "c", DeliverSubject: to, AckPolicy: nats.AckExplicitPolicy}); err != nil {
		f.t.Fatal(err)
	}
	if _, err := js.Publish("other.x", []byte(body)); err != nil {
		f.t.Fatal(err)
	}
}

// settled says whether more messages wait.
func (f *fleet) settled(sub *nats.Subscription) bool {
	n, _, err := sub.Pending()
	return err == nil && n > 0
}

// What a request without a reply subject asks is done: nobody wants to know.
func TestNoReply(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	path := filepath.Join(t.TempDir(), "ran")
	if err := f.nc.Publish("runner.task.any", fmt.Appendf(nil, `{"kind":"runner","spec":{"task":{"argv":["touch",%q]}}}`, path)); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(f.t, "it is done", func() bool { _, err := os.Stat(path); return err == nil })
}

// Inboxes with a token of their own get answers; other prefixes do where the
// setting names them, at once after a reload.
func TestReplyPrefixes(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newFleet(t)
	s := f.start(service.Config{Settings: service.Settings{ReplyPrefixes: []string{"acme.inbox"}}})
	asks := func(prefix string, patience time.Duration) error {
		nc, err := f.server.Connect(nats.CustomInboxPrefix(prefix))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, err = nc.Request("runner.query.any", []byte(verbs["query"]), patience)
		return err
	}
	for _, prefix := range []string{"_INBOX_web", "_INBOX_web.a", "acme.inbox", "acme.inbox.deep"} {
		if err := asks(prefix, rig.Patience); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if asks("other", 2*time.Second) == nil {
		t.Error("a prefix that is not in the setting got an answer")
	}
	cfg := service.Settings{ReplyPrefixes: []string{"other.>"}}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if err := asks("other", rig.Patience); err != nil {
		t.Errorf("after the reload: %v", err)
	}
	if asks("acme.inbox", 2*time.Second) == nil {
		t.Error("a prefix that left the setting got an answer")
	}
	for _, bad := range []string{"runner", "runner.log", "$JS.ACK", "*", ">", "", "a..b"} {
		if err := s.Reload(service.Settings{ReplyPrefixes: []string{bad}}); err == nil || !strings.Contains(err.Error(), "reply prefix") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if err := asks("other", rig.Patience); err != nil {
		t.Errorf("after reloads that failed: %v", err)
	}
}

// A caller in another account, which imports the runners as a service, gets
// answers: the server makes its inbox a subject that begins with _R_.
func TestServiceImport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nats.conf")
	config := fmt.Sprintf(`
		listen: "127.0.0.1:-1"
		jetstream: {store_dir: %q}
		accounts: {
			FLEET: {jetstream: enabled, users: [{user: fleet, password: x}], exports: [{service: "runner.*.>", response_type: stream}]}
			OTHER: {users: [{user: other, password: x}], imports: [{service: {account: FLEET, subject: "runner.*.>"}}]}
		}`, t.TempDir())
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	connect := func(user string) *nats.Conn {
		nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo(user, "x"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	log := &rig.Buffer{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := service.Start(ctx, connect("fleet"), service.Config{
		Name: "web1", DataDir: t.TempDir(), OnDemand: true, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	reply, err := connect("other").Request("runner.glance.any", []byte(verbs["glance"]), time.Minute)
	if err != nil || reply.Header.Get("Nats-Service-Error") != "" {
		t.Fatalf("got %v, %v\n%s", reply, err, log)
	}
	if !strings.Contains(log.String(), "reply=_R_.") {
		t.Errorf("the reply did not go by _R_, so this shows nothing:\n%s", log)
	}
}
