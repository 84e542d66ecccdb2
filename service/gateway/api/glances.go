package api

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

type procsIn struct {
	Named
	Top  int64  `query:"top" minimum:"0" doc:"so many at most, by sort; 0: all, in pages"`
	Sort string `query:"sort" enum:"cpu,memory,pid" doc:"default: pid"`
	Next string `query:"next" doc:"from the reply before"`
}

type dirIn struct {
	Named
	Path  string `query:"path" required:"true" doc:"an absolute path"`
	Limit int64  `query:"limit" minimum:"0" doc:"entries a page; default: 1000"`
	Next  string `query:"next" doc:"from the reply before"`
}

type fileIn struct {
	Named
	Path    string `query:"path" required:"true" doc:"an absolute path"`
	MaxSize int64  `query:"maxSize" minimum:"0" default:"524288" doc:"bytes at most: of the file, or with offset or length of the piece"`
	Offset  int64  `query:"offset" doc:"where to start, in bytes; negative: from the end"`
	Length  int64  `query:"length" minimum:"0" doc:"bytes at most; default: to the end"`
}

type hostsIn struct {
	Where string `query:"where" doc:"a selector over the cards"`
	Pool  string `query:"pool" doc:"runners of this pool"`
}

// FanLists compare the answers with the cards.
type FanLists struct {
	OK         []string          `json:"ok"`
	Failed     map[string]string `json:"failed" doc:"why, by runner"`
	Skipped    []string          `json:"skipped" doc:"online, and left out by the selector"`
	Missing    []string          `json:"missing" doc:"online by their cards, and without an answer"`
	Unexpected []string          `json:"unexpected" doc:"answered, though no card of theirs matches"`
}

func listsOf(l client.FanLists) FanLists {
	out := FanLists{OK: orEmpty(l.OK), Failed: map[string]string{}, Skipped: orEmpty(l.Skipped), Missing: orEmpty(l.Missing), Unexpected: orEmpty(l.Unexpected)}
	for _, name := range l.Failed {
		out.Failed[name] = "failed"
		if err := l.Errors[name]; err != nil {
			out.Failed[name] = wordsOf(err)
		}
	}
	return out
}

// orEmpty is never null in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type hosts struct {
	FanLists
	Hosts map[string]message[*pb.SysReply] `json:"hosts" doc:"by runner"`
}

// describeGlances: a system's numbers are for all who may read. Processes, whose
// command lines may tell secrets, and files are for those who could run a command.
func (s *server) describeGlances(d *desk) {
	add(d, row{"glance-sys-all", "GET", "/api/v1/glance/sys", auth.ScopeRead, "The system of every runner that is meant", 0}, s.glanceAll)
	const base = "/api/v1/runners/{name}/glance/"
	add(d, row{"glance-sys", "GET", base + "sys", auth.ScopeRead, "A runner's system: CPU, memory, storage", 0},
		func(ctx context.Context, in *Named) (*answer[message[*pb.SysReply]], error) {
			no := false
			r, err := s.glance(ctx, in.Name, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &no}})
			return &answer[message[*pb.SysReply]]{message[*pb.SysReply]{r.GetSys()}}, err
		})
	add(d, row{"glance-procs", "GET", base + "procs", auth.ScopeRun, "A runner's processes", 0},
		func(ctx context.Context, in *procsIn) (*answer[message[*pb.SysReply]], error) {
			yes := true
			r, err := s.glance(ctx, in.Name, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &yes, Top: in.Top, Sort: in.Sort, Next: in.Next}})
			return &answer[message[*pb.SysReply]]{message[*pb.SysReply]{r.GetSys()}}, err
		})
	add(d, row{"glance-dir", "GET", base + "dir", auth.ScopeRun, "A directory on a runner's host", 0},
		func(ctx context.Context, in *dirIn) (*answer[message[*pb.DirReply]], error) {
			r, err := s.glance(ctx, in.Name, &pb.Glance{Dir: &pb.DirQuery{Path: in.Path, Limit: in.Limit, Next: in.Next}})
			return &answer[message[*pb.DirReply]]{message[*pb.DirReply]{r.GetDir()}}, err
		})
	add(d, row{"glance-file", "GET", base + "file", auth.ScopeRun, "A text file on a runner's host, or a piece of it", 0},
		func(ctx context.Context, in *fileIn) (*answer[message[*pb.FileReply]], error) {
			q := &pb.FileQuery{Path: in.Path, MaxSize: in.MaxSize}
			if in.Offset != 0 || in.Length != 0 {
				q.Offset = &in.Offset
			}
			if in.Length != 0 {
				q.Length = &in.Length
			}
			r, err := s.glance(ctx, in.Name, &pb.Glance{File: q})
			return &answer[message[*pb.FileReply]]{message[*pb.FileReply]{r.GetFile()}}, err
		})
}

// glance asks one runner, which must be known.
func (s *server) glance(ctx context.Context, name string, g *pb.Glance) (*pb.GlanceReply, error) {
	r, err := s.Client.Glance(ctx, client.Target{On: name}, g)
	if err != nil && client.Code(err) == 0 {
		if _, unknown := s.runner(ctx, name); unknown != nil {
			return r, unknown
		}
	}
	return r, err
}

func (s *server) glanceAll(ctx context.Context, in *hostsIn) (*answer[hosts], error) {
	t := client.Target{Pool: in.Pool, Where: in.Where, All: true}
	if err := checkTarget(t); err != nil {
		return nil, err
	}
	no := false
	result, err := s.Client.GlanceAll(ctx, t, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &no}}, client.FanOptions{})
	if err != nil {
		return nil, err
	}
	out := hosts{listsOf(result.FanLists), map[string]message[*pb.SysReply]{}}
	for name, r := range result.Replies() {
		out.Hosts[name] = message[*pb.SysReply]{r.GetSys()}
	}
	return &answer[hosts]{out}, nil
}
