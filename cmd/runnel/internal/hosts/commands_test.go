package hosts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// What can't be meant is refused before anybody is asked: no server is named here.
func TestHostsRefuse(t *testing.T) {
	t.Parallel()
	room.Refuses(t, map[string]string{
		"ls extra":                        `cannot use the argument "extra": runnel ls [flags] (see runnel ls --help)`,
		"forget":                          "an argument is missing: runnel forget NAME… [flags] (see runnel forget --help)",
		"glance nosuch":                   `there is no command "nosuch" (see runnel --help)`,
		"glance ls":                       "an argument is missing: runnel glance ls PATH [flags] (see runnel glance ls --help)",
		"glance ls /a /b":                 `cannot use the argument "/b": runnel glance ls PATH [flags] (see runnel glance ls --help)`,
		"glance cat":                      "an argument is missing: runnel glance cat PATH [flags] (see runnel glance cat --help)",
		"glance cat /x --tail -1":         `cannot use --tail "-1": it is a number of bytes, such as 67108864 or 64M (see runnel glance cat --help)`,
		"glance cat /x --tail much":       `cannot use --tail "much": it is a number of bytes, such as 67108864 or 64M (see runnel glance cat --help)`,
		"glance cat /x --all --follow":    "cannot follow a file of every runner at once: name one with --on",
		"glance cat /x --on=":             `cannot use --on "": it is empty`,
		"glance ps --top many":            `cannot use --top "many": it is a whole number (see runnel glance ps --help)`,
		"glance sys --batch x":            `cannot use --batch "x": it is a whole number (see runnel glance sys --help)`,
		"glance sys --nosuch":             "unknown flag: --nosuch (see runnel glance sys --help)",
		"maint clocks":                    `there is no command "clocks"; did you mean clock?`,
		"maint clock extra":               `cannot use the argument "extra": runnel maint clock [flags] (see runnel maint clock --help)`,
		"maint clock --force":             "--force goes with --sync",
		"maint clock --limit 3":           "--limit, --batch and --expect go with --all",
		"maint clock --on web1 --batch 2": "--limit, --batch and --expect go with --all",
		"glance sys --expect 2":           "--limit, --batch and --expect go with --all",
		"glance cat /x --limit 10%":       "--limit, --batch and --expect go with --all",
		"maint clock --sync=perhaps":      `cannot use --sync "perhaps": it is true or false (see runnel maint clock --help)`,
		"ls --timeout 5":                  `cannot use --timeout "5": it is a duration with a unit, such as 30s or 1h30m (see runnel ls --help)`,
		"ls --timeout 0s":                 "cannot use --timeout 0s: it must be more than 0",
		"ls --log-level loud":             `cannot use log level "loud": it is debug, info, warn or error`,
		"ls --no-context":                 "no NATS server: name one with --server or --context, or start one here with `runnel serve`",
		"ls --no-context --js-domain hub": "no NATS server: name one with --server or --context, or start one here with `runnel serve`",
	})
}

// Every command says what it does, with an example, in 80 columns.
func TestHelpOfHosts(t *testing.T) {
	t.Parallel()
	for line, wants := range map[string][]string{
		"ls -h":          {"List the runners, online or not.\n", "runnel ls --watch", "--json", "-w, --watch"},
		"forget -h":      {"Take runners that are gone for good off the list.\n", "runnel forget web3 web4"},
		"glance":         {"Look at hosts", "runnel glance cat /etc/hostname --on web1", "  ps ", "  sys "},
		"glance sys -h":  {"What hosts have and what is in use", "--where EXPR", "--json"},
		"glance ps -h":   {"--top N", "--sort KEY", "cpu, memory or pid"},
		"glance ls -h":   {"runnel glance ls /opt --all"},
		"glance cat -h":  {"its exact bytes", "--tail N", "-f, --follow"},
		"maint":          {"runnel maint clock --on web2 --ntp --sync"},
		"maint clock -h": {"--time TIME", "--force", "even if a daemon keeps the clock"},
	} {
		got := room.Run(t, strings.Fields(line)...)
		if got.Code != 0 || got.Err != "" {
			t.Errorf("%s: got %d, %q", line, got.Code, got.Err)
		}
		for _, want := range wants {
			if !strings.Contains(got.Out, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", line, got.Out, want)
			}
		}
		for text := range strings.Lines(got.Out) {
			if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > 80 {
				t.Errorf("%s: %d columns: %s", line, n, text)
			}
		}
	}
}

// twoHosts is a fleet of two runners on a server of its own.
func twoHosts(t *testing.T) (apptest.Room, *rig.Server) {
	t.Helper()
	server := rig.Start(t, natsserver.Options{})
	for _, cfg := range []service.Config{
		{Name: "db1", Pools: []string{"db"}, Settings: service.Settings{Labels: map[string]string{"env": "test"}}},
		{Name: "web1", Pools: []string{"default", "web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod", "rack.unit": "7"}}},
	} {
		fleet.Runner(t, rig.Dial(t, server.ClientURL()), cfg)
	}
	return room.At(server.ClientURL()), server
}

// prints runs a command line that must succeed.
func prints(t *testing.T, r apptest.Room, line string) apptest.Result {
	t.Helper()
	got := r.Run(t, strings.Fields(line)...)
	if got.Code != 0 {
		t.Fatalf("%s: got %d, %q", line, got.Code, got.Err)
	}
	return got
}

func TestHosts(t *testing.T) {
	t.Parallel()
	r, server := twoHosts(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("one\ntwo\nlast"), 0o640); err != nil {
		t.Fatal(err)
	}
	t.Run("list", func(t *testing.T) { listed(t, r) })
	t.Run("directory", func(t *testing.T) { directory(t, r, dir) })
	t.Run("file", func(t *testing.T) { fileOfHosts(t, r, file) })
	t.Run("system", func(t *testing.T) { systems(t, r) })
	t.Run("clock", func(t *testing.T) { clocks(t, r) })
	t.Run("complete", func(t *testing.T) { completed(t, r) })
	t.Run("refuse", func(t *testing.T) { refusedByFleet(t, r, dir) })
	t.Run("forget", func(t *testing.T) { forgotten(t, r, server) })
}

func listed(t *testing.T, r apptest.Room) {
	want := regexp.MustCompile(`^RUNNER  STATE   RUNNING  POOLS .*\ndb1     online  0/64     db           env=test  .*\nweb1    online  0/64     default,web  env=prod,rack\.unit=7 .*\n$`)
	rig.Eventually(t, "both are listed by name, online and with all that there is to say", func() bool { return want.MatchString(prints(t, r, "ls").Out) })
	var names []string
	for line := range strings.Lines(prints(t, r, "ls --json").Out) {
		var one struct {
			Online   *bool
			LastSeen string
			Card     json.RawMessage
		}
		card := new(pb.Card)
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := pb.UnmarshalJSON(one.Card, card); err != nil || one.Online == nil || !*one.Online || !strings.HasSuffix(one.LastSeen, "Z") {
			t.Errorf("%s: %v", line, err)
		}
		names = append(names, card.GetName())
	}
	if want := []string{"db1", "web1"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func directory(t *testing.T, r apptest.Room, dir string) {
	one := prints(t, r, "glance ls "+dir+" --on web1")
	if !regexp.MustCompile(`(?m)^MODE .*NAME\n(?s:.*)^-rw-r----- .* 12 .* file$`).MatchString(one.Out) || one.Err != "" {
		t.Errorf("one: got %q\n%s", one.Err, one.Out)
	}
	all := prints(t, r, "glance ls "+dir+" --all")
	if !regexp.MustCompile(`(?m)^db1 .* file\n(?s:.*)^web1 .* file$`).MatchString(all.Out) || all.Err != "runnel: 2 runners: 2 ok\n" {
		t.Errorf("all: got %q\n%s", all.Err, all.Out)
	}
	records := prints(t, r, "glance ls "+dir+" --all --json")
	lines := strings.Split(strings.TrimSpace(records.Out), "\n")
	if len(lines) != 3 || lines[2] != `{"summary":{"failed":[],"missing":[],"ok":["db1","web1"],"skipped":[],"unexpected":[]}}` {
		t.Fatalf("got %s", records.Out)
	}
	for i, name := range []string{"db1", "web1"} {
		reply := new(pb.GlanceReply)
		if err := pb.UnmarshalJSON([]byte(lines[i]), reply); err != nil || reply.GetRunner() != name || len(reply.GetDir().GetEntries()) == 0 {
			t.Errorf("got %s, %v, want the entries of %s", lines[i], err, name)
		}
	}
}

func fileOfHosts(t *testing.T, r apptest.Room, file string) {
	for line, want := range map[string]string{
		"glance cat " + file + " --on db1":                "one\ntwo\nlast",
		"glance cat " + file + " --pool web":              "one\ntwo\nlast",
		"glance cat " + file + " --tail 4":                "last",
		"glance cat " + file + " --tail 1K":               "one\ntwo\nlast",
		"glance cat " + file + " --all":                   "db1   one\ndb1   two\ndb1   last\nweb1  one\nweb1  two\nweb1  last\n",
		"glance cat " + file + " --all --tail 4":          "db1   last\nweb1  last\n",
		"glance cat " + file + " --all --limit 1":         "db1  last\n",
		"glance cat " + file + " --all --where cpus>9999": "",
	} {
		args := strings.Fields(line)
		if strings.Contains(line, "--limit") {
			args = append(args, "--tail", "4")
		}
		got := r.Run(t, args...)
		if got.Out != want || (got.Code != 0) != (want == "") {
			t.Errorf("%s: got %d, %q, %q, want %q", line, got.Code, got.Out, got.Err, want)
		}
	}
}

func systems(t *testing.T, r apptest.Room) {
	one := prints(t, r, "glance sys --on web1")
	if !regexp.MustCompile(`^RUNNER +CPU +MEMORY +DISK / +LOAD +OS +HOST\nweb1 +\d+ CPU +\d+% `).MatchString(one.Out) {
		t.Errorf("got %s", one.Out)
	}
	reply := new(pb.GlanceReply)
	got := prints(t, r, "glance ps --on db1 --top 2 --sort memory --json")
	if err := pb.UnmarshalJSON([]byte(strings.TrimSpace(got.Out)), reply); err != nil {
		t.Fatalf("%v: %s", err, got.Out)
	}
	processes := reply.GetSys().GetStats().GetProcesses()
	if len(processes) != 2 || processes[0].GetProcess().GetMemory() < processes[1].GetProcess().GetMemory() {
		t.Errorf("got %v, want the two largest", processes)
	}
	table := prints(t, r, "glance ps --all --top 1 --where labels.env==\"prod\"")
	if n := strings.Count(table.Out, "\n"); n != 2 || !strings.Contains(table.Out, "\nweb1 ") || table.Err != "runnel: 2 runners: 1 ok, 1 skipped (db1)\n" {
		t.Errorf("got %q\n%s", table.Err, table.Out)
	}
}

func clocks(t *testing.T, r apptest.Room) {
	one := prints(t, r, "maint clock --on web1")
	if !regexp.MustCompile(`^RUNNER +OFFSET +± +KERNEL +KEPT BY\nweb1 +[+-]\d+\.\d+m?s!? +\d+\.\d+m?s +\S+ +\S+\n$`).MatchString(one.Out) {
		t.Errorf("got\n%s", one.Out)
	}
	// A time of long ago: every host is ahead of it, by so much that it is marked.
	ago := prints(t, r, "maint clock --all --time 1000000000")
	if n := len(regexp.MustCompile(`(?m)^(db1|web1) +-\d+d! +- `).FindAllString(ago.Out, -1)); n != 2 || ago.Err != "runnel: 2 runners: 2 ok\n" {
		t.Errorf("got %q\n%s", ago.Err, ago.Out)
	}
	records := prints(t, r, "maint clock --all --time 1000000000 --json")
	lines := strings.Split(strings.TrimSpace(records.Out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], `{"summary":{`) {
		t.Fatalf("got %s", records.Out)
	}
	for _, line := range lines[:2] {
		reply := new(pb.MaintReply)
		if err := pb.UnmarshalJSON([]byte(line), reply); err != nil || reply.GetRunner() == "" || !reply.GetClock().GetDiff().GetDangerous() {
			t.Errorf("got %s, %v", line, err)
		}
	}
	if got := r.Run(t, "maint", "clock", "--ntp", "--time", "1000000000"); got.Code != 125 || got.Err != "runnel: cannot compare with both --ntp and --time\n" {
		t.Errorf("both: got %d, %q", got.Code, got.Err)
	}
}

func completed(t *testing.T, r apptest.Room) {
	for line, want := range map[string][]string{
		"forget _":                      {"db1", "web1"},
		"forget w":                      {"web1"},
		"forget web1 _":                 {"db1"}, // each once
		"glance sys --on _":             {"db1", "web1"},
		"glance sys --pool _":           {"db", "default", "web"},
		"glance sys --pool d":           {"db", "default"},
		"glance sys --where _":          {`labels.env=="prod"`, `labels.env=="test"`, `labels["rack.unit"]=="7"`},
		"glance ps --sort _":            {"cpu", "memory", "pid"},
		"glance _":                      {"cat", "ls", "ps", "sys"},
		"maint clock --nt":              {"--ntp"},
		"maint clock --log-level _":     {"debug", "info", "warn", "error"},
		"glance cat --on nosuch":        nil,
		"glance sys --pool web --where": {"--where"},
	} {
		words := strings.Split(strings.ReplaceAll(line, "_", ""), " ")
		if got := r.Complete(t, words...); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	// A shell is told nothing of what goes wrong: it would stand in the line being typed.
	away := r.At("nats://127.0.0.1:1")
	if got := away.Complete(t, "forget", ""); len(got) > 0 {
		t.Errorf("without a server: got %q", got)
	}
}

func refusedByFleet(t *testing.T, r apptest.Room, dir string) {
	r.Refuses(t, map[string]string{
		"glance cat " + dir + "/nosuch --on web1": "cannot read " + dir + "/nosuch: no such file or directory",
		"glance ls " + dir + "/file --on web1":    "invalid dir: " + dir + "/file is not a directory",
		"glance sys --on web1 --pool web":         "one runner was named: pool, all and where don't go with it",
		"glance sys --on web9":                    "runner web9 is not online, and no runner of that name is known",
		"glance sys --on a.b":                     `cannot use name: "a.b" must be letters, digits, "-" and "_" only`,
		"glance sys --pool nosuch":                "No runners available.",
		"glance ps --sort size --on web1":         `invalid sort: sys.sort is "size" and must be "cpu", "memory" or "pid"`,
		"maint clock --on web1 --time 5x":         `cannot use --time "5x": it is RFC 3339, such as 2006-01-02T15:04:05Z, or Unix seconds`,
	})
	failed := r.Run(t, "glance", "cat", dir+"/nosuch", "--all")
	if want := fmt.Sprintf("runnel: 2 runners: 0 ok, 2 failed (db1, web1: cannot read %s/nosuch: no such file or directory)\n", dir); failed.Code != 1 || failed.Err != want {
		t.Errorf("got %d, %q, want 1, %q", failed.Code, failed.Err, want)
	}
}

func forgotten(t *testing.T, r apptest.Room, server *rig.Server) {
	js := rig.JetStream(t, rig.Dial(t, server.ClientURL()))
	for _, name := range []string{"old1", "old2"} {
		if err := rig.PutCard(t.Context(), js, &pb.Card{Name: name, State: store.StateStopped}); err != nil {
			t.Fatal(err)
		}
	}
	if got := prints(t, r, "ls").Out; !regexp.MustCompile(`(?m)^old1 +offline +- `).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
	got := r.Run(t, "forget", "old1", "web1", "nosuch", "old2", "old1")
	want := `runnel: old1 is forgotten
runnel: cannot forget web1: it is online
runnel: cannot forget nosuch: no runner of that name is known (runnel ls)
runnel: old2 is forgotten
runnel: cannot forget old1: no runner of that name is known (runnel ls)
`
	if got.Code != 125 || got.Out != "" || got.Err != want {
		t.Errorf("got %d, %q\n%swant 125\n%s", got.Code, got.Out, got.Err, want)
	}
	if got := prints(t, r, "ls").Out; strings.Contains(got, "old") {
		t.Errorf("got\n%s", got)
	}
}

// Before any runner was there, lists are empty and say what to do.
func TestNobodyYet(t *testing.T) {
	t.Parallel()
	server := rig.Start(t, natsserver.Options{})
	r := room.At(server.ClientURL())
	got := prints(t, r, "ls")
	if got.Out != "" || got.Err != "runnel: no runner has been seen yet; runnel serve starts one\n" {
		t.Errorf("got %q, %q", got.Out, got.Err)
	}
	if got := prints(t, r, "ls --json"); got.Out != "" || got.Err != "" {
		t.Errorf("as JSON: got %q, %q", got.Out, got.Err)
	}
	r.Refuses(t, map[string]string{
		"glance sys":             "No runners available.",
		"glance sys --all":       "no online runner matches",
		"maint clock":            "No runners available.",
		"glance sys --on web1":   "runner web1 is not online, and no runner of that name is known",
		"glance cat /etc/passwd": "No runners available.",
	})
	if got := r.Run(t, "forget", "web1"); got.Code != 125 || got.Err != "runnel: no runner has been seen yet\n" {
		t.Errorf("forget: got %d, %q", got.Code, got.Err)
	}
}
