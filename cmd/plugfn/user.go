package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/internal/secretfile"
	"github.com/plugfn/plugfn/pkg/events"
)

func newUserCommand() *cobra.Command {
	return noun("user", "users", "Say whose applications may connect to a closed bus",
		newUserAddCommand(), newUserListCommand(), newUserRemoveCommand(), newUserConfigCommand())
}

// busRun is a verb that administers the bus.
func busRun(do func(cmd *cobra.Command, args []string, p *printer, b *bus.Bus) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		p, err := newPrinter(cmd)
		if err != nil {
			return err
		}
		t, err := newTarget(cmd)
		if err != nil {
			return err
		}
		b, err := t.administer(cmd.Context())
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), dialTimeout)
			defer cancel()
			err = errors.Join(err, b.Close(ctx))
		}()
		return do(cmd, args, p, b)
	}
}

// administer opens the closed bus as admin. Whoever calls it closes the bus.
func (t *target) administer(ctx context.Context) (*bus.Bus, error) {
	maxBytes, err := t.askSize(ctx)
	if err != nil {
		return nil, err
	}
	b, err := bus.Open(ctx, bus.Config{
		URL: t.natsURL(), Credentials: t.settings.NATSCreds, NKey: t.natsKey(), Name: "plugfn-cli", MaxBytes: maxBytes,
	})
	if err != nil {
		return nil, &failure{exit: exitUnreachable, what: "the bus does not open", cause: err, fix: startFix}
	}
	return b, nil
}

// askSize makes sure that the bus is there and closed, and returns the size of
// its streams: to open the bus declares them, and must leave them as they are.
func (t *target) askSize(ctx context.Context) (int64, error) {
	conn, err := t.connect()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if !conn.AuthRequired() {
		return 0, &failure{
			exit: exitConflict, what: "the server is open, whoever reaches it may do anything",
			fix: "start it with PLUGFN_NATS_SECURE=true; one outside needs the configuration of: plugfn user config --no-users",
		}
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return 0, &failure{exit: exitUnreachable, what: "PlugFn's streams cannot be seen", cause: err, fix: "start plugfn serve on this server first, and connect with the admin's key"}
	}
	return stream.CachedInfo().Config.MaxBytes, nil
}

func newUserAddCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "add <user>",
		Short: "Make a key with which a user's applications connect",
		Long: "Add makes an nkey with which an application acts and listens for one user and nobody else, or for all of them where " +
			"the user is '*'. The seed is shown this once and kept nowhere else; with --out it goes to a file that only you can read.",
		Example: "plugfn user add u1 --out u1.nk",
		Args:    exactly("user"),
		RunE: busRun(func(cmd *cobra.Command, args []string, p *printer, b *bus.Bus) error {
			if _, err := os.Lstat(out); out != "" && err == nil {
				return usage("name another one, or remove it", "--out %s: the file exists", out)
			}
			c, err := b.AddUser(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if out != "" {
				if err := secretfile.WritePrivate(out, append(c.Seed(), '\n')); err != nil {
					return errors.Join(fmt.Errorf("writing the seed: %w", err), b.RemoveUser(cmd.Context(), c.User, c.Key))
				}
			}
			return showCredential(p, c, out)
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "file for the seed, which is not printed then")
	return withTarget(settings.Bus, withOutput(cmd))
}

// showCredential prints what a NATS client needs. The seed is printed where no
// file has it.
func showCredential(p *printer, c bus.Credential, file string) error {
	v := map[string]string{"user": c.User, "key": c.Key, "inbox_prefix": c.InboxPrefix(), "consumer": events.ApplicationName(c.User)}
	fields := []field{{"user", safe(c.User)}, {"key", c.Key}}
	if file == "" {
		v["seed"] = string(c.Seed())
		fields = append(fields, field{"seed", v["seed"]})
	} else {
		v["seed_file"] = file
	}
	fields = append(fields,
		field{"connect", "--nkey " + firstOf(file, "FILE")},
		field{"", "--inbox-prefix " + c.InboxPrefix()},
		field{"consumer", v["consumer"]})
	return p.object(v, c.Key, fields)
}

func newUserListCommand() *cobra.Command {
	return withTarget(settings.Bus, withOutput(&cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List who has keys",
		Args:    noArgs,
		RunE: busRun(func(cmd *cobra.Command, _ []string, p *printer, b *bus.Bus) error {
			all, err := b.Users(cmd.Context())
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to make one: plugfn user add <user>")
			}
			return list(p, all, func(u bus.User) string { return u.ID }, []column[bus.User]{
				{title: "user", value: func(u bus.User) string { return safe(u.ID) }},
				{title: "keys", value: func(u bus.User) string { return strconv.Itoa(len(u.Keys)) }},
				{title: "consumer", value: func(u bus.User) string { return events.ApplicationName(u.ID) }},
			})
		}),
	}))
}

func newUserRemoveCommand() *cobra.Command {
	var keys []string
	yes := false
	cmd := &cobra.Command{
		Use:     "rm <user>",
		Aliases: []string{"remove", "delete"},
		Short:   "Take a user's keys away and cut their connections",
		Args:    exactly("user"),
		RunE: busRun(func(cmd *cobra.Command, args []string, _ *printer, b *bus.Bus) error {
			what := "Remove all keys of user " + safe(args[0]) + " and the place of his consumers"
			if len(keys) > 0 {
				what = fmt.Sprintf("Remove %d of the keys of user %s", len(keys), safe(args[0]))
			}
			if err := confirm(cmd, yes, what); err != nil {
				return err
			}
			err := b.RemoveUser(cmd.Context(), args[0], keys...)
			if errors.Is(err, bus.ErrNoUser) {
				return &failure{exit: exitNotFound, what: err.Error(), fix: "plugfn user list"}
			}
			return err
		}),
	}
	cmd.Flags().StringSliceVar(&keys, "key", nil, "only this public key; the others and the consumers stay")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return withTarget(settings.Bus, withOutput(cmd))
}

func newUserConfigCommand() *cobra.Command {
	noUsers := false
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the accounts of a NATS server outside",
		Long: "Config prints the part of a NATS server's configuration that lets in the roles and the users. The keys of the roles are in the " +
			"directory that PLUGFN_NATS_NKEY names; those that are missing are made.\n\n" +
			"Where a user is new, reload the server twice: NATS 2.15 opens the border of a new account with the second reload.",
		Example: `plugfn user config --nats-nkey nkeys --no-users > plugfn.conf
plugfn user config --nats-nkey nkeys > plugfn.conf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printServerConfig(cmd, noUsers) },
	}
	cmd.Flags().BoolVar(&noUsers, "no-users", false, "do not ask the bus for its users: for a server that does not run yet")
	return withTarget(settings.Bus, cmd)
}

func printServerConfig(cmd *cobra.Command, noUsers bool) error {
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	dir := t.settings.NATSNKey
	if info, err := os.Stat(dir); dir == "" || err == nil && !info.IsDir() {
		return usage("name the directory of the role keys with --nats-nkey", "the roles need a directory of keys")
	}
	roles, err := bus.RoleKeys(dir)
	if err != nil {
		return err
	}
	var users []bus.User
	if !noUsers {
		if users, err = t.users(cmd.Context()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), bus.ServerConfig(roles, users))
	return err
}

func (t *target) users(ctx context.Context) (users []bus.User, err error) {
	b, err := t.administer(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	return b.Users(ctx)
}
