package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/polls"
	"github.com/plugfn/plugfn/services/scheduler/schedules"
)

func newScheduleCommand() *cobra.Command {
	return noun("schedule", "schedules", "Have actions and events come at times",
		newScheduleCreateCommand(), newScheduleListCommand(), newScheduleShowCommand(), newScheduleNextCommand(), newScheduleEditCommand(),
		newSchedulePauseCommand(), newScheduleResumeCommand(), newScheduleRunCommand(), newScheduleDeleteCommand())
}

// targetFlags say where ticks go.
type targetFlags struct {
	action, connection, params, event, subject, body, poll, workflow string

	pairs []string
}

func (f *targetFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.action, "action", "", "each tick asks for this action, <provider>.<action>")
	flags.StringVar(&f.poll, "poll", "", "each tick looks for this trigger, <provider>.<event>, and publishes what is new")
	flags.StringArrayVar(&f.pairs, "param", nil, "one parameter of --action or --poll, name=value or name:=json; may be repeated")
	flags.StringVar(&f.params, "params", "", "all parameters of --action or --poll as a JSON object, @file or - for standard input")
	flags.StringVar(&f.connection, "connection", "", "id of the connection of --action or --poll, where the user has several")
	flags.StringVar(&f.event, "event", "", "each tick is an event plugfn.event.<user>.schedule.<name> of this name")
	flags.StringVar(&f.workflow, "workflow", "", "each tick starts a run of the workflow of this name, with --data as its input")
	flags.StringVar(&f.subject, "subject", "", "the same by its subject: plugfn.action.<user>.… or plugfn.event.<user>.schedule.…")
	flags.StringVar(&f.body, "data", "", "what comes with each tick of --event, --workflow or --subject, JSON, @file or - for standard input")
	for name, complete := range map[string]cobra.CompletionFunc{"action": completeAction, "poll": completePolled} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // the flag is there
	}
}

// target is what the flags mean. What is wrong with it the server says.
func (f *targetFlags) target(cmd *cobra.Command) (t schedules.Target, err error) {
	if f.action == "" && f.event == "" && f.subject == "" && f.poll == "" && f.workflow == "" {
		return t, usage("such as --action slack.chat.postMessage --param channel=#a --param text=hi", "say what each tick is for: --action, --event, --workflow, --poll or --subject")
	}
	if f.action == "" && f.poll == "" && (f.params != "" || len(f.pairs) > 0 || f.connection != "") {
		return t, usage("", "--param, --params and --connection go with --action or --poll")
	}
	var data json.RawMessage
	if f.body != "" {
		if data, err = wholeParams(f.body, cmd.InOrStdin()); err != nil {
			return t, err
		}
		if !json.Valid(data) {
			return t, usage("", "--data: is no JSON")
		}
	}
	if f.event != "" {
		t.Event = &schedules.EventTarget{Name: f.event, Data: data}
	}
	if f.workflow != "" {
		t.Workflow = &schedules.WorkflowTarget{Name: f.workflow, Input: data}
	}
	if f.subject != "" {
		t.Subject = &schedules.SubjectTarget{Subject: f.subject, Data: data}
	}
	if f.action != "" {
		if t.Action, err = f.actionTarget(cmd); err != nil {
			return t, err
		}
	}
	if f.poll != "" {
		t.Poll, err = f.pollTarget(cmd)
	}
	return t, err
}

func (f *targetFlags) actionTarget(cmd *cobra.Command) (*schedules.ActionTarget, error) {
	pack, provider, action, err := packOf(cmd, f.action, "--action", "<provider>.<action>", "slack.chat.postMessage")
	if err != nil {
		return nil, err
	}
	var known *providers.Action // the server may know more than we
	if pack != nil {
		known, _ = pack.Action(action)
	}
	params, err := f.readParams(cmd, known)
	return &schedules.ActionTarget{Provider: provider, Action: action, ConnectionID: f.connection, Params: params}, err
}

func (f *targetFlags) pollTarget(cmd *cobra.Command) (*polls.Subscription, error) {
	pack, provider, trigger, err := packOf(cmd, f.poll, "--poll", "<provider>.<event>", "github.notification")
	if err != nil {
		return nil, err
	}
	var lists *providers.Action
	if pack != nil && pack.Triggers[trigger] != nil && pack.Triggers[trigger].Poll != nil {
		lists, _ = pack.Action(pack.Triggers[trigger].Poll.Action)
	}
	params, err := f.readParams(cmd, lists)
	return &polls.Subscription{Provider: provider, Trigger: trigger, ConnectionID: f.connection, Params: params}, err
}

func (f *targetFlags) readParams(cmd *cobra.Command, of *providers.Action) (json.RawMessage, error) {
	params, err := readParams(of, f.params, f.pairs, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	if !json.Valid(params) {
		return nil, usage("", "--params: is no JSON")
	}
	return params, nil
}

// packOf splits what a flag names in a provider. The pack is nil where it is not
// known here.
func packOf(cmd *cobra.Command, text, flag, form, example string) (pack *providers.Pack, provider, name string, err error) {
	provider, name, ok := strings.Cut(text, ".")
	if !ok || provider == "" || name == "" {
		return nil, "", "", usage("such as "+flag+" "+example, "%s %q: must be %s", flag, text, form)
	}
	t, err := newTarget(cmd)
	if err != nil {
		return nil, "", "", err
	}
	packs, err := t.packs()
	return packs[provider], provider, name, err
}

func newScheduleCreateCommand() *cobra.Command {
	var rule ruleFlags
	var goal targetFlags
	user := ""
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a schedule",
		Long: "Create makes a schedule with ticks by --cron, --every or --at. Each tick fires once, however many schedulers there are: it asks " +
			"for an action, with an id that follows from its time, is an event, or looks for what a provider does not push (--poll).\n\n" +
			"A time of --cron that a change of the clocks leaves out fires at the first moment after it, and one that comes twice fires once; " +
			"where the hour is *, the hours that really pass count.",
		Example: `plugfn schedule create --user demo --cron "0 9 * * MON-FRI" --zone Europe/Berlin --action slack.chat.postMessage --param channel=#demo --param text=hi
plugfn schedule create --user demo --every 15m --jitter 1m --event sync
plugfn schedule create --user demo --at 10m --event reminder --data '{"text":"tea"}'
plugfn schedule create --user demo --every 1m --poll github.notification`,
		Args: noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if user == "" {
				return usage("", "--user is missing: it says whose schedule it is")
			}
			change, err := rule.change(cmd, time.Now())
			if err != nil {
				return err
			}
			in := newSchedule{UserID: user}
			change.Apply(&in.Plan)
			if in.Target, err = goal.target(cmd); err != nil {
				return err
			}
			made, err := api.createSchedule(cmd.Context(), in)
			if err != nil {
				return err
			}
			return showSchedule(p, made)
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "whose schedule it is")
	rule.add(cmd)
	goal.add(cmd)
	return withTarget(settings.HTTP|settings.API|settings.Packs, withOutput(cmd))
}

func newScheduleEditCommand() *cobra.Command {
	var rule ruleFlags
	cmd := scheduleVerb(&cobra.Command{
		Use:   "edit",
		Short: "Change when a schedule has its ticks, or its name",
		Long: "Edit changes what create was told about the times. What is not given stays as it is; one of --cron, --every and --at takes the place " +
			"of the others. The schedule begins anew: what it has missed is not made up for.",
		Example: `plugfn schedule edit sch_1 --cron "30 8 * * *"
plugfn schedule edit sch_1 --name digest --misfire skip`,
	}, func(cmd *cobra.Command, api *apiClient, id string) (schedules.View, error) {
		change, err := rule.change(cmd, time.Now())
		if err != nil {
			return schedules.View{}, err
		}
		if change == (schedules.Amendment{}) {
			return schedules.View{}, usage("plugfn schedule edit --help", "say what to change")
		}
		return api.editSchedule(cmd.Context(), id, change)
	})
	rule.add(cmd)
	return cmd
}

func newScheduleListCommand() *cobra.Command {
	var user, state string
	limit := 0
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List schedules",
		Args:    noArgs,
		RunE: apiRun(func(cmd *cobra.Command, _ []string, p *printer, api *apiClient) error {
			if limit < 1 {
				return usage("", "--limit %d: must be at least 1", limit)
			}
			query := url.Values{}
			for name, value := range map[string]string{"user_id": user, "state": state} {
				if value != "" {
					query.Set(name, value)
				}
			}
			all, more, err := api.schedules(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				hint(cmd, "there are none; to make one: plugfn schedule create --help")
			}
			if more {
				hint(cmd, fmt.Sprintf("there are more than %d: raise --limit", limit))
			}
			return list(p, all, func(s schedules.View) string { return s.ID }, scheduleColumns())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "only this user's")
	flags.StringVar(&state, "state", "", "only with this state: active, paused, done")
	flags.IntVar(&limit, "limit", 200, "how many at most")
	return withTarget(settings.HTTP|settings.API, withOutput(cmd))
}

func scheduleColumns() []column[schedules.View] {
	return []column[schedules.View]{
		{title: "id", value: func(s schedules.View) string { return s.ID }},
		{title: "user", value: func(s schedules.View) string { return safe(s.UserID) }},
		{title: "name", value: func(s schedules.View) string { return safe(s.Name) }},
		{title: "when", value: ruleText},
		{title: "target", value: targetText},
		{title: "state", value: scheduleState},
		{title: "next", value: func(s schedules.View) string { return localTime(s.NextAt, time.DateTime) }},
		{title: "fired", value: func(s schedules.View) string { return strconv.FormatUint(s.Counts.Fired, 10) }},
		{title: "missed", wide: true, value: func(s schedules.View) string { return strconv.FormatUint(s.Counts.Missed, 10) }},
		{title: "skipped", wide: true, value: func(s schedules.View) string { return strconv.FormatUint(s.Counts.Skipped, 10) }},
	}
}

func ruleText(s schedules.View) string {
	switch {
	case s.Cron != "":
		return safe(strings.TrimSpace(s.Cron + " " + s.Zone))
	case s.Every != "":
		return "every " + safe(s.Every)
	default:
		return "at " + localTime(s.At, time.DateTime)
	}
}

func targetText(s schedules.View) string {
	switch t := s.Target; {
	case t.Action != nil:
		return safe(t.Action.Provider + "." + t.Action.Action)
	case t.Event != nil:
		return "event " + safe(t.Event.Name)
	case t.Poll != nil:
		return "poll " + safe(t.Poll.Provider+"."+t.Poll.Trigger)
	case t.Workflow != nil:
		return "workflow " + safe(t.Workflow.Name)
	default:
		return ""
	}
}

func scheduleState(s schedules.View) string {
	switch s.State {
	case schedules.Active:
		return done(string(s.State))
	case schedules.Paused:
		return waiting(string(s.State))
	default:
		return faint(safe(string(s.State)))
	}
}

func showSchedule(p *printer, s schedules.View) error {
	fields := []field{
		{"id", s.ID},
		{"user", safe(s.UserID)},
		{"name", safe(s.Name)},
		{"when", ruleText(s)},
		{"start", localTime(s.Start, time.RFC3339)},
		{"end", localTime(s.End, time.RFC3339)},
		{"jitter", safe(s.Jitter)},
		{"target", targetText(s)},
		{"misfire", string(s.Misfire)},
		{"overlap", string(s.Overlap)},
		{"state", scheduleState(s)},
		{"next", localTime(s.NextAt, time.RFC3339)},
	}
	if s.Last != nil {
		fields = append(fields, field{"last", localTime(s.Last.FiredAt, time.RFC3339) + "  " + safe(s.Last.ID)})
		if s.Last.Missed > 0 {
			fields = append(fields, field{"stood for", fmt.Sprintf("%d that were missed", s.Last.Missed)})
		}
	}
	fields = append(fields, lookFields(s.Look)...)
	counts := fmt.Sprintf("%d fired, %d missed, %d skipped", s.Counts.Fired, s.Counts.Missed, s.Counts.Skipped)
	if s.Waiting > 0 {
		counts += fmt.Sprintf(", %d waiting", s.Waiting)
	}
	return p.object(s, s.ID, append(fields, field{"ticks", counts}, field{"created", localTime(s.CreatedAt, time.RFC3339)}))
}

func lookFields(l *polls.Look) []field {
	if l == nil {
		return nil
	}
	found := fmt.Sprintf("%d in the list, %d events so far", l.Items, l.Events)
	if l.Gap {
		found += ", " + "the list was longer than what is read at once"
	}
	fields := []field{{"looked", localTime(l.At, time.RFC3339)}, {"found", found}}
	if l.Error != "" {
		fields = append(fields, field{"error", safe(l.Error)})
	}
	return fields
}
