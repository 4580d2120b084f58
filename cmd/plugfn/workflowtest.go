package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/rehearsal"
	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/workflow"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

func newWorkflowTestCommand() *cobra.Command {
	var o rehearsalOptions
	cmd := &cobra.Command{
		Use:   "test <file> [other file]...",
		Short: "Try a workflow out, without a server",
		Long: "Test has a run of the first file go on to its end in this process, with a sandbox that plays the providers, and prints what each step " +
			"asked for and what came. Delays take no time. The other files are workflows that it may call.\n\n" +
			"The event that starts it is the example of the provider's pack, or --payload. What it waits for comes with --event, which may be " +
			"repeated; a wait that none of them matches ends when its time is over.",
		Example: `plugfn workflow test issue-to-slack.yaml
plugfn workflow test approval.yaml --input '{"owner":"o","repo":"r","title":"t","channel":"C1"}' --event slack.reaction_added=@reaction.json
plugfn workflow test digest.yaml --expect failed -o json`,
		Args: atLeastOne("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
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
			return o.run(cmd, p, packs, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.payload, "payload", "", "payload of the event that starts it, JSON, @file or - for standard input")
	flags.StringVar(&o.input, "input", "", "input of the run, a JSON object, @file or - for standard input")
	flags.StringArrayVar(&o.events, "event", nil, "an event that comes meanwhile, <provider>.<event>=<payload> or =@file; without a payload the example of the pack")
	flags.StringVar(&o.user, "user", "demo", "whose run it is")
	flags.StringVar(&o.expect, "expect", string(machine.Completed), "how the run has to end: completed, filtered, failed or canceled")
	return withTarget(settings.Packs, withOutput(cmd))
}

type rehearsalOptions struct {
	payload, input, user, expect string

	events []string
}

func (o *rehearsalOptions) run(cmd *cobra.Command, p *printer, packs map[string]*providers.Pack, files []string) error {
	cfg := rehearsal.Config{Packs: packs, User: o.user, Now: time.Now().UTC(), Others: map[string]*workflow.Program{}}
	for i, path := range files {
		text, file, err := readDefinition(path, cmd.InOrStdin())
		if err != nil {
			return err
		}
		program, err := compileFile(packs, text, file)
		if err != nil {
			return err
		}
		if i == 0 {
			cfg.Program = program
		}
		cfg.Others[program.Definition.Name] = program
	}
	if err := o.begin(cmd, &cfg); err != nil {
		return err
	}
	for _, text := range o.events {
		e, err := readEvent(packs, text, cmd.InOrStdin())
		if err != nil {
			return err
		}
		cfg.Events = append(cfg.Events, e)
	}
	box, err := sandbox.New(sandbox.Config{Packs: packs, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	cfg.Provider = box.Handler()
	r, err := rehearsal.Run(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	if err := showRehearsal(p, r); err != nil {
		return err
	}
	return o.judge(r)
}

// begin sets what the run begins with.
func (o *rehearsalOptions) begin(cmd *cobra.Command, cfg *rehearsal.Config) error {
	if o.input != "" {
		input, err := wholeParams(o.input, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if !json.Valid(input) {
			return usage("", "--input: is no JSON")
		}
		cfg.Input = input
	}
	var payload json.RawMessage
	if o.payload != "" {
		text, err := wholeParams(o.payload, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if !json.Valid(text) {
			return usage("", "--payload: is no JSON")
		}
		payload = text
	}
	event, err := startOf(cfg, payload)
	cfg.Event = event
	return err
}

// startOf is what starts the run: the payload that was given, or an example.
func startOf(cfg *rehearsal.Config, payload json.RawMessage) (json.RawMessage, error) {
	switch t := cfg.Program.Definition.Trigger; {
	case t.Event != nil && payload != nil:
		e, err := rehearsal.Make(t.Event.Provider, strings.TrimSuffix(t.Event.Event[0], ".*"), payload)
		return e.Seen, err
	case t.Event != nil:
		e, ok, err := rehearsal.Example(cfg.Packs[t.Event.Provider], t.Event.Event)
		if err == nil && !ok {
			err = usage("give one with --payload", "%s has no example of %s", t.Event.Provider, strings.Join(t.Event.Event, ", "))
		}
		return e.Seen, err
	case t.Schedule != nil:
		return encode(map[string]string{"time": cfg.Now.Format(time.RFC3339Nano)})
	case t.Run != nil && payload == nil:
		state := t.Run.State[0]
		return encode(map[string]any{"data": map[string]any{
			"run": "run_example", "workflow": t.Run.Workflow, "state": state, "output": nil,
			"error": map[string]string{"step": "example", "code": "provider_rejected", "message": "an example"},
		}})
	case t.Run != nil:
		return encode(map[string]any{"data": payload})
	case payload != nil:
		return nil, usage("give it an input with --input", "--payload: the workflow is not started by an event")
	default:
		return nil, nil
	}
}

// readEvent reads <provider>.<event> with what may follow.
func readEvent(packs map[string]*providers.Pack, text string, stdin io.Reader) (rehearsal.Event, error) {
	name, payload, given := strings.Cut(text, "=")
	provider, event, ok := strings.Cut(name, ".")
	pack := packs[provider]
	if !ok || pack == nil {
		return rehearsal.Event{}, usage("such as --event slack.reaction_added=@reaction.json", "--event %s: must begin with <provider>.<event>", safe(name))
	}
	if given {
		data, err := wholeParams(payload, stdin)
		if err != nil {
			return rehearsal.Event{}, err
		}
		if !json.Valid(data) {
			return rehearsal.Event{}, usage("", "--event %s: the payload is no JSON", safe(name))
		}
		return rehearsal.Make(provider, event, data)
	}
	e, ok, err := rehearsal.Example(pack, workflow.Names{event})
	if err == nil && !ok {
		err = usage("give its payload with --event "+name+"=@file", "%s has no example of %s", provider, safe(event))
	}
	return e, err
}

// judge is an error where the run has not ended as expected.
func (o *rehearsalOptions) judge(r *rehearsal.Report) error {
	ended := string(r.Status)
	if r.Reason == "filtered" {
		ended = r.Reason
	}
	if ended == o.expect || o.expect == string(r.Status) {
		return nil
	}
	f := &failure{exit: exitFailure, what: fmt.Sprintf("the run ended as %s, expected was %s", ended, o.expect)}
	if r.Error != nil {
		f.what += fmt.Sprintf(": step %s: %s: %s", r.Error.Step, r.Error.Code, r.Error.Message)
	}
	return f
}

func showRehearsal(p *printer, r *rehearsal.Report) error {
	if !p.forPeople() {
		return p.object(r, r.Workflow, nil)
	}
	for _, s := range r.Steps {
		if err := p.line(fmt.Sprintf("%-9s %s  %s", s.After, stepStatus(s.Status), safe(s.Step)) + faint("  "+string(s.Kind))); err != nil {
			return err
		}
		for _, part := range []field{{"input", clipped(s.Input)}, {"output", clipped(s.Output)}, {"error", failureText(s.Error)}} {
			if part.value == "" {
				continue
			}
			if err := p.line("          " + faint(part.name) + " " + part.value); err != nil {
				return err
			}
		}
	}
	fields := []field{{"ended", strings.TrimSpace(stepStatus(r.Status) + " " + r.Reason)}, {"after", r.Took}, {"output", clipped(r.Output)}, {"error", failureText(r.Error)}}
	return p.fields(fields)
}

func stepStatus(s machine.Status) string {
	switch s {
	case machine.Completed:
		return done(string(s))
	case machine.Failed:
		return broken(string(s))
	case machine.Waiting, machine.Running:
		return waiting(string(s))
	default:
		return faint("- " + string(s))
	}
}

func failureText(f *machine.Failure) string {
	if f == nil {
		return ""
	}
	return safe(f.Code + ": " + f.Message)
}

// clipped is a value for a person: not all of a long one.
func clipped(data json.RawMessage) string {
	const most = 300
	text := []rune(safe(string(data)))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
