package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/stdio"
)

// A Need is what a caller must be allowed to use a tool.
type Need string

// The needs, in the words of the gateway's scopes.
const (
	NeedRead Need = "read" // look at hosts, runs, jobs and logs
	NeedJobs Need = "jobs" // start and cancel jobs of defined pipelines
	NeedCode Need = "code" // run source code, isolated
	NeedRun  Need = "run"  // anything on a host: commands, aborts, files
)

// Config of a Server. Client is required.
type Config struct {
	Client *client.Client
	// Version of the program, for the client's log.
	Version string
	// ReadOnly leaves only the tools that change nothing.
	ReadOnly bool
	// May, if set, says in words why the caller of a request may not do something.
	May func(context.Context, Need) error
	// User, if set, tells who the caller of a request is. It is kept with the runs
	// and jobs that the caller starts.
	User func(context.Context) string
	// Logger gets a line for everything that was started or ended. Default: none.
	Logger *slog.Logger
}

// Server has the tools. Serve and Handler serve them.
type Server struct {
	cfg    Config
	client *client.Client
	log    *slog.Logger
	sdk    *sdk.Server
	tools  map[string]tool
}

// tool is one row of the table.
type tool struct {
	name, title, about string
	need               Need
	changes            bool // something; it is not there when the server is read-only
	destroys           bool // may, that is
}

const instructions = `Runnel runs commands on a fleet of hosts. list_hosts says which there are. ` +
	`run starts a command on one host or many, waits a while and returns its output; what goes on longer comes with a cursor, for follow. ` +
	`Output is bounded: where something is cut, the result says how to read the rest with get_log.`

// New makes a server.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, client: cfg.Client, log: cfg.Logger, tools: map[string]tool{}}
	s.sdk = sdk.NewServer(&sdk.Implementation{Name: "runnel", Title: "Runnel", Version: cfg.Version}, &sdk.ServerOptions{
		Instructions: instructions,
		Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}},
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
	})
	s.addRuns()
	s.addRecords()
	s.addHosts()
	s.addPipelines()
	s.addQueue()
	s.addSchedules()
	s.sdk.AddReceivingMiddleware(s.listOnlyUsable)
	return s
}

// Serve answers on a pair of streams, a message a line, until in ends or ctx does.
// A line that is no message is answered with an error and harms no other.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(living(ctx))
	defer cancel()
	err := s.sdk.Run(living(ctx), stdio.Transport(in, out, cancel))
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, sdk.ErrConnectionClosed) {
		return nil
	}
	return err
}

// refuse says why a caller can't use a tool.
func (s *Server) refuse(ctx context.Context, t tool) error {
	if t.changes && s.cfg.ReadOnly {
		return fmt.Errorf("%s is not allowed: this server is read-only", t.name)
	}
	return s.may(ctx, t.need)
}

func (s *Server) may(ctx context.Context, need Need) error {
	if s.cfg.May == nil {
		return nil
	}
	return s.cfg.May(ctx, need)
}

func (s *Server) user(ctx context.Context) string {
	if s.cfg.User == nil {
		return ""
	}
	return s.cfg.User(ctx)
}

// listOnlyUsable leaves out of the list what the caller can't use. Whoever calls
// such a tool all the same is told why not.
func (s *Server) listOnlyUsable(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		res, err := next(ctx, method, req)
		if list, ok := res.(*sdk.ListToolsResult); ok && err == nil {
			list.Tools = slices.DeleteFunc(slices.Clone(list.Tools), func(t *sdk.Tool) bool { return s.refuse(ctx, s.tools[t.Name]) != nil })
		}
		return res, err
	}
}

// call is one call of a tool.
type call struct {
	*progress
	server *Server
}

// add puts a tool in the table. Its schemas are those of In and Out.
func add[In, Out any](s *Server, t tool, do func(context.Context, *call, In) (Out, error)) {
	s.tools[t.name] = t
	closed := false
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: t.name, Title: t.title, Description: t.about,
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: !t.changes, DestructiveHint: &t.destroys, OpenWorldHint: &closed},
	}, func(ctx context.Context, req *sdk.CallToolRequest, in In) (_ *sdk.CallToolResult, out Out, err error) {
		if err := s.refuse(ctx, t); err != nil {
			return nil, out, err
		}
		// A call can't stop the process.
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("a tool has panicked", "tool", t.name, "panic", p)
				err = errors.New("internal error: the server's log says more")
			}
		}()
		ctx, done := withLife(ctx)
		defer done()
		if t.changes {
			s.log.Info("an agent calls a tool", "tool", t.name, "sub", s.user(ctx))
		}
		out, err = do(ctx, &call{newProgress(req), s}, in)
		return nil, out, inArguments(err)
	})
}
