package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
)

func newWebhookVerifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check a raw HTTP request as the ingress would, without a server",
		Long: "Verify reads a request as tools write it (request line, header, empty line, body), checks it with the secret as the " +
			"ingress does, and says what the event would be, or which check failed. It exits with 1 when the request is refused.\n\n" +
			"A signed time is compared with --at: a request that was good when it came is refused as too old later on. When only " +
			"the time is off, that is said.",
		Example: `plugfn webhook verify --provider github --secret-file secret.txt -f request.http
plugfn webhook verify --provider slack --secret-file secret.txt --at 2026-02-01T09:00:00Z -f - < request.http`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file with the request, - for standard input")
	cmd.Flags().StringVar(&o.provider, "provider", "", "whose delivery it is")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "", "file with what it is signed with")
	cmd.Flags().StringVar(&o.registered, "url", "", "URL that the provider has, where its signature covers it")
	cmd.Flags().StringVar(&o.at, "at", "", "check as of this time, such as 2026-02-01T09:00:00Z [now]")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Packs, withOutput(cmd))
}

type verifyOptions struct {
	file, provider, secretFile, registered, at string
}

func (o *verifyOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	check, err := o.check(cmd)
	if err != nil {
		return err
	}
	v := check.verify()
	if err := p.object(v, v.Result, v.fields()); err != nil {
		return err
	}
	if !v.Verified {
		return v.failure()
	}
	return nil
}

// check reads all that the command line names.
func (o *verifyOptions) check(cmd *cobra.Command) (*deliveryCheck, error) {
	for flag, value := range map[string]string{"--file": o.file, "--provider": o.provider, "--secret-file": o.secretFile} {
		if value == "" {
			return nil, usage(cmd.CommandPath()+" --help", "%s is missing", flag)
		}
	}
	t, err := newTarget(cmd)
	if err != nil {
		return nil, err
	}
	packs, err := t.packs()
	if err != nil {
		return nil, err
	}
	c := &deliveryCheck{at: time.Now()}
	if c.pack, err = packNamed(packs, o.provider); err != nil {
		return nil, err
	}
	if c.pack.Webhooks == nil {
		return nil, &failure{exit: exitNotFound, what: c.pack.Name + " sends no webhooks"}
	}
	if c.secret, err = readSecret(o.secretFile); err != nil {
		return nil, usage("", "--secret-file: %v", err)
	}
	if o.at != "" {
		if c.at, err = time.Parse(time.RFC3339, o.at); err != nil {
			return nil, usage("", "--at %q: want a time such as 2026-02-01T09:00:00Z", o.at)
		}
	}
	if o.registered != "" {
		if c.registered, err = url.Parse(o.registered); err != nil || c.registered.Host == "" {
			return nil, usage("", "--url %q: want a whole URL such as https://example.com/webhooks/%s", o.registered, c.pack.Name)
		}
	}
	c.request, err = readRawRequest(cmd.InOrStdin(), o.file)
	return c, err
}

func readRawRequest(stdin io.Reader, file string) (*rawRequest, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("", "--file: %v", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxBodyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	r, err := parseRawRequest(data)
	if err != nil {
		return nil, usage("", "--file %s: %v", file, err)
	}
	return r, nil
}
