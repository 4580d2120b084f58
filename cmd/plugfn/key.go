package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newKeyCommand() *cobra.Command {
	cmd := noun("key", "keys", "Rotate the keys that credentials are encrypted with",
		newKeyListCommand(), newKeyRotateCommand(), newKeyReencryptCommand(),
		newKeyChangeCommand("disable", "Take a key out of use that nothing is encrypted under",
			"Disable takes an old key out of use. It is refused while anything is encrypted under the key. Nothing is lost: enable takes it back."),
		newKeyChangeCommand("enable", "Take a disabled key into use again", ""),
		newKeyDestroyCommand())
	cmd.Long = "Keys are changed in a running PlugFn, over its HTTP API: its store belongs to the process that serves it.\n\n" +
		"To have a new key and be rid of the old one: rotate, reencrypt, disable, and after a while destroy."
	return cmd
}

// key is an encryption key as the API shows it.
type key struct {
	ID        uint32    `json:"id"`
	Status    string    `json:"status"`
	Values    int       `json:"values"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
}

func (k key) name() string { return strconv.FormatUint(uint64(k.ID), 10) }

// keyring is all keys, and what stands beside them.
type keyring struct {
	Keys       []key `json:"keys"`
	Unknown    int   `json:"unknown"`
	Unreadable int   `json:"unreadable"`
}

const pathKeys = "/v1/keys"

func (a *apiClient) keys(ctx context.Context) (r keyring, err error) {
	return r, a.do(ctx, http.MethodGet, pathKeys, nil, &r)
}

func (a *apiClient) changeKey(ctx context.Context, id, verb string) error {
	return a.do(ctx, http.MethodPost, pathKeys+"/"+id+"/"+verb, nil, nil)
}

func newKeyListCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the keys, and how much is encrypted under each",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			r, err := api.keys(cmd.Context())
			if err != nil {
				return err
			}
			return showKeys(cmd, p, r)
		}),
	}))
}

func showKeys(cmd *cobra.Command, p *printer, r keyring) error {
	if r.Unreadable > 0 {
		hint(cmd, fmt.Sprintf("%d records are damaged: plugfn connection list shows which connections", r.Unreadable))
	}
	if r.Unknown > 0 {
		hint(cmd, fmt.Sprintf("%d values are encrypted under keys that do not exist (any more)", r.Unknown))
	}
	return list(p, r.Keys, key.name, []column[key]{
		{title: "id", value: key.name},
		{title: "status", value: func(k key) string { return aboutKey(k.Status) }},
		{title: "values", value: func(k key) string { return strconv.Itoa(k.Values) }},
		{title: "created", value: func(k key) string { return k.CreatedAt.Local().Format(time.DateTime) }},
		{title: "changed", wide: true, value: func(k key) string { return k.ChangedAt.Local().Format(time.DateTime) }},
	})
}

func aboutKey(status string) string {
	switch status {
	case "primary":
		return done(status)
	case "staged":
		return waiting(status)
	default:
		return safe(status)
	}
}

func newKeyRotateCommand() *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:   "rotate",
		Short: "Make a new key the one that encrypts",
		Long: "Rotate adds a key and waits until every auth process has it; then they all encrypt with it. The old keys go on " +
			"decrypting what is older. Cut short, it goes on where it was when it is run again.",
		Args: noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			var r keyring
			if err := api.do(cmd.Context(), http.MethodPost, pathKeys+"/rotate", nil, &r); err != nil {
				return err
			}
			hint(cmd, "to have what is stored under the new key as well: plugfn key reencrypt")
			return showKeys(cmd, p, r)
		}),
	}))
}

func newKeyReencryptCommand() *cobra.Command {
	var in reencryption
	cmd := &cobra.Command{
		Use:   "reencrypt",
		Short: "Encrypt everything anew that is under an old key",
		Long: "Reencrypt goes through all that is encrypted while PlugFn runs, and has it under the primary key. It may be " +
			"interrupted and killed at any time: each value says which key it is under, and the next run passes by those that are done.",
		Args: noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			sum, err := in.run(cmd, api)
			if err != nil {
				return err
			}
			return sum.show(cmd, p, api)
		}),
	}
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "change nothing, say how much would be")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

// reencryption asks for the next records to be encrypted anew.
type reencryption struct {
	Cursor string `json:"cursor,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// reencrypted is what was done: by one request, or by all of them.
type reencrypted struct {
	DryRun    bool            `json:"dry_run"`
	Total     int             `json:"total"`
	Examined  int             `json:"examined"`
	Rewritten int             `json:"rewritten"`
	Failures  []recordFailure `json:"failures,omitempty"`

	NextCursor string `json:"next_cursor,omitempty"`
}

type recordFailure struct {
	Record string `json:"record"`
	Reason string `json:"reason"`
}

// run asks until everything was examined, and shows how far it is.
func (in reencryption) run(cmd *cobra.Command, api *apiClient) (sum reencrypted, err error) {
	sum.DryRun = in.DryRun
	for first := true; first || in.Cursor != ""; first = false {
		var one reencrypted
		if err := api.do(cmd.Context(), http.MethodPost, pathKeys+"/reencrypt", in, &one); err != nil {
			return sum, err
		}
		sum.Total = one.Total
		sum.Examined += one.Examined
		sum.Rewritten += one.Rewritten
		sum.Failures = append(sum.Failures, one.Failures...)
		in.Cursor = one.NextCursor
		if in.Cursor != "" {
			hint(cmd, fmt.Sprintf("%d of %d examined, %d rewritten", min(sum.Examined, sum.Total), sum.Total, sum.Rewritten))
		}
	}
	return sum, nil
}

func (r reencrypted) show(cmd *cobra.Command, p *printer, api *apiClient) error {
	for _, f := range r.Failures {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s %s: %s\n", broken("left"), safe(f.Record), safe(f.Reason))
	}
	word := "rewritten"
	if r.DryRun {
		word = "to rewrite"
	}
	err := p.object(r, strconv.Itoa(r.Rewritten), []field{
		{"records", strconv.Itoa(r.Total)}, {word, strconv.Itoa(r.Rewritten)}, {"left", strconv.Itoa(len(r.Failures))},
	})
	if err != nil || r.DryRun {
		return err
	}
	return r.verify(cmd, api)
}

// verify makes sure that nothing is left under an old key.
func (r reencrypted) verify(cmd *cobra.Command, api *apiClient) error {
	ring, err := api.keys(cmd.Context())
	if err != nil {
		return err
	}
	for _, k := range ring.Keys {
		switch {
		case k.Status == "enabled" && k.Values == 0:
			hint(cmd, fmt.Sprintf("nothing is under key %d any more; to take it out of use: plugfn key disable %d", k.ID, k.ID))
		case k.Status != "primary" && k.Values > 0:
			return &failure{
				exit: exitConflict, what: fmt.Sprintf("%d values are still under key %d", k.Values, k.ID),
				fix: "what goes away by itself does so within the hour; then run it again. Delete connections that are damaged",
			}
		}
	}
	return nil
}

func newKeyChangeCommand(verb, short, long string) *cobra.Command {
	return withTarget(settings.HTTP|settings.API, withOutput(&cobra.Command{
		Use:   verb + " <id>",
		Short: short,
		Long:  long,
		Args:  keyID,
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			return api.changeKey(cmd.Context(), args[0], verb)
		}),
	}))
}

// keyID wants one argument that is the id of a key.
func keyID(cmd *cobra.Command, args []string) error {
	if err := exactly("id")(cmd, args); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(args[0], 10, 32); err != nil {
		return usage("plugfn key list", "%s: %q is not the id of a key, which is a number", cmd.CommandPath(), args[0])
	}
	return nil
}

func newKeyDestroyCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:     "destroy <id>",
		Aliases: []string{"rm"},
		Short:   "Remove a disabled key for ever",
		Long: "Destroy removes a key from the keyset. What is encrypted under it, also in a backup of the store, can then be read by " +
			"nobody who has no backup of the key. It is refused unless the key has been disabled for a minute and nothing is encrypted under it.",
		Args: keyID,
		RunE: apiRun(func(cmd *cobra.Command, args []string, _ *printer, api *apiClient) error {
			if err := confirm(cmd, yes, "Destroy key "+args[0]); err != nil {
				return err
			}
			return api.do(cmd.Context(), http.MethodDelete, pathKeys+"/"+args[0], nil, nil)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}
