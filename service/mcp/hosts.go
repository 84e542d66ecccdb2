package mcp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addHosts() {
	add(s, tool{
		name: "list_hosts", title: "List hosts", need: NeedRead,
		about: "The runners of the fleet, one a host: whether they are online, their pools and labels, what they have and how busy they are.",
	}, doListHosts)
	add(s, tool{
		name: "glance", title: "Look at a host", need: NeedRead,
		about: "Look at a host, or at many: the system, its busiest processes, a directory or a part of a file. " +
			"Processes, directories and files need the right to run commands.",
	}, doGlance)
}

type listHostsIn struct {
	Pool   string `json:"pool,omitempty" jsonschema:"only of this pool"`
	Online bool   `json:"online,omitempty" jsonschema:"only those that are online"`
	After  string `json:"after,omitempty" jsonschema:"only those whose names come after this one, for the next page"`
	Limit  int    `json:"limit,omitempty" jsonschema:"at most so many, 1 to 100; default 20"`
}

type listHostsOut struct {
	Hosts  []host `json:"hosts"`
	Total  int    `json:"total" jsonschema:"how many there are, listed or not"`
	Online int    `json:"online"`
	Next   string `json:"next,omitempty" jsonschema:"there are more: give it back as after"`
}

type host struct {
	Name      string            `json:"name"`
	Online    bool              `json:"online"`
	State     string            `json:"state" jsonschema:"ready, draining, unhealthy or initialising"`
	Error     string            `json:"error,omitempty"`
	Seen      int64             `json:"seen_seconds_ago"`
	Host      string            `json:"host,omitempty" jsonschema:"the machine's own name"`
	Pools     []string          `json:"pools"`
	Labels    map[string]string `json:"labels,omitempty"`
	CPUs      int64             `json:"cpus"`
	Memory    int64             `json:"memory_bytes"`
	OS        string            `json:"os"`
	Arch      string            `json:"arch"`
	Load      float64           `json:"load"`
	Running   int64             `json:"running" jsonschema:"runs now"`
	Slots     int64             `json:"slots" jsonschema:"runs at a time"`
	Languages []string          `json:"languages,omitempty"`
	Isolation []string          `json:"isolation,omitempty"`
}

// doListHosts is the tool list_hosts.
func doListHosts(ctx context.Context, c *call, in listHostsIn) (out listHostsOut, err error) {
	limit, err := listLimit(in.Limit)
	if err != nil {
		return out, err
	}
	runners, err := c.server.client.Runners(ctx)
	if err != nil {
		return out, err
	}
	out.Hosts = []host{}
	for _, r := range runners {
		if in.Online && !r.Online || in.Pool != "" && !slices.Contains(r.Card.GetPools(), in.Pool) {
			continue
		}
		out.Total++
		if r.Online {
			out.Online++
		}
		switch {
		case r.Card.GetName() <= in.After && in.After != "":
		case len(out.Hosts) < limit:
			out.Hosts = append(out.Hosts, hostOf(r))
		default:
			out.Next = out.Hosts[limit-1].Name
		}
	}
	return out, nil
}

// maxLabels is how many labels, pools and languages of a host are listed.
const maxLabels = 32

func hostOf(r client.Runner) host {
	card := r.Card
	labels := map[string]string{}
	for _, name := range firstOf(slices.Sorted(maps.Keys(card.GetLabels())), maxLabels) {
		labels[clip.Short(name, 100)] = clip.Short(card.GetLabels()[name], 100)
	}
	os := card.GetOsName()
	if os == "" {
		os = card.GetOs()
	}
	return host{
		Name: card.GetName(), Online: r.Online, State: card.GetState(), Error: clip.Short(card.GetError(), 200), Seen: int64(r.Age.Seconds()),
		Host: card.GetHost(), Pools: firstOf(card.GetPools(), maxLabels), Labels: labels, CPUs: card.GetCpus(), Memory: card.GetMemory(),
		OS: os, Arch: card.GetArch(), Load: finite(card.GetLoad()), Running: card.GetRunning(), Slots: card.GetSlots(),
		Languages: firstOf(card.GetLanguages(), maxLabels), Isolation: card.GetIsolation(),
	}
}

func firstOf[T any](list []T, most int) []T {
	if list == nil {
		return []T{}
	}
	return list[:min(most, len(list))]
}

// finite is a number that JSON can say.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

type glanceIn struct {
	What   string `json:"what" jsonschema:"system, processes, directory or file"`
	Path   string `json:"path,omitempty" jsonschema:"the absolute path of the directory or file"`
	Top    int    `json:"top,omitempty" jsonschema:"processes or entries at most, 1 to 500; default 20 processes, 100 entries"`
	Sort   string `json:"sort,omitempty" jsonschema:"of processes: cpu, memory or pid; default cpu"`
	Next   string `json:"next,omitempty" jsonschema:"from the result before, for the next page of one host"`
	Offset int64  `json:"offset,omitempty" jsonschema:"of a file: where to begin, in bytes; negative: from the end"`
	target
	MaxBytes int `json:"max_bytes,omitempty" jsonschema:"of files: bytes at most, for all hosts together; default 16384, at most 262144"`
}

type glanceOut struct {
	Hosts   []glanced   `json:"hosts"`
	Failed  []hostError `json:"failed,omitempty"`
	Missing []string    `json:"missing,omitempty" jsonschema:"they did not answer"`
	Skipped int         `json:"skipped,omitempty" jsonschema:"where leaves them out"`
}

// glanced is what was seen of a host.
type glanced struct {
	Runner    string    `json:"runner"`
	System    *system   `json:"system,omitempty"`
	Processes []process `json:"processes,omitempty"`
	Entries   []entry   `json:"entries,omitempty"`
	File      *file     `json:"file,omitempty"`
	Next      string    `json:"next,omitempty" jsonschema:"there is more: give it back as next"`
	Error     string    `json:"error,omitempty" jsonschema:"what could not be seen"`
}

type system struct {
	OS            string  `json:"os"`
	Address       string  `json:"address,omitempty"`
	CPUs          string  `json:"cpus"`
	CPUUsed       string  `json:"cpu_used"`
	Memory        int64   `json:"memory_bytes"`
	MemoryUsed    int64   `json:"memory_used_bytes"`
	Disk          int64   `json:"disk_bytes" jsonschema:"of the root file system"`
	DiskUsed      int64   `json:"disk_used_bytes"`
	Load          float64 `json:"load"`
	UptimeSeconds int64   `json:"uptime_seconds"`
}

type process struct {
	PID     int64   `json:"pid"`
	Name    string  `json:"name"`
	Command string  `json:"command,omitempty"`
	Memory  int64   `json:"memory_bytes"`
	CPU     float64 `json:"cpu_seconds"`
	Threads int     `json:"threads"`
}

type entry struct {
	Name     string `json:"name"`
	Dir      bool   `json:"dir,omitempty"`
	Size     int64  `json:"size"`
	Modified string `json:"modified"`
	Owner    string `json:"owner"`
	Mode     string `json:"mode"`
}

type file struct {
	Size   int64  `json:"size" jsonschema:"of the whole file"`
	Offset int64  `json:"offset" jsonschema:"where the text begins"`
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty" jsonschema:"instead of text, where that is no UTF-8"`
	Cut    int64  `json:"cut,omitempty" jsonschema:"bytes of the file behind the text; offset reads on"`
}

const (
	defaultTop, defaultEntries, maxTop = 20, 100, 500
	// maxManyHosts is how many hosts a glance shows at once.
	maxManyHosts = 100
)

// query makes the glance; hosts is how many answer at most.
func (in glanceIn) query(most, hosts int) (*pb.Glance, error) {
	top := in.Top
	if top < 0 || top > maxTop {
		return nil, fmt.Errorf("cannot use top %d: it is 1 to %d", top, maxTop)
	}
	no := false
	switch in.What {
	case "system":
		return &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &no}}, nil
	case "processes":
		if top == 0 {
			top = defaultTop
		}
		sort := in.Sort
		if sort == "" {
			sort = "cpu"
		}
		return &pb.Glance{Sys: &pb.SysQuery{Enable: true, Top: int64(max(1, top/hosts)), Sort: sort, Next: in.Next}}, nil
	case "directory":
		if top == 0 {
			top = defaultEntries
		}
		return &pb.Glance{Dir: &pb.DirQuery{Path: in.Path, Limit: int64(max(1, top/hosts)), Next: in.Next}}, nil
	case "file":
		length := int64(max(1, most/hosts))
		return &pb.Glance{File: &pb.FileQuery{Path: in.Path, MaxSize: length, Offset: &in.Offset, Length: &length}}, nil
	}
	return nil, fmt.Errorf("cannot look at %q: it is system, processes, directory or file", clip.Short(in.What, 100))
}

// doGlance is the tool glance.
func doGlance(ctx context.Context, c *call, in glanceIn) (out glanceOut, err error) {
	if in.What != "system" {
		if err := c.server.may(ctx, NeedRun); err != nil {
			return out, err
		}
	}
	most, err := reading{MaxBytes: in.MaxBytes}.most()
	if err != nil {
		return out, err
	}
	to, err := in.of()
	if err != nil {
		return out, err
	}
	out.Hosts = []glanced{}
	if !in.All {
		return out, c.glanceOne(ctx, in, most, &out)
	}
	if in.Next != "" {
		return out, errors.New("cannot use next with all: the pages are those of one host")
	}
	hosts, err := c.howMany(ctx, in)
	if err != nil {
		return out, err
	}
	q, err := in.query(most, hosts)
	if err != nil {
		return out, err
	}
	all, err := c.server.client.GlanceAll(ctx, to, q, client.FanOptions{Limit: in.Limit})
	if err != nil {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(all.Answers)) {
		answer := all.Answers[name]
		if answer.Err != nil && answer.Message == nil {
			out.Failed = append(out.Failed, hostError{name, clip.Short(answer.Err.Error(), maxError)})
			continue
		}
		out.Hosts = append(out.Hosts, seen(name, answer.Message, answer.Err))
	}
	out.Missing, out.Skipped = all.Missing, len(all.Skipped)
	return out, nil
}

// howMany hosts can be meant; more than fit in a result are refused.
func (c *call) howMany(ctx context.Context, in glanceIn) (n int, err error) {
	runners, err := c.server.client.Runners(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range runners {
		if r.Online && (in.Pool == "" || slices.Contains(r.Card.GetPools(), in.Pool)) {
			n++
		}
	}
	if n > maxManyHosts && in.Limit == "" {
		return 0, fmt.Errorf("cannot look at %d hosts at once, %d at most: use limit", n, maxManyHosts)
	}
	return max(1, min(n, maxManyHosts)), nil
}

func (c *call) glanceOne(ctx context.Context, in glanceIn, most int, out *glanceOut) error {
	to, err := in.of()
	if err != nil {
		return err
	}
	q, err := in.query(most, 1)
	if err != nil {
		return err
	}
	reply, err := c.server.client.Glance(ctx, to, q)
	if reply == nil || err != nil && reply.GetRunner() == "" {
		return err
	}
	out.Hosts = append(out.Hosts, seen(reply.GetRunner(), reply, err))
	return nil
}

// seen is a reply in short.
func seen(runner string, reply *pb.GlanceReply, err error) glanced {
	g := glanced{Runner: runner, Error: clip.Short(reply.GetError(), maxError)}
	if err != nil && g.Error == "" {
		g.Error = clip.Short(err.Error(), maxError)
	}
	if sys := reply.GetSys(); sys.GetStats() != nil {
		stats, res := sys.GetStats(), sys.GetResource()
		g.System = &system{
			OS: stats.GetOs(), Address: stats.GetHost(), CPUs: stats.GetCpu().GetTotal(), CPUUsed: stats.GetCpu().GetUsed(),
			Memory: res.GetAllocatable().GetMemory(), MemoryUsed: res.GetRequested().GetMemory(),
			Disk: res.GetAllocatable().GetStorage(), DiskUsed: res.GetRequested().GetStorage(),
			Load: finite(stats.GetLoad()), UptimeSeconds: stats.GetUptime(),
		}
		for _, p := range stats.GetProcesses() {
			main := p.GetProcess()
			g.Processes = append(g.Processes, process{
				PID: main.GetPid(), Name: clip.Short(main.GetName(), 100), Command: clip.Short(main.GetCmdline(), 200),
				Memory: main.GetMemory(), CPU: finite(main.GetTime()), Threads: 1 + len(p.GetThreads()),
			})
		}
		g.Next = sys.GetNext()
	}
	if dir := reply.GetDir(); dir != nil {
		for _, e := range dir.GetEntries() {
			g.Entries = append(g.Entries, entry{e.GetName(), e.GetIsDir(), e.GetSize(), e.GetModified(), e.GetUser() + ":" + e.GetGroup(), e.GetMode()})
		}
		g.Next = dir.GetNext()
	}
	if f := reply.GetFile(); f.GetReadable() {
		g.File = fileOf(f)
	}
	return g
}

func fileOf(f *pb.FileReply) *file {
	content, err := base64.StdEncoding.DecodeString(f.GetContent())
	out := &file{Size: f.GetSize(), Offset: f.GetOffset(), Cut: max(0, f.GetSize()-f.GetOffset()-int64(len(content)))}
	whole := content
	if out.Cut > 0 {
		whole = clip.EndAtRune(content)
	}
	if err != nil || !utf8.Valid(whole) {
		out.Base64 = f.GetContent()
		return out
	}
	out.Text = string(whole)
	out.Cut += int64(len(content) - len(whole))
	return out
}
