package tests

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// Every request in docs/nats-cli.md is one that a runner understands, and the
// subjects, keys and streams in it are there. The nats CLI itself isn't needed:
// what it sends is in the line.
func TestLinesOfNatsCLI(t *testing.T) {
	nc := oneRunner(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	requests, reads := 0, 0
	for _, line := range commandLines(document(t, "nats-cli.md")) {
		body := regexp.MustCompile(`'(\{.*\})'|"(\{.*\})"`).FindStringSubmatch(line)
		words := strings.Fields(regexp.MustCompile(`'[^']*'|"(\\"|[^"])*"`).ReplaceAllStringFunc(line, func(q string) string {
			return strings.Trim(strings.ReplaceAll(q, " ", ""), `'"`)
		}))
		switch {
		case strings.HasPrefix(line, "nats req"):
			requests++
			subject := regexp.MustCompile(`runner\.(task|glance|maint|query|abort)\.\S+`).FindString(line)
			text := strings.NewReplacer(`\"`, `"`, "$(date +%s)", "1795221213").Replace(body[1] + body[2])
			if !strings.Contains(line, "--no-templates") {
				t.Errorf("%s: without --no-templates", line)
			}
			msg := nats.NewMsg(subject)
			msg.Data = []byte(text)
			if where := regexp.MustCompile(`-H '(Runner-Where):(.*?)' `).FindStringSubmatch(line); where != nil {
				msg.Header.Set(where[1], strings.ReplaceAll(where[2], "cpus > 8", "cpus > 0"))
			}
			reply, err := nc.RequestMsg(msg, 40*time.Second)
			if err != nil {
				t.Errorf("%s: %v", line, err)
			} else if e := reply.Header.Get("Nats-Service-Error"); e != "" && !strings.Contains(line, `"failed: `) {
				t.Errorf("%s: %s", line, e)
			}
		case strings.HasPrefix(line, "nats kv get"):
			reads++
			bucket, key := words[len(words)-2], words[len(words)-1]
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if e, err := kv.Get(t.Context(), key); err != nil || !json.Valid(e.Value()) {
				t.Errorf("%s: %v", line, err)
			}
		case strings.HasPrefix(line, "nats sub") && strings.Contains(line, "--stream"):
			reads++
			subject := regexp.MustCompile(`runner\.log\.[^'\s]+`).FindString(line)
			c, err := js.OrderedConsumer(t.Context(), "RUNNER_LOG", jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if _, err := c.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if requests < 10 || reads < 5 {
		t.Errorf("docs/nats-cli.md has %d requests and %d reads that this test can see", requests, reads)
	}
}

// commandLines are the commands of a document, in the order in which a reader
// would type them.
func commandLines(doc string) []string {
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```(?:sh)?[^\n]*\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "nats ") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// oneRunner starts web1, in the pools db and default, and connects to its server.
func oneRunner(t *testing.T) *nats.Conn {
	t.Helper()
	return fleet.New(t, service.Config{
		Name: "web1", Pools: []string{"db", "default"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}},
	}).Conn()
}
