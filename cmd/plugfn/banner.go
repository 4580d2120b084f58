package main

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
)

// banner says what runs where, and what to do next.
func (d *dev) banner() {
	bold := lipgloss.NewStyle().Bold(true)
	w := func(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }
	w("\n  %s · dev server · everything in one process · data in %s", bold.Render("PlugFn "+version), d.settings.DataDir)
	w("  %s\n", waiting("Development defaults. For production: plugfn serve, docs/configuration.md"))
	var rows [][]string
	for _, part := range d.parts() {
		rows = append(rows, []string{"  " + done(part[0]), part[1], faint(part[2])})
	}
	w("%s", align(rows))
	w("  Ready in %s. In a second terminal:\n", bold.Render(fmt.Sprintf("%d ms", time.Since(d.started).Milliseconds())))
	w("%s\n    %s\n%s\n%s\n", tip("plugfn trigger github issues.opened", "send a signed example delivery"), d.firstAction(),
		tip("plugfn connect github --user u1", "connect an account in the browser"), tip(d.natsCommand(), "any NATS client can listen"))
	w("%s", faint(strings.TrimRight(feedLine("TIME", "NAME", "ID", "RESULT"), " ")))
}

func tip(command, what string) string { return fmt.Sprintf("    %-38s  %s", command, faint(what)) }

// firstAction is the command that runs an action, or what is needed before.
func (d *dev) firstAction() string {
	if len(d.sandboxed()) == 0 {
		return "plugfn app set github --client-id ID"
	}
	return "plugfn action run slack.chat.postMessage --user " + demoUser + " --param channel='#demo' --param text=hi"
}

// parts are the lines about what runs: name, where, remark.
func (d *dev) parts() [][3]string {
	parts := [][3]string{
		{"nats", d.natsURL(), d.aboutBus()},
		{"ingress", d.URL() + "/webhooks/<provider>", "webhook secrets in " + d.SecretsDir()},
		{"executor", fmt.Sprintf("%d providers, %d actions", len(d.Packs()), d.actions()), "plugfn provider list"},
		{"auth", d.URL() + "/v1/connections", d.aboutKeys()},
		{"scheduler", "workflows, schedules, delayed requests", "kept and fired by NATS"},
	}
	if len(d.sandboxed()) > 0 {
		parts = append(parts, [3]string{"sandbox", someOf(d.sandboxed(), 6), "no accounts needed (--no-sandbox to switch off)"})
	}
	return parts
}

// someOf lists the first few of names.
func someOf(names []string, few int) string {
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few-1], ", "), len(names)-few+1)
}

func (d *dev) actions() (n int) {
	for _, pack := range d.Packs() {
		n += len(pack.Actions)
	}
	return n
}

func (d *dev) aboutBus() string {
	where := "outside"
	if d.Bus().Embedded() {
		where = "embedded"
	}
	return fmt.Sprintf("%s %s, durability %s; %s", where, d.Bus().ServerVersion(), d.Bus().Durability(), d.Bus().Access())
}

func (d *dev) aboutKeys() string {
	if d.settings.APIKey.IsZero() {
		return "API key in " + d.APIKeyFile()
	}
	return "API key from " + d.settings.Origin("api_key")
}

func (d *dev) natsCommand() string {
	const usual = "nats://127.0.0.1:4222"
	command := "nats"
	if u := d.natsURL(); u != usual {
		command += " --server " + u
	}
	if d.settings.NATSSecure {
		command += " --nkey " + d.adminKey()
	}
	return command + " sub 'plugfn.event.>'"
}
