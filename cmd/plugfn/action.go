package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/cmd/plugfn/settings"
	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	usualWait = time.Minute     // for a result, when no time-out is given
	extraWait = 3 * time.Second // beyond a time-out, for the result that says so
	storeWait = 5 * time.Second // for the bus to store a request
)

func newActionCommand() *cobra.Command {
	return noun("action", "actions", "Run actions and look at their results", newActionRunCommand(), newActionBatchCommand(),
		newActionListCommand(), newActionShowCommand(), newActionResultCommand(), newActionCancelCommand(), newActionResolveCommand())
}

func newActionRunCommand() *cobra.Command {
	var options actionOptions
	cmd := &cobra.Command{
		Use:   "run <provider>.<action>",
		Short: "Run an action and show its result",
		Long: "Run asks for one execution of an action and waits for its result. The value of --param name=value becomes what the " +
			"action's schema says, a text or JSON; --param name:=value is always JSON. Where the parameter is a file, --param name=@path " +
			"stores one for the user and sends it; a result that is a file is fetched with --save.",
		Example: `plugfn action run slack.chat.postMessage --user demo --param channel=#demo --param text=hi
plugfn action run github.issues.create --user demo --params @issue.json
plugfn action run github.issues.create --user demo --params @issue.json --not-before 10m --wait=false
plugfn action run gitlab.projects.uploadFile --user demo --param project=15 --param file=@plan.pdf
plugfn action run github.repos.archive --user demo --params @archive.json --save hello.zip`,
		Args:              exactly("provider.action"),
		ValidArgsFunction: completeAction,
		RunE:              func(cmd *cobra.Command, args []string) error { return options.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&options.user, "user", "", "whose connection acts")
	flags.StringArrayVar(&options.pairs, "param", nil, "one parameter, name=value or name:=json; may be repeated")
	flags.StringVar(&options.params, "params", "", "all parameters as a JSON object, @file or - for standard input")
	flags.StringVar(&options.connection, "connection", "", "id of the connection, where the user has several")
	flags.StringVar(&options.id, "id", "", "idempotency key: the same one is executed once (made up if not given)")
	flags.DurationVar(&options.timeout, "timeout", 0, "time for one attempt, such as 10s; the action's own if not given")
	flags.StringVar(&options.notBefore, "not-before", "", "wait until then: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	options.limits.addTo(flags)
	flags.StringVar(&options.save, "save", "", saveHelp)
	flags.BoolVar(&options.wait, "wait", true, "wait for the result; --wait=false prints the id and ends")
	flags.Lookup("timeout").DefValue = "" // none of ours
	return withTarget(settings.Bus|settings.Packs, withOutput(cmd))
}

type actionOptions struct {
	user, params, connection, id, notBefore, save string

	file    *fileParam
	limits  requestLimits
	pairs   []string
	timeout time.Duration
	wait    bool
}

func (o *actionOptions) run(cmd *cobra.Command, name string) error {
	p, err := newPrinter(cmd)
	if err != nil {
		return err
	}
	t, err := newTarget(cmd)
	if err != nil {
		return err
	}
	request, err := o.request(cmd, t, name)
	if err != nil {
		return err
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	defer client.NATS().Close()
	if err := o.upload(cmd.Context(), client.NATS(), request); err != nil {
		return err
	}
	if !o.wait {
		if _, err := client.Submit(cmd.Context(), requestOf(request)); err != nil {
			return err
		}
		return p.object(map[string]string{"id": request.ID}, request.ID, []field{
			{"id", request.ID},
			{"status", waiting("accepted")},
			{"result", fmt.Sprintf("plugfn action result %s --user %s", request.ID, request.UserID)},
		})
	}
	result, err := call(cmd.Context(), client, request)
	if err != nil {
		return err
	}
	return errors.Join(showResult(cmd.Context(), client.NATS(), p, result), saveFile(cmd, client.NATS(), result, o.save))
}

// request makes the request that the command line means.
func (o *actionOptions) request(cmd *cobra.Command, t *target, name string) (*events.ActionRequest, error) {
	provider, action, ok := strings.Cut(name, ".")
	if !ok || provider == "" || action == "" {
		return nil, usage("such as: plugfn action run slack.chat.postMessage", "%q: must be <provider>.<action>", name)
	}
	if o.user == "" {
		return nil, usage("add --user "+demoUser+" for the one that plugfn dev connects to the sandbox", "--user is missing: it says whose connection acts")
	}
	if o.timeout < 0 {
		return nil, usage("", "--timeout %s: must be above zero", o.timeout)
	}
	notBefore, err := aheadFlag("--not-before", o.notBefore, time.Now())
	if err != nil {
		return nil, err
	}
	packs, err := t.packs()
	if err != nil {
		return nil, err
	}
	var known *providers.Action // the server may know more than we
	if pack, ok := packs[provider]; ok {
		known, _ = pack.Action(action)
	}
	pairs, err := o.takeFile(known)
	if err != nil {
		return nil, err
	}
	params, err := readParams(known, o.params, pairs, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	request := &events.ActionRequest{
		ID: firstOf(o.id, id.New("req")), UserID: o.user, Provider: provider, Action: action, Params: params,
		ConnectionID: o.connection, Timeout: o.timeout, NotBefore: notBefore,
	}
	return request, o.limits.apply(request, time.Now())
}
