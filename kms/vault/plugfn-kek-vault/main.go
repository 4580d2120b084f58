// Command plugfn-kek-vault wraps and unwraps PlugFn's keyset with a key of
// Vault's transit engine. PlugFn runs it, see PLUGFN_KEK_COMMAND: what is to be
// wrapped or unwrapped comes on standard input, the result goes to standard
// output.
//
// It finds Vault as Vault's own programs do, by VAULT_ADDR, VAULT_TOKEN and
// VAULT_NAMESPACE; -token-file names a file with the token instead, such as an
// agent keeps.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/plugfn/plugfn/kms/vault"
)

const (
	usage    = "usage: plugfn-kek-vault [-key name] [-mount path] [-token-file path] wrap|unwrap"
	maxInput = 1 << 20 // bytes
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("plugfn-kek-vault", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	key := flags.String("key", "plugfn", "name of the transit key")
	mount := flags.String("mount", "", "path of the transit engine; empty: transit")
	tokenFile := flags.String("token-file", "", "file with the token; empty: VAULT_TOKEN")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return errors.Join(err, errors.New(usage))
	}
	transit, err := vault.New(vault.Config{
		Addr: getenv("VAULT_ADDR"), Namespace: getenv("VAULT_NAMESPACE"), Key: *key, Mount: *mount,
		Token: func() (string, error) { return token(*tokenFile, getenv) },
	})
	if err != nil {
		return err
	}
	do, ok := map[string]func(context.Context, []byte) ([]byte, error){"wrap": transit.Wrap, "unwrap": transit.Unwrap}[flags.Arg(0)]
	if !ok {
		return errors.New(usage)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput))
	defer clear(text)
	if err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	result, err := do(ctx, text)
	if err != nil {
		return err
	}
	defer clear(result)
	_, err = out.Write(result)
	return err
}

func token(file string, getenv func(string) string) (string, error) {
	if file == "" {
		if t := getenv("VAULT_TOKEN"); t != "" {
			return t, nil
		}
		return "", errors.New("set VAULT_TOKEN, or -token-file")
	}
	text, err := os.ReadFile(file)
	return string(bytes.TrimSpace(text)), err
}
