package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/providers"
)

func newWebhookVerifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check a raw HTTP request as the ingress would, without a server",
		Long: "Verify reads a request as tools write it (request line, header, empty line, body), checks it with the secret as the " +
			"ingress does, and says what the event would be, or which check failed. It exits with 1 when the request is refused.\n\n" +
			"A signed time is compared with --at: a request that was good when it came is refused as too old later on. When only " +
			"the time is off, that is said.\n\n" +
			"Nothing is fetched: where the signer publishes its key, give that in a file.",
		Example: `plugfn webhook verify --provider github --secret-file secret.txt -f request.http
plugfn webhook verify --provider slack --secret-file secret.txt --at 2026-02-01T09:00:00Z -f - < request.http
plugfn webhook verify --provider aws-sns --secret-file topic.txt --cert-file SimpleNotificationService.pem -f request.http
plugfn webhook verify --provider google-pubsub --secret-file account.txt --secret audience=audience.txt --jwks-file certs.json -f request.http`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file with the request, - for standard input")
	cmd.Flags().StringVar(&o.provider, "provider", "", "whose delivery it is")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "", "file with what it is signed with")
	cmd.Flags().StringArrayVar(&o.secrets, "secret", nil, "file with a secret of another kind, as KIND=FILE; several while a new one takes over")
	cmd.Flags().StringVar(&o.certFile, "cert-file", "", "file with the signer's certificate in PEM, where the request says where that is")
	cmd.Flags().StringVar(&o.jwksFile, "jwks-file", "", "file with the issuer's keys, a JSON Web Key Set, where it is signed with one")
	cmd.Flags().StringVar(&o.registered, "url", "", "URL that the provider has, where its signature covers it")
	cmd.Flags().BoolVar(&o.pending, "pending", false, "check as an endpoint does that the provider has not confirmed")
	cmd.Flags().StringVar(&o.at, "at", "", "check as of this time, such as 2026-02-01T09:00:00Z [now]")
	_ = cmd.RegisterFlagCompletionFunc("provider", completeProviders) // the flag is there
	return withTarget(settings.Packs, withOutput(cmd))
}

type verifyOptions struct {
	file, provider, secretFile, certFile, jwksFile, registered, at string

	secrets []string // KIND=FILE
	pending bool
}

func (o *verifyOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	pack, err := o.pack(cmd)
	if err != nil {
		return err
	}
	check, err := o.check(pack, cmd.InOrStdin())
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

// pack is that of the provider.
func (o *verifyOptions) pack(cmd *cobra.Command) (*providers.Pack, error) {
	for flag, value := range map[string]string{"--file": o.file, "--provider": o.provider} {
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
	pack, err := packNamed(packs, o.provider)
	if err == nil && pack.Webhooks == nil {
		err = &failure{exit: exitNotFound, what: pack.Name + " sends no webhooks"}
	}
	return pack, err
}

// check reads all that the command line names.
func (o *verifyOptions) check(pack *providers.Pack, stdin io.Reader) (*deliveryCheck, error) {
	c := &deliveryCheck{pack: pack, at: time.Now(), registered: o.registered, pending: o.pending}
	var err error
	if c.secrets, err = o.readSecrets(pack.Webhooks); err != nil {
		return nil, err
	}
	if c.keys, err = readKeyFiles(o.certFile, o.jwksFile); err != nil {
		return nil, err
	}
	if o.at != "" {
		if c.at, err = time.Parse(time.RFC3339, o.at); err != nil {
			return nil, usage("", "--at %q: want a time such as 2026-02-01T09:00:00Z", o.at)
		}
	}
	if o.registered != "" {
		if u, err := url.Parse(o.registered); err != nil || u.Host == "" {
			return nil, usage("", "--url %q: want a whole URL such as https://example.com/webhooks/%s", o.registered, pack.Name)
		}
	}
	c.request, err = readRawRequest(stdin, o.file)
	return c, err
}

// readSecrets reads what the request may be signed with, as an endpoint has it.
func (o *verifyOptions) readSecrets(w *providers.Webhooks) ([]providers.Secret, error) {
	kinds := w.SecretKinds()
	var all []providers.Secret
	if o.secretFile != "" {
		secret, err := secretfile.Read(o.secretFile)
		if err != nil {
			return nil, usage("", "--secret-file: %v", err)
		}
		all = append(all, secret)
	}
	for _, text := range o.secrets {
		kind, file, _ := strings.Cut(text, "=")
		at := slices.IndexFunc(kinds, func(k providers.SecretKind) bool { return k.Name == kind })
		if at < 0 || file == "" {
			return nil, usage("", "--secret %s: want KIND=FILE, with a kind of %s", clip(text, 80), kindNames(kinds))
		}
		secret, err := secretfile.Read(file)
		if err != nil {
			return nil, usage("", "--secret %s: %v", kind, err)
		}
		if at > 0 {
			secret = providers.NewSecret(append([]byte(kind+":"), secret.Reveal()...))
		}
		all = append(all, secret)
	}
	if len(all) == 0 && w.NeedsSecret() {
		return nil, usage("", "--secret-file is missing: what is it signed with? Also as --secret KIND=FILE, with a kind of %s", kindNames(kinds))
	}
	return all, nil
}

func kindNames(kinds []providers.SecretKind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return strings.Join(names, ", ")
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
