// Package glance looks at this machine: a directory, a file, the system.
//
// A Glancer answers one pb.Glance, whose parts are independent: one that fails
// has its error in its own part and the others are there all the same. It only
// reads; it starts no process, sends no packet and leaves no file open.
//
// Config.Files decides what it may open; if that error has a Code, as a refusal has,
// it is kept.
//
// What may hang, because it is on a dead server's mount or in the memory of
// another process, is done by a helper (package helper), which is given up after
// a few seconds. main calls HelperMain for that.
//
// Replies fit in Config.MaxReplyBytes as JSON, which is the larger of the two
// forms. A list is cut into pages: it ends where the next entry would not fit,
// and "next" holds the last one's key, so that a page needs no state here and
// what comes and goes meanwhile moves nothing. Memory is bounded by a page, not
// by the directory or the process table. A file doesn't fit or it does: the
// caller asks for pieces.
//
// The busy part of the CPU needs two looks. A Glancer looks once a second by
// itself, in its only goroutine, so that the answer tells of the last second
// and not of the time since somebody asked; Close ends it. Runners of one
// process can share a Glancer.
//
// Linux is read from /proc directly, because a process list has to cost no more
// than reading it; other systems are read by gopsutil.
package glance

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance/facts"
	"github.com/runnel-io/runnel/service/helper"
)

// DefaultMaxReplyBytes is the payload limit of a NATS server that is told
// nothing else.
const DefaultMaxReplyBytes = 1 << 20

// Codes of errors on the wire.
const (
	codeBadRequest = 400
	codeTooLarge   = 413
)

// Config of a Glancer. All but Files have defaults.
type Config struct {
	// Files opens directories and files. Nil refuses all.
	Files *files.Files
	// Helpers do what may hang. Nil: it is done here, and then it hangs.
	Helpers *helper.Pool
	// HideCommandLines leaves them empty in the list of processes.
	HideCommandLines bool
	// Runner is the name in the replies.
	Runner string
	// MaxReplyBytes of a reply with its headers; 0: DefaultMaxReplyBytes.
	MaxReplyBytes int
	// Logger; nil: none.
	Logger *slog.Logger

	noCommandLines bool // not even read
}

// Glancer looks at this machine. Any number of goroutines may ask it at once.
type Glancer struct {
	cfg      Config
	accounts accounts
	sampler  *facts.Sampler
	proc     string // "/proc"
}

// New returns a Glancer, which samples the CPU until Close.
func New(cfg Config) *Glancer {
	if cfg.MaxReplyBytes <= 0 {
		cfg.MaxReplyBytes = DefaultMaxReplyBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Glancer{cfg: cfg, sampler: facts.NewSampler(), proc: "/proc"}
}

// Close ends the sampling and waits for it.
func (g *Glancer) Close() { g.sampler.Close() }

// Error says that nothing of what was asked for could be had.
type Error struct {
	// Code is HTTP-like: 403 for a refusal, 413 for what doesn't fit a reply,
	// else 400.
	Code int
	text string
}

func (e *Error) Error() string { return e.text }

// Glance answers q. The reply is there in any case, with an error in each part
// that failed; the error is an *Error, and only when all parts failed that were
// asked for.
func (g *Glancer) Glance(ctx context.Context, q *pb.Glance) (*pb.GlanceReply, error) {
	reply := &pb.GlanceReply{Runner: g.cfg.Runner}
	room := newRoom(g.cfg.MaxReplyBytes, q)
	var failed []error
	asked := 0
	part := func(err error, text *string) {
		asked++
		if err == nil {
			return
		}
		*text = plain(err)
		failed = append(failed, err)
		g.cfg.Logger.Debug("a part of a glance failed", "error", *text)
	}
	if f := q.GetFile(); f != nil {
		reply.File = &pb.FileReply{}
		part(g.file(ctx, f, room.forFile(), reply.File), &reply.File.Error)
		room.take(len(reply.File.Content))
	}
	if d := q.GetDir(); d != nil {
		reply.Dir = &pb.DirReply{}
		used, err := g.dir(ctx, d, room.forDir(), reply.Dir)
		part(err, &reply.Dir.Error)
		room.take(used)
	}
	if s := q.GetSys(); s.GetEnable() {
		reply.Sys = &pb.SysReply{}
		part(g.sys(ctx, s, room.left, reply.Sys), &reply.Sys.Error)
	}
	var texts []string
	for _, err := range failed {
		texts = append(texts, plain(err))
	}
	reply.Error = strings.Join(texts, "; ")
	if len(failed) == 0 || len(failed) < asked {
		return reply, nil
	}
	return reply, &Error{Code: commonCode(failed), text: reply.Error}
}

// commonCode is the code of all errors, or the general one.
func commonCode(errs []error) int {
	code := codeOf(errs[0])
	for _, err := range errs {
		if codeOf(err) != code {
			return codeBadRequest
		}
	}
	return code
}

func codeOf(err error) int {
	if coded, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok {
		return coded.Code()
	}
	return codeBadRequest
}

// tooLarge is a 413.
type tooLarge struct{ text string }

func (e *tooLarge) Error() string { return e.text }
func (e *tooLarge) Code() int     { return codeTooLarge }

const maxErrorBytes = 400

// plain makes an error one short line of valid UTF-8: it may name a path that
// is none of these.
func plain(err error) string {
	s := err.Error()
	if len(s) > maxErrorBytes {
		s = s[:maxErrorBytes] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
