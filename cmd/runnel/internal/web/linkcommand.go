package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/signin"
)

// checkURL refuses what a browser can't be led to; empty is none.
func checkURL(text string) error {
	if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || !strings.HasPrefix(u.Scheme, "http")) {
		return fmt.Errorf("cannot use --url %s: it is as https://fleet.example", text)
	}
	return nil
}

// newLinkCommand is `runnel gateway link`.
func newLinkCommand(a *app.App) *cobra.Command {
	var (
		flags     Flags
		scopes    []string
		sub, data string
		leads     string
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Make a link that signs in a browser, once",
		Long: `Make a link that signs in a browser, once

Any gateway of the fleet takes it, within ten minutes. Whoever opens it is signed
in with the scopes asked for, so treat it as a password.`,
		Example: `  runnel gateway link
  runnel gateway link --scope read,jobs --sub alice --url https://fleet.example`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dataDir(data)
			if err != nil {
				return err
			}
			ask := LinkRequest{Sub: sub, URL: leads}
			if ask.Secret, err = flags.Secret(dir); err != nil {
				return err
			}
			if ask.Scopes, err = scopesOf("scope", scopes); err != nil {
				return err
			}
			if err := checkURL(leads); err != nil {
				return err
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				js, err := s.Target.JetStream(s.Nc)
				if err != nil {
					return err
				}
				link, err := NewLink(ctx, js, s.Space(), ask)
				if err != nil {
					return err
				}
				return printLink(a, link, asJSON)
			})
		},
	}
	cmd.Flags().StringSliceVar(&scopes, "scope", []string{string(auth.ScopeAdmin)}, "what it allows: `SCOPES` of read, jobs, code, run, admin")
	cmd.Flags().StringVar(&sub, "sub", app.UserName(), "the user that it signs in: `NAME`")
	cmd.Flags().StringVar(&leads, "url", "", "where the link leads: the `URL` of a gateway (default: of one that is\nonline)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one JSON object")
	cmd.Flags().StringVar(&data, "data", "", "`DIRECTORY` of the secret's file (default ~/.local/share/runnel)")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "scope", "sub", "url", "json", "data")
	flags.Add(cmd)
	cli.BindEnvAll(cmd)
	cli.CompleteValues(cmd, "scope", "read", "jobs", "code", "run", "admin")
	return cmd
}

func printLink(a *app.App, link string, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(a.Out, link)
		return err
	}
	return json.NewEncoder(a.Out).Encode(map[string]any{"url": link, "until": time.Now().Add(signin.CodeLife).UTC().Truncate(time.Second)})
}
