package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/store"
)

// runner is what is known of one.
type runner struct {
	Name   string            `json:"name"`
	Online bool              `json:"online" doc:"its card is younger than 30 s, and does not say that it has stopped"`
	Seen   time.Time         `json:"seen" doc:"when its card was stored, by the NATS server's clock"`
	Age    float64           `json:"age" doc:"seconds from then to now, by the same clock"`
	Card   message[*pb.Card] `json:"card"`
}

func runnerOf(r client.Runner) runner {
	return runner{r.Card.GetName(), r.Online, r.LastSeen.UTC(), r.Age.Seconds(), message[*pb.Card]{r.Card}}
}

type runnersIn struct {
	Where string `query:"where" doc:"a selector over the cards, such as labels.env == \"prod\" && cpus > 8"`
	Pool  string `query:"pool" doc:"runners of this pool"`
	Text  string `query:"text" doc:"in a name, host, label, pool, version or system"`
}

type runners struct {
	Runners []runner `json:"runners"`
}

// Named is a runner in a path.
type Named struct {
	Name string `path:"name" doc:"the runner's name"`
}

func (s *server) describeRunners(d *desk) {
	add(d, row{"list-runners", "GET", "/api/v1/runners", auth.ScopeRead, "Every known runner, online or not", 0}, s.listRunners)
	add(d, row{"show-runner", "GET", "/api/v1/runners/{name}", auth.ScopeRead, "One runner", 0},
		func(ctx context.Context, in *Named) (*answer[runner], error) {
			r, err := s.runner(ctx, in.Name)
			if err != nil {
				return nil, err
			}
			return &answer[runner]{runnerOf(r)}, nil
		})
	add(d, row{"forget-runner", "DELETE", "/api/v1/runners/{name}", auth.ScopeAdmin, "Remove the card of a runner that is gone for good", http.StatusNoContent},
		func(ctx context.Context, in *Named) (*struct{}, error) {
			err := s.Client.Forget(ctx, in.Name)
			if err == nil {
				s.Log.Info("a runner was forgotten over HTTP", "runner", in.Name, "sub", auth.CallerOf(ctx).Sub)
			}
			return nil, err
		})
}

// runner finds one by name.
func (s *server) runner(ctx context.Context, name string) (client.Runner, error) {
	all, err := s.Client.Runners(ctx)
	if err != nil {
		return client.Runner{}, err
	}
	for _, r := range all {
		if r.Card.GetName() == name {
			return r, nil
		}
	}
	return client.Runner{}, problem(http.StatusNotFound, "unknown runner %s", name)
}

func (s *server) listRunners(ctx context.Context, in *runnersIn) (*answer[runners], error) {
	where, err := compile(in.Where)
	if err != nil {
		return nil, err
	}
	all, err := s.Client.Runners(ctx)
	if err != nil {
		return nil, err
	}
	out := runners{Runners: []runner{}}
	for _, r := range all {
		if in.Pool != "" && !slices.Contains(r.Card.GetPools(), in.Pool) || !cardHas(r.Card, in.Text) {
			continue
		}
		if where != nil {
			if ok, err := where.Match(r.Card); err != nil {
				return nil, problem(http.StatusBadRequest, "where: %s", err)
			} else if !ok {
				continue
			}
		}
		out.Runners = append(out.Runners, runnerOf(r))
	}
	return &answer[runners]{out}, nil
}

// compile reads a selector; nil is every runner's.
func compile(text string) (*store.Where, error) {
	if text == "" {
		return nil, nil
	}
	where, err := store.CompileWhere(text)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "where: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return where, nil
}

func cardHas(c *pb.Card, text string) bool {
	texts := slices.Concat([]string{c.GetName(), c.GetHost(), c.GetVersion(), c.GetOs(), c.GetOsName(), c.GetArch(), c.GetState()}, c.GetPools(), c.GetLanguages())
	for k, v := range c.GetLabels() {
		texts = append(texts, k+"="+v)
	}
	return anyHas(texts, text)
}

// anyHas says whether a text is in one of several, whatever the case of letters.
func anyHas(texts []string, text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), text) })
}
