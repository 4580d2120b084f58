package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/events"
)

func newWebhookForwardCommand() *cobra.Command {
	var o forwardOptions
	cmd := &cobra.Command{
		Use:   "forward",
		Short: "Send events on to an HTTP server, such as the one you are writing",
		Long: "Forward sends each event to --to until it is interrupted: the provider's payload as the body, the attributes as ce-* " +
			"headers, signed by Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature). The secret is made once, kept " +
			"in a file of the data directory, and shown when it is made.\n\n" +
			"Events go one after the other. While nobody listens at --to they wait; what is answered, with whatever status, is not " +
			"sent again.",
		Example: `plugfn webhook forward --to http://localhost:3000/hook
plugfn webhook forward --to http://localhost:3000/hook --provider github --event issues.* --since 1h`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.filter.addSubjectTo(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "URL that events are sent to")
	cmd.Flags().StringVar(&o.filter.since, "since", "", "begin with those that came since, such as 1h [now]")
	cmd.Flags().IntVar(&o.limit, "limit", 0, "end after this many")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "", "file with the secret to sign with, whsec_… [in the data directory]")
	return withTarget(settings.Bus, withOutput(cmd))
}

type forwardOptions struct {
	filter         eventFilter
	to, secretFile string
	limit          int
}

func (o *forwardOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	if err := o.check(cmd); err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	key, err := o.key(cmd, t)
	if err != nil {
		return err
	}
	conn, err := t.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	f := &forwarder{to: o.to, key: key, http: newForwardClient(), wait: func(text string) { hint(cmd, text) }}
	defer f.http.CloseIdleConnections()
	if p.forPeople() {
		hint(cmd, "sending "+o.filter.subject()+" to "+o.to+", ^C ends it")
	}
	err = o.follow(cmd.Context(), conn, f, p)
	if cmd.Context().Err() != nil {
		return nil // to be interrupted is how it ends
	}
	return err
}

func (o *forwardOptions) check(cmd *cobra.Command) error {
	to, err := url.Parse(o.to)
	switch {
	case o.to == "":
		return usage(cmd.CommandPath()+" --to http://localhost:3000/hook", "--to is missing")
	case err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "":
		return usage("", "--to %q: want a URL such as http://localhost:3000/hook", clip(o.to, 80))
	case o.limit < 0:
		return usage("", "--limit %d: must be above zero", o.limit)
	}
	return o.filter.check(time.Now())
}

// key is what events are signed with, the same at each start.
func (o *forwardOptions) key(cmd *cobra.Command, t *target) ([]byte, error) {
	const prefix = "whsec_"
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	dir := firstOf(t.found.SecretsDir, filepath.Join(t.settings.DataDir, "secrets"))
	path := firstOf(o.secretFile, filepath.Join(dir, "forward"))
	secret, created, err := secretfile.KeepText(path, []byte(prefix+base64.StdEncoding.EncodeToString(random)))
	if err != nil {
		return nil, fmt.Errorf("the secret to sign with: %w", err)
	}
	text := string(secret.Reveal())
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, prefix))
	if err != nil || len(key) == 0 {
		return nil, usage("", "%s: want whsec_ and the key in base64", path)
	}
	if created {
		fmt.Fprintf(cmd.ErrOrStderr(), "Your server checks the signature with this secret, kept in %s:\n%s\n", path, text)
	} else {
		hint(cmd, "signed with the secret in "+path)
	}
	return key, nil
}

// newForwardClient follows no redirect: what answers is shown.
func newForwardClient() *http.Client {
	return &http.Client{
		Timeout:       answerTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// follow sends events as they come, until ctx ends or there were enough.
func (o *forwardOptions) follow(ctx context.Context, conn *nats.Conn, f *forwarder, p *printer) error {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{o.filter.subject()}, DeliverPolicy: jetstream.DeliverNewPolicy}
	if !o.filter.from.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.filter.from
	}
	r := eventReader{conn: conn, stream: o.filter.stream(), config: config, limit: o.limit}
	return r.follow(ctx, func(subject string, e *events.Event, problem error) error {
		if problem != nil {
			return printForwarded(p, unsent(subject, e, problem))
		}
		sent, err := f.send(ctx, subject, e)
		if err != nil {
			return err
		}
		return printForwarded(p, sent)
	})
}

func printForwarded(p *printer, sent forwarded) error {
	if !p.forPeople() || p.form == "" && !p.terminal {
		compact := *p
		if compact.form == "" || compact.form == formJSON {
			compact.form = formJSONL // one line each
		}
		return compact.object(sent, sent.ID, nil)
	}
	result := broken(safe(sent.Error))
	switch {
	case sent.Error != "":
	case sent.Status < http.StatusMultipleChoices:
		result = done(fmt.Sprint(sent.Status))
	default:
		result = broken(fmt.Sprint(sent.Status))
	}
	return p.line(feedLine(sent.At.Local().Format("15:04:05.000"), sent.Event, sent.ID, fmt.Sprintf("%s  %d ms", result, sent.Milliseconds)))
}
