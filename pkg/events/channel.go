package events

// Channel is one kind of subject of the wire contract.
type Channel struct {
	Name    string // unique, such as action
	Address string // the subject, with {parameters}
	Stream  string // that keeps it; "": none
	From    string // who publishes
	To      string // who listens
	Summary string
	Type    any  // a value of the body's type; nil: the body is the provider's or the action's own
	Reply   any  // a value of what the answer is; nil: there is none, or it is not JSON of this package
	Asked   bool // it is answered on the reply subject
	Headers []string
}

// Channels returns the table of all subjects that an application may publish or
// subscribe to, in the order of the contract. Subjects between the services
// themselves (plugfn.svc.>, plugfn.later.>, plugfn.due.>, plugfn.audit.>) are not
// part of it.
func Channels() []Channel {
	asked := []string{
		HeaderID, HeaderConnection, HeaderTimeout, HeaderDeadline, HeaderNotBefore, HeaderMaxAttempts, HeaderDelivery, HeaderCache,
		HeaderMaxPages, HeaderStream, HeaderReply, HeaderCause, HeaderUser, HeaderAction, HeaderTraceParent,
	}
	cloud := []string{
		"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-userid", "ce-connectionid", "ce-provider",
		"ce-verified", "ce-account", "ce-partitionkey", "ce-traceparent", "ce-causationid", "ce-dataref",
	}
	given := []string{HeaderReason, HeaderAttempts, HeaderOutcome, HeaderErrorCode}
	return []Channel{
		{Name: "action", Address: PrefixAction + "{user}.{provider}.{action}", Stream: StreamActions, From: "application", To: "executor", Summary: "Asks for one execution of an action. The body holds the parameters, a JSON object.", Headers: asked},
		{Name: "call", Address: PrefixCall + "{user}.{provider}.{action}", From: "application", To: "executor", Summary: "The same, answered with the result: the request is stored first.", Headers: asked, Reply: Result{}, Asked: true},
		{Name: "result", Address: PrefixResult + "{user}.{provider}.{outcome}.{id}", Stream: StreamResults, From: "executor", To: "application", Summary: "How a request ended. There is exactly one per request id.", Type: Result{}, Headers: cloud},
		{Name: "event", Address: PrefixEvent + "{user}.{provider}.{event}", Stream: StreamEvents, From: "ingress", To: "application, scheduler", Summary: "A verified delivery as a CloudEvent in binary mode. The body is the provider's payload, byte for byte.", Headers: cloud},
		{Name: "connection", Address: PrefixConnection + "{user}.{provider}.{change}", Stream: StreamEvents, From: "auth", To: "anyone", Summary: "A connection was created, updated, refreshed, needs_reauth, recovered or deleted.", Headers: cloud},
		{Name: "run", Address: PrefixRun + "{user}.{workflow}.{state}.{run}", Stream: StreamRuns, From: "scheduler", To: "anyone", Summary: "A transition of a run of a workflow.", Type: RunChange{}},
		{Name: "deadAction", Address: PrefixDead + "action.{user}.{provider}.{action}", Stream: StreamDead, From: "executor", To: "anyone", Summary: "A request that was given up. The body holds its parameters.", Headers: append(given, asked...)},
		{Name: "deadEvent", Address: PrefixDead + "event.{user}.{provider}.{event}", Stream: StreamDead, From: "ingress", To: "anyone", Summary: "A delivery that could not be read, or an event that was given up.", Headers: append(given[:1:1], cloud...)},
		{Name: "cancel", Address: PrefixService + "executor.cancel.{user}.{id}", From: "application", To: "executor", Summary: "Asks to cancel a request, with an empty body.", Asked: true},
		{Name: "resolve", Address: PrefixService + "executor.resolve.{user}.{id}", From: "application", To: "executor", Summary: "Says what became of a request that is unknown.", Asked: true},
		{Name: "find", Address: PrefixService + "executor.result.{user}.{id}", From: "application", To: "executor", Summary: "Asks for the result of a request, with an empty body.", Reply: Result{}, Asked: true},
	}
}
