package glance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/mounts"
)

// HelperMain makes a program the helper of its Glancers: called first in main, it
// returns at once, unless the program was started as one.
func HelperMain() { helper.Main(Serve) }

// asideRequest is what a helper is told: one part of a glance and who asks.
type asideRequest struct {
	Files            *files.Config // nil: none are opened
	HideCommandLines bool
	Room             int // bytes for this part
	Query            []byte
}

// aside has one part of a glance looked at by a helper that works on m.
func (g *Glancer) aside(ctx context.Context, m mounts.Mount, room int, q *pb.Glance) (*pb.GlanceReply, error) {
	query, err := proto.Marshal(q)
	if err != nil {
		return nil, err
	}
	request := asideRequest{HideCommandLines: g.cfg.HideCommandLines, Room: room, Query: query}
	if g.cfg.Files != nil {
		cfg := g.cfg.Files.Config()
		request.Files = &cfg
	}
	b, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	answer, err := g.cfg.Helpers.Do(ctx, m, b)
	if err != nil {
		return nil, err
	}
	reply := &pb.GlanceReply{}
	if err := proto.Unmarshal(answer, reply); err != nil {
		return nil, fmt.Errorf("the helper's answer is not well-formed: %w", err)
	}
	if reply.Code != nil {
		return reply, &codedError{int(reply.GetCode()), reply.GetError()}
	}
	return reply, nil
}

// codedError is an error that a helper has put into words.
type codedError struct {
	code int
	text string
}

func (e *codedError) Error() string { return e.text }
func (e *codedError) Code() int     { return e.code }

// served is the helper's Glancer for one configuration: it remembers accounts.
var served struct {
	sync.Mutex
	config  []byte
	glancer *Glancer
}

// Serve answers a request of aside, in the helper.
func Serve(request []byte) []byte {
	reply := &pb.GlanceReply{}
	if err := serve(request, reply); err != nil {
		reply.Error, reply.Code = plain(err), proto.Int32(int32(codeOf(err)))
	}
	answer, err := proto.Marshal(reply)
	if err != nil {
		return nil // which is an empty reply: never, as all strings are valid
	}
	return answer
}

func serve(request []byte, reply *pb.GlanceReply) error {
	var r asideRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return err
	}
	var q pb.Glance
	if err := proto.Unmarshal(r.Query, &q); err != nil {
		return err
	}
	g, err := glancerFor(&r)
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch {
	case q.File != nil:
		reply.File = &pb.FileReply{}
		return g.file(ctx, q.File, r.Room, reply.File)
	case q.Dir != nil:
		reply.Dir = &pb.DirReply{}
		_, err := g.dir(ctx, q.Dir, r.Room, reply.Dir)
		return err
	}
	at, err := firstPlace(q.Sys)
	if err != nil {
		return err
	}
	reply.Sys = &pb.SysReply{Stats: &pb.Stats{}}
	missing, err := g.processesHere(ctx, at, r.Room, reply.Sys)
	reply.Sys.Error = strings.Join(missing, "; ")
	return err
}

func glancerFor(r *asideRequest) (*Glancer, error) {
	config, err := json.Marshal([]any{r.Files, r.HideCommandLines})
	if err != nil {
		return nil, err
	}
	served.Lock()
	defer served.Unlock()
	if served.glancer == nil || !bytes.Equal(served.config, config) {
		g := &Glancer{cfg: Config{HideCommandLines: r.HideCommandLines}, proc: "/proc"}
		if r.Files != nil {
			g.cfg.Files = files.New(*r.Files)
		}
		served.config, served.glancer = config, g
	}
	return served.glancer, nil
}

// mayHang says on which mount a path is, if a look at it may hang.
func (g *Glancer) mayHang(path string) (mounts.Mount, bool) {
	if g.cfg.Helpers == nil {
		return mounts.Mount{}, false
	}
	m, real, err := mounts.Resolve(path)
	if err != nil {
		return m, false // what is wrong with the path is said when it is opened
	}
	return m, m.MayHang() || m.Type == "proc" && isOfOther(strings.TrimPrefix(real, m.Point))
}

// isOfOther says whether a file of /proc is about another process than this one:
// to read it may wait for that process's memory.
func isOfOther(below string) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(below, "/"), "/")
	n, err := strconv.Atoi(pid)
	return err == nil && n != os.Getpid()
}

// pathIn is the path of a query; its bytes come before its text.
func pathIn(path string, raw []byte) string { return cmp.Or(string(raw), path) }

var errNoFiles = errors.New("this runner opens no files")

func (g *Glancer) openDir(path string) (*os.File, error) {
	if g.cfg.Files == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNoFiles}
	}
	return g.cfg.Files.OpenDir(path)
}

func (g *Glancer) openFile(path string) (*os.File, error) {
	if g.cfg.Files == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNoFiles}
	}
	return g.cfg.Files.OpenFile(path)
}
