package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

// refreshTrouble is why a credential could not be renewed when that was tried
// last.
type refreshTrouble struct {
	Class       string    `json:"class"`
	Code        string    `json:"code"`
	At          time.Time `json:"at"`
	NextAttempt time.Time `json:"next_attempt"`
	Interrupted bool      `json:"interrupted"`
}

// text says it in a line; "" for no trouble.
func (r *refreshTrouble) text() string {
	if r == nil {
		return ""
	}
	text := "failed " + r.At.Local().Format(time.RFC3339) + ": " + safe(r.Class)
	if r.Code != "" {
		text += " " + safe(r.Code)
	}
	if r.Interrupted {
		text += ", after an attempt that was cut off"
	}
	if !r.NextAttempt.IsZero() {
		text += "; again " + r.NextAttempt.Local().Format(time.RFC3339)
	}
	return waiting(text)
}

// auditEntry is one thing that was done with a connection.
type auditEntry struct {
	What   string    `json:"what"`
	Actor  string    `json:"actor"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail"`
}

// maxShown is how many entries of the audit are shown with a connection.
const maxShown = 10

// showAudit lists what was done with a connection last.
func showAudit(cmd *cobra.Command, p *printer, api *apiClient, id string) error {
	var answer struct {
		Entries []auditEntry `json:"entries"`
	}
	if err := api.do(cmd.Context(), http.MethodGet, "/v1/connections/"+url.PathEscape(id)+"/audit", nil, &answer); err != nil {
		return err
	}
	if err := p.line(""); err != nil {
		return err
	}
	return table(p, answer.Entries[:min(len(answer.Entries), maxShown)], []column[auditEntry]{
		{title: "at", value: func(e auditEntry) string { return e.At.Local().Format(time.DateTime) }},
		{title: "what", value: func(e auditEntry) string { return safe(e.What) }},
		{title: "by", value: func(e auditEntry) string { return safe(e.Actor) }},
		{title: "detail", value: func(e auditEntry) string { return safe(e.Detail) }},
	})
}

func newConnectionEditCommand() *cobra.Command {
	var name string
	var isDefault bool
	cmd := &cobra.Command{
		Use:   "edit <id>",
		Short: "Rename a connection, or make it the default",
		Long: "Edit renames a connection, or makes it the one that is meant where a request names none and the user has several " +
			"to the provider. There is one default: the latest.",
		Example: `plugfn connection edit con_1 --name work
plugfn connection edit con_1 --default=false`,
		Args: exactly("id"),
	}
	cmd.RunE = apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
		changes := map[string]any{}
		if cmd.Flags().Changed("name") {
			changes["name"] = name
		}
		if cmd.Flags().Changed("default") {
			changes["default"] = isDefault
		}
		if len(changes) == 0 {
			return usage("", "say what to change: --name or --default")
		}
		var c connection
		if err := api.do(cmd.Context(), http.MethodPatch, "/v1/connections/"+url.PathEscape(args[0]), changes, &c); err != nil {
			return err
		}
		return showConnection(p, c)
	})
	cmd.Flags().StringVar(&name, "name", "", "the user's own word for it")
	cmd.Flags().BoolVar(&isDefault, "default", false, "whether it is the default")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func newConnectionRefreshCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:   "refresh <id>",
		Short: "Get a newer credential now",
		Long:  "Refresh gets a newer credential from the provider, whether that is due or not. PlugFn does it by itself in time.",
		Args:  exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			var c connection
			if err := api.act(cmd.Context(), args[0], "refresh", &c); err != nil {
				return err
			}
			return showConnection(p, c)
		}),
	}))
}

// testOutcome is what trying a credential came to.
type testOutcome struct {
	Tested bool   `json:"tested"`
	Works  bool   `json:"works"`
	Status string `json:"status"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

func newConnectionTestCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:   "test <id>",
		Short: "Ask the provider whether the credential is good",
		Args:  exactly("id"),
		RunE: apiRun(func(cmd *cobra.Command, args []string, p *printer, api *apiClient) error {
			var found testOutcome
			if err := api.act(cmd.Context(), args[0], "test", &found); err != nil {
				return err
			}
			credential, why := waiting("not known"), "the provider's pack has nothing harmless to ask for"
			switch {
			case found.Works:
				credential, why = done("works"), ""
			case found.Error != nil:
				credential, why = broken("refused"), safe(found.Error.Message)
			}
			return p.object(found, args[0], []field{{"credential", credential}, {"status", safe(found.Status)}, {"why", why}})
		}),
	}))
}

// act has something done with a connection.
func (a *apiClient) act(ctx context.Context, id, what string, out any) error {
	return a.do(ctx, http.MethodPost, "/v1/connections/"+url.PathEscape(id)+"/"+what, nil, out)
}
