package bus

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/plugfn/plugfn/pkg/events"
)

// An application connects to an account of its own, and what is said there is
// not heard anywhere else. The border to PlugFn's account is open for the
// subjects of its user alone.
//
// Permissions within one account would not do. A client may name any subject
// for the reply to what it publishes, and the server itself sends
// acknowledgements and messages there, with nobody's permissions: one publish
// with the reply subject $KV.PLUGFN_CONNECTIONS.… would overwrite a connection
// of somebody else. Replies stay in the account of whoever asked.

// crossing is one subject at the border.
type crossing struct {
	kind    crossingKind
	subject string
}

type crossingKind int

const (
	asks  crossingKind = iota // out, with at most one answer
	pulls                     // out, with many answers
	hears                     // in
	mutes                     // out, for nobody: see crossings
)

// callPatience is how long the answer to a call finds its way back.
const callPatience = time.Hour

// crossings are the subjects at the border. scope is what follows the prefixes
// of the contract, name is that of the applications, inbox begins their inboxes.
func crossings(scope, name, inbox string) []crossing {
	all := []crossing{
		{asks, events.PrefixAction + scope},
		{asks, events.PrefixCall + scope},
		{asks, events.PrefixService + "executor.cancel." + scope},
		{asks, events.PrefixService + "executor.result." + scope},
		{asks, subjectProviders},
		{asks, subjectSchedules + scope},
		{asks, subjectWorkflows + scope},
		{asks, subjectRuns + scope},
		{hears, events.PrefixEvent + scope},
		{hears, events.PrefixConnection + scope},
		{hears, events.PrefixResult + scope},
		{hears, events.PrefixRun + scope},
		{hears, inbox + ".>"},                // what Plugfn-Reply names
		{asks, events.PrefixPayload + scope}, // files
		{asks, api + "DIRECT.GET." + events.StreamPayloads + "." + events.PrefixPayload + scope},
		// A server gives every account of its configuration an answer to all of
		// the JetStream API, that it is off there, unless the account asks about
		// it elsewhere. That answer would come before ours.
		{mutes, api + "INFO"},
	}
	for _, stream := range []string{events.StreamEvents, events.StreamResults} {
		all = append(all, crossing{asks, api + "CONSUMER.INFO." + stream + "." + name})
		for _, subject := range pulling(stream, name) {
			all = append(all, crossing{pulls, subject})
		}
		for _, subject := range acking(stream, name) {
			all = append(all, crossing{asks, subject})
		}
	}
	return all
}

// exports are the crossings of all applications together.
func exports() []crossing { return crossings(">", "*", events.InboxPrefix+".*") }

// openBorder lets accounts import what crosses. Which of it each imports is
// decided where the account is made, see [gate.admit].
func openBorder(main *server.Account) error {
	for _, c := range exports() {
		if err := export(main, c); err != nil {
			return err
		}
	}
	return nil
}

func export(main *server.Account, c crossing) error {
	switch c.kind {
	case hears:
		return main.AddStreamExport(c.subject, server.IsPublicExport)
	case pulls:
		return main.AddServiceExportWithResponse(c.subject, server.Streamed, server.IsPublicExport)
	default:
		if err := main.AddServiceExport(c.subject, server.IsPublicExport); err != nil {
			return err
		}
		if !c.isCall() {
			return nil
		}
		return main.SetServiceExportResponseThreshold(c.subject, callPatience)
	}
}

// isCall tells the requests that are answered when an action has been executed.
func (c crossing) isCall() bool { return c.subject == events.PrefixCall+">" }

// cross opens the border for one account.
func cross(main, account *server.Account, all []crossing) error {
	for _, c := range all {
		var err error
		if c.kind == hears {
			err = account.AddStreamImport(main, c.subject, "")
		} else {
			err = account.AddServiceImport(main, c.subject, c.subject)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// permissions are those within the application's own account. They say what
// crosses once more, so that a wrong subject is refused rather than unheard.
func permissions(all []crossing) Permissions {
	var p Permissions
	for _, c := range all {
		switch c.kind {
		case hears:
			p.Subscribe = append(p.Subscribe, c.subject)
		case asks, pulls:
			p.Publish = append(p.Publish, c.subject)
		}
	}
	return p
}

// server is p as the server has it. An empty list there would mean everything.
func (p Permissions) server() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: p.Publish},
		Subscribe: &server.SubjectPermission{Allow: p.Subscribe},
	}
}
