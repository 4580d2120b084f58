package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/providers"
)

// maxBodyFile bounds the body of a delivery that a person gives.
const maxBodyFile = 100 << 20

func newTriggerCommand() *cobra.Command {
	var options triggerOptions
	cmd := &cobra.Command{
		Use:   "trigger <provider> <event>",
		Short: "Send a signed example delivery, as the provider would",
		Long: "Trigger sends an example delivery of the provider's pack to the ingress, with a new delivery id and a fresh " +
			"signature, and shows the events that come of it. The secret is that of PLUGFN_<PROVIDER>_WEBHOOK_SECRET, or of the plugfn dev of this directory; --secret-file names another one. --endpoint sends to that of a single connection.",
		Example: `plugfn trigger github issues.opened
plugfn trigger github issues.opened --count 10
plugfn trigger github issues.opened --endpoint whk_1 --secret-file secret.txt
plugfn trigger slack --list`,
		ValidArgsFunction: completeTrigger,
		Args: func(cmd *cobra.Command, args []string) error {
			if options.list {
				return exactly("provider")(cmd, args)
			}
			return exactly("provider", "event")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runTrigger(cmd, args, options) },
	}
	cmd.Flags().IntVar(&options.count, "count", 1, "how many deliveries to send, one after the other")
	cmd.Flags().BoolVar(&options.list, "list", false, "list the provider's examples instead")
	cmd.Flags().StringVar(&options.file, "file", "", "file with another body, - for standard input")
	cmd.Flags().StringVar(&options.endpoint, "endpoint", "", "id of the endpoint to send to; none: the app's")
	cmd.Flags().StringVar(&options.secretFile, "secret-file", "", "file with the secret to sign with, - for standard input")
	return withTarget(settings.HTTP|settings.API|settings.Bus|settings.Packs, withOutput(cmd))
}

type triggerOptions struct {
	endpoint, secretFile string

	count int
	list  bool
	file  string
}

func runTrigger(cmd *cobra.Command, args []string, options triggerOptions) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	packs, err := t.packs()
	if err != nil {
		return err
	}
	pack, err := packNamed(packs, args[0])
	if err != nil {
		return err
	}
	if pack.Webhooks == nil {
		return &failure{exit: exitNotFound, what: pack.Name + " sends no webhooks"}
	}
	fixtures, err := pack.DeliveryFixtures()
	if err != nil {
		return err
	}
	if options.list {
		return listExamples(p, fixtures)
	}
	if options.count < 1 {
		return usage("", "--count %d: must be at least 1", options.count)
	}
	fixture, ok := exampleOf(fixtures, args[1])
	if !ok {
		return &failure{exit: exitNotFound, what: fmt.Sprintf("%s has no example of %q", pack.Name, args[1]), fix: "plugfn trigger " + pack.Name + " --list"}
	}
	if fixture.Request.Body, err = bodyOf(cmd.InOrStdin(), options.file, fixture.Request.Body); err != nil {
		return err
	}
	s, err := options.sender(cmd, t, pack)
	if err != nil {
		return err
	}
	defer s.close()
	return s.sendAll(cmd.Context(), p, fixture, options.count)
}

// sender makes ready to send to the endpoint, with the secret, of the options.
func (o *triggerOptions) sender(cmd *cobra.Command, t *target, pack *providers.Pack) (*sender, error) {
	path := ""
	if o.endpoint != "" {
		if o.secretFile == "" {
			return nil, usage("", "--secret-file is missing: an endpoint has a secret of its own")
		}
		api, err := t.api()
		if err != nil {
			return nil, err
		}
		e, err := api.endpoint(cmd.Context(), o.endpoint)
		if err != nil {
			return nil, err
		}
		if e.Provider != pack.Name {
			return nil, usage("", "--endpoint %s: is one of %s", o.endpoint, safe(e.Provider))
		}
		path = e.Path
	}
	signer, err := o.signer(cmd, t, pack)
	if err != nil {
		return nil, err
	}
	s, err := newSender(t, pack, signer)
	if err == nil {
		s.path = path
	}
	return s, err
}

// signer signs with the secret of the options, else with that of the target.
func (o *triggerOptions) signer(cmd *cobra.Command, t *target, pack *providers.Pack) (*providers.Signer, error) {
	if o.secretFile == "" {
		return t.signer(pack)
	}
	text, err := readEndpointSecret(cmd, o.secretFile)
	if err != nil {
		return nil, err
	}
	return pack.Webhooks.NewSigner([]providers.Secret{providers.NewSecret([]byte(text))}, providers.Secret{}), nil
}

// exampleOf finds the example of an event: the one that is called like it, else
// the first that makes it.
func exampleOf(fixtures []providers.DeliveryFixture, event string) (providers.DeliveryFixture, bool) {
	for _, match := range []func(providers.DeliveryFixture) bool{
		func(f providers.DeliveryFixture) bool { return f.Name == event },
		func(f providers.DeliveryFixture) bool {
			return slices.ContainsFunc(f.Expect.All(), func(e providers.EventExpect) bool { return e.Event == event })
		},
	} {
		if i := slices.IndexFunc(fixtures, match); i >= 0 {
			return fixtures[i], true
		}
	}
	return providers.DeliveryFixture{}, false
}

func listExamples(p *printer, fixtures []providers.DeliveryFixture) error {
	type example struct {
		Name    string `json:"name"`
		Event   string `json:"event,omitempty"`
		Account string `json:"account,omitempty"`
	}
	var all []example
	for _, f := range fixtures {
		var first providers.EventExpect
		if events := f.Expect.All(); len(events) > 0 {
			first = events[0]
		}
		all = append(all, example{f.Name, first.Event, first.Account})
	}
	return list(p, all, func(e example) string { return e.Name }, []column[example]{
		{title: "name", value: func(e example) string { return e.Name }},
		{title: "event", value: func(e example) string { return firstOf(e.Event, "(handshake)") }},
		{title: "account", value: func(e example) string { return e.Account }},
	})
}

// bodyOf reads the body in a file, "" for the usual one.
func bodyOf(stdin io.Reader, file, usual string) (string, error) {
	if file == "" {
		return usual, nil
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usage("", "--file: %v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxBodyFile))
	if err != nil {
		return "", fmt.Errorf("reading the body: %w", err)
	}
	return string(text), nil
}

// sendAll sends the example count times and prints what came of each. It stops
// at the first that is refused.
func (s *sender) sendAll(ctx context.Context, p *printer, fixture providers.DeliveryFixture, count int) error {
	for range count {
		d, err := fixture.Delivery(time.Now())
		if err != nil {
			return err
		}
		sent, err := s.send(ctx, d, id.New("dlv"))
		if err != nil {
			return err
		}
		if err := s.print(p, sent); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) print(p *printer, sent sentDelivery) error {
	if p.form != "" && p.form != formTable && p.form != formWide {
		compact := *p
		if compact.form == formJSON {
			compact.form = formJSONL // one line each, however many there are
		}
		return compact.object(sent, sent.Delivery, nil)
	}
	head := done(fmt.Sprintf("POST %s  %d in %d ms", sent.Path, sent.Status, sent.Milliseconds))
	if sent.Delivery != "" {
		head += "  " + faint("delivery "+safe(sent.Delivery))
	}
	if err := p.line(head); err != nil {
		return err
	}
	for _, subject := range sent.Events {
		if err := p.line("  event  " + subject); err != nil {
			return err
		}
	}
	if sent.Remark != "" {
		return p.line("  " + waiting(sent.Remark))
	}
	return nil
}

func completeTrigger(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	packs := packsForCompletion(cmd)
	switch len(args) {
	case 0:
		return names(packs), cobra.ShellCompDirectiveNoFileComp
	case 1:
		pack, ok := packs[args[0]]
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fixtures, _ := pack.DeliveryFixtures() // completion has nobody to tell
		var all []string
		for _, f := range fixtures {
			all = append(all, strings.TrimSpace(f.Name))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	default:
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
