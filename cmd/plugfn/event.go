package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/events"
)

func newEventCommand() *cobra.Command {
	return noun("event", "events", "Look at events, and publish them again",
		newEventListCommand(), newEventShowCommand(), newEventTailCommand(), newEventReplayCommand(), newEventRerouteCommand())
}

func newEventTailCommand() *cobra.Command {
	var options tailOptions
	cmd := &cobra.Command{
		Use:   "tail [<provider>.<event>]",
		Short: "Show events as they come, or those that are kept",
		Long: "Tail shows events until it is interrupted. The pattern may have NATS wildcards: github.issues.* or github.>; without one " +
			"all events are shown. On a terminal each event is a line, otherwise (and with -o json) a CloudEvent in JSON.",
		Example: `plugfn event tail
plugfn event tail github.issues.* --since 1h
plugfn event tail --user demo --all --limit 1 -o json | jq .data`,
		Args:              atMostOne,
		ValidArgsFunction: completeProviders,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				options.pattern = args[0]
			}
			return options.run(cmd)
		},
	}
	cmd.Flags().StringVar(&options.user, "user", "", "only this user's events")
	cmd.Flags().DurationVar(&options.since, "since", 0, "begin this long ago, such as 1h")
	cmd.Flags().BoolVar(&options.all, "all", false, "begin with the oldest that is kept")
	cmd.Flags().IntVar(&options.limit, "limit", 0, "end after this many")
	return withTarget(settings.Bus, withOutput(cmd))
}

type tailOptions struct {
	pattern, user string

	since time.Duration
	all   bool
	limit int
}

func (o *tailOptions) run(cmd *cobra.Command) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	config, err := o.consumer(time.Now())
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	conn, err := t.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if p.terminal && (p.form == "" || p.form == formTable) {
		hint(cmd, "listening to "+config.FilterSubjects[0]+", ^C ends it")
	}
	err = o.tail(cmd, conn, config, p)
	if cmd.Context().Err() != nil {
		return nil // to be interrupted is how it ends
	}
	return err
}

// consumer says which events are read.
func (o *tailOptions) consumer(now time.Time) (jetstream.OrderedConsumerConfig, error) {
	subject, err := o.subject()
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy}
	switch {
	case o.limit < 0:
		return config, usage("", "--limit %d: must be above zero", o.limit)
	case o.all && o.since != 0:
		return config, usage("", "--all and --since: give one of them")
	case o.all:
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	case o.since < 0:
		return config, usage("", "--since %s: must be above zero", o.since)
	case o.since > 0:
		from := now.Add(-o.since)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	return config, err
}

// subject is what the pattern and the user mean.
func (o *tailOptions) subject() (string, error) {
	user := "*"
	if o.user != "" {
		user = events.Token(o.user)
	}
	pattern := firstOf(o.pattern, ">")
	if strings.HasPrefix(pattern, events.PrefixEvent) {
		if o.user != "" {
			return "", usage("", "%q: already names the user, leave --user out", pattern)
		}
		return pattern, checkPattern(pattern)
	}
	if !strings.ContainsAny(pattern, ".>") {
		pattern += ".>" // all events of a provider
	}
	return events.PrefixEvent + user + "." + pattern, checkPattern(pattern)
}

func checkPattern(pattern string) error {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		if token == "" || strings.ContainsAny(token, " \t\r\n") || token == ">" && i < len(tokens)-1 {
			return usage("such as github.issues.* or github.>", "%q: is no pattern", pattern)
		}
	}
	return nil
}

// tail prints events until ctx ends or there were enough.
func (o *tailOptions) tail(cmd *cobra.Command, conn *nats.Conn, config jetstream.OrderedConsumerConfig, p *printer) error {
	r := eventReader{conn: conn, stream: events.StreamEvents, config: config, limit: o.limit}
	return r.follow(cmd.Context(), func(subject string, e *events.Event, problem error) error {
		if problem != nil && e.ID == "" {
			return p.line(broken(fmt.Sprintf("%s: %v", safe(subject), problem)))
		}
		if problem != nil {
			hint(cmd, safe(problem.Error()))
		}
		return printEvent(p, e)
	})
}

// printEvent prints one event.
func printEvent(p *printer, e *events.Event) error {
	switch {
	case p.form == formName:
		return p.line(safe(e.ID))
	case p.form == formJSON || p.form == formJSONL || p.form == "" && !p.terminal:
		return p.json(cloudEvent(e), "")
	case p.form == formYAML:
		if err := p.line("---"); err != nil {
			return err
		}
		return p.yaml(cloudEvent(e))
	default:
		return p.line(feedLine(e.Time.Local().Format("15:04:05.000"), e.Provider+"."+e.EventName, e.ID, receivedBy(e)))
	}
}
