package settings

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Help returns the text of `plugfn help environment`.
func Help() string {
	var b strings.Builder
	b.WriteString("A value comes from, strongest first: a flag, one of these variables, the file\nnamed by PLUGFN_CONFIG, the default.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VARIABLE\tDEFAULT\tMEANING")
	for _, v := range Table() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, v.Default, v.Help)
	}
	fmt.Fprintln(w, "\t\t")
	fmt.Fprintln(w, "FOR EACH PROVIDER\t\t")
	for _, v := range ProviderTable() {
		fmt.Fprintf(w, "%s\t\t%s\n", ProviderName("<provider>", v), v.Help)
	}
	_ = w.Flush() // into memory
	b.WriteString("\n<PROVIDER> is the pack's name in upper case with _ for -.\n" +
		"With _FILE behind its name, a secret or a provider's variable names a file that\nholds the value.\n")
	return trimLines(b.String())
}

// trimLines removes what the alignment left at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// Markdown returns docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownHead)
	b.WriteString("| variable | key in the file | flag | default | for | meaning |\n|---|---|---|---|---|---|\n")
	for _, v := range Table() {
		name := "`" + v.Name + "`"
		if v.Secret {
			name += " (secret)"
		}
		row(&b, name, code(v.Key), v.flagCell(), code(v.Default), v.Scope.String(), v.Help)
	}
	b.WriteString(markdownProviders)
	b.WriteString("| variable | key under `providers.<provider>` | meaning |\n|---|---|---|\n")
	for _, v := range ProviderTable() {
		name := "`" + ProviderName("<provider>", v) + "`"
		if v.Secret {
			name += " (secret)"
		}
		row(&b, name, code(v.Key), v.Help)
	}
	b.WriteString(markdownFile)
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func (v Variable) flagCell() string {
	if v.Flag == "" {
		return ""
	}
	return code("--" + v.Flag)
}

// String tells the commands that run PlugFn from those that use it.
func (s Scope) String() string {
	switch {
	case s&^(Health|Streams) == Server:
		return "server"
	case s&Server == 0:
		return "client"
	default:
		return "both"
	}
}

const markdownHead = `# Configuration

<!-- Made from the table in cmd/plugfn/settings. To change it, change the table and run: go test ./cmd/plugfn/settings -update -->

A value comes from, strongest first:

1. a flag,
2. an environment variable; an empty one counts as not set,
3. the YAML file that ` + "`--config` or `PLUGFN_CONFIG`" + ` names,
4. the default.

A value that is not allowed and an unknown key of the file stop the program, with a message that names them. An unknown ` + "`PLUGFN_*`" + ` variable is only warned of. A secret never shows in a message, and no flag takes one: it comes from its variable, or from a file that the same variable with ` + "`_FILE`" + ` behind its name points at (in the configuration file: the key with ` + "`_file`" + `). Line breaks at the end of such a file do not count.

"Server" settings are for ` + "`plugfn serve` and `plugfn dev`" + `, "client" settings for the commands that talk to a running PlugFn. ` + "`plugfn help environment`" + ` prints the same table, ` + "`plugfn config show --effective`" + ` what holds and where it comes from. [configuration.schema.json](configuration.schema.json) is for editors: put ` + "`# yaml-language-server: $schema=`" + ` and its address on the first line of the file.

## Settings

`

const markdownProviders = `
## For each provider

` + "`<PROVIDER>`" + ` is the pack's name in upper case, with ` + "`_` for `-`: `PLUGFN_GITHUB_WEBHOOK_SECRET`" + `. Each of these may be given as a file, too.

`

const markdownFile = `
## The file

` + "```yaml" + `
data_dir: /var/lib/plugfn
http:
  addr: 0.0.0.0:8484
nats:
  url: nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222
  creds: /run/secrets/plugfn.creds
durability: ha
api_key_file: /run/secrets/plugfn_api_key
providers:
  github:
    webhook_secret_file: /run/secrets/github_webhook_secret
  slack:
    webhook_secret: [the-new-one, the-old-one]
` + "```" + `
`
