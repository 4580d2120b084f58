package bus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// Role is what a connection of PlugFn is for, and with that which subjects it
// may use on a bus that asks who connects. The zero value stands for RoleAdmin.
type Role string

// The roles. RoleAdmin is the operator: it declares what is stored, adds users
// and looks at everything; only credentials it cannot ask for. The others are
// the services.
const (
	RoleAdmin     Role = "admin"
	RoleIngress   Role = "ingress"
	RoleExecutor  Role = "executor"
	RoleAuth      Role = "auth"
	RoleScheduler Role = "scheduler"
)

// Roles returns all roles, the admin first.
func Roles() []Role {
	return []Role{RoleAdmin, RoleIngress, RoleExecutor, RoleAuth, RoleScheduler}
}

// Permissions returns the subjects that r may use, and no others.
func (r Role) Permissions() Permissions { return r.grants().Permissions }

// Permissions are all the subjects that a connection may publish and subscribe
// to.
type Permissions struct {
	Publish   []string
	Subscribe []string
}

func (r Role) check() error {
	if slices.Contains(Roles(), r) {
		return nil
	}
	var names []string
	for _, known := range Roles() {
		names = append(names, string(known))
	}
	return fmt.Errorf("role %q: must be %s", string(r), strings.Join(names, ", "))
}

// inbox is below what the replies to the role travel.
func (r Role) inbox() string { return inboxPrefix + string(r) }

// The NATS micro services, by which they are found.
const (
	microExecutor = "plugfn-executor"
	microAuth     = "plugfn-auth"
	microWebhooks = "plugfn-auth-webhooks"
	microIngress  = "plugfn-ingress"

	microEndpoints = "plugfn-auth-endpoints"
	microScheduler = "plugfn-scheduler"
	microWorkflows = "plugfn-scheduler-workflows"
	microRuns      = "plugfn-scheduler-runs"
)

const (
	// subjectToken is where credentials are asked for, subjectWebhooks where
	// webhook secrets are, subjectEndpoints where endpoints are with theirs, and
	// below it where it is said what happened at one.
	subjectToken    = events.PrefixService + "auth.token"
	subjectWebhooks = events.PrefixService + "auth.webhooks"
	// subjectCancel is where a request is canceled, subjectResolve where one with
	// an unknown outcome is resolved; both end in the tokens of user and id.
	subjectCancel  = events.PrefixService + "executor.cancel.>"
	subjectResolve = events.PrefixService + "executor.resolve.>"
	// subjectFind is where the result of a request is asked for, likewise, and
	// subjectProviders where it is asked which providers there are.
	subjectFind      = events.PrefixService + "executor.result.>"
	subjectProviders = events.PrefixService + "executor.providers.*"
	// subjectLimits is where limiters hear of each other and are asked how they
	// stand: presence and state.
	subjectLimits = events.PrefixService + "limiter."
	// subjectRejected is where it is asked what was refused.
	subjectRejected = events.PrefixService + "ingress.rejected"

	subjectEndpoints = events.PrefixService + "auth.endpoints"
	// subjectSchedules is where schedules are made and looked at; it goes on with
	// the token of their user, what is to be done, and the id.
	subjectSchedules = events.PrefixService + "scheduler.schedules."
	// subjectWorkflows is the same for workflows, with their names as ids.
	subjectWorkflows = events.PrefixService + "scheduler.workflows."
	// subjectRuns is where runs of workflows are started and looked at; it goes on
	// likewise.
	subjectRuns = events.PrefixService + "scheduler.runs."
)

// grants is the one table of who does what on the bus. A service that starts to
// use a stream, a bucket or a subject gets its line here.
func (r Role) grants() *grants {
	g := newGrants(r)
	switch r {
	case RoleIngress:
		g.ingress()
	case RoleExecutor:
		g.executor()
	case RoleAuth:
		g.auth()
	case RoleScheduler:
		g.scheduler()
	default:
		g.administer()
	}
	return g
}

// ingress grants what that service needs.
func (g *grants) ingress() {
	g.store(events.StreamEvents, events.PrefixEvent+">")
	g.store(events.StreamDead, events.PrefixDead+"event.>")
	g.store(events.StreamPayloads, events.PrefixPayload+">")
	g.find(events.StreamPayloads, events.PrefixPayload+">") // of what came before its connection
	g.watch(events.BucketConnections)
	g.watch(BucketApps) // when a webhook secret changes
	g.publish(subjectWebhooks)
	g.serve(microIngress, subjectRejected)
	g.watch(BucketEndpoints)                                       // when an endpoint changes
	g.read(events.StreamEvents, "reroute", events.PrefixEvent+">") // what came before its connection
	g.publish(subjectEndpoints, subjectEndpoints+".learned", subjectEndpoints+".seen")
	g.get(BucketDeliveries) // where a delivery is that came before
	g.put(BucketDeliveries)
}

// executor grants what that service needs.
func (g *grants) executor() {
	g.consume(events.StreamActions, "executor", events.PrefixAction+">")
	g.store(events.StreamActions, events.PrefixAction+">") // calls
	g.store(events.StreamResults, events.PrefixResult+">")
	g.find(events.StreamResults, events.PrefixResult+">") // whether a request has one
	g.store(events.StreamDead, events.PrefixDead+"action.>")
	g.store(events.StreamPayloads, events.PrefixPayload+">")
	g.find(events.StreamPayloads, events.PrefixPayload+">")
	g.store(events.StreamLater, events.PrefixLater+KindAction+".>")
	g.get(BucketJournal)
	g.put(BucketJournal)
	g.branch(events.StreamActions, events.PrefixAction+"*.>") // lanes of single users
	g.publish(api + "DIRECT.GET." + events.StreamActions)     // who came before; lanes read them all as well
	g.get(BucketOrder)
	g.put(BucketOrder)
	g.get(BucketLanes)
	g.put(BucketLanes)
	g.watch(BucketLanes)
	g.get(BucketWaiting)
	g.put(BucketWaiting)
	g.watch(BucketWaiting)
	g.consume(events.StreamEvents, "executor-connections", events.PrefixConnection+">")
	g.find(events.StreamLater, events.PrefixLater+KindAction+".>") // Hasten
	g.serve(microExecutor, events.PrefixCall+">")
	g.serve(microExecutor, subjectCancel)
	g.serve(microExecutor, subjectResolve)
	g.serve(microExecutor, subjectFind)
	g.serve(microExecutor, subjectProviders)
	g.publish(subjectToken)
	g.watch(BucketLimits)
	g.publish(subjectLimits + "presence")
	g.subscribe(subjectLimits+"presence", subjectLimits+"state")
	g.subscribe(events.PrefixConnection + "*.*.*")         // what is cached of a connection is not good any more
	g.publish(events.InboxPrefix+".>", serverReplies+".>") // results, to who called
}

// auth grants what that service needs.
func (g *grants) auth() {
	g.store(events.StreamEvents, events.PrefixConnection+">")
	g.watch(events.BucketConnections)
	g.get(events.BucketConnections)
	g.put(events.BucketConnections)
	g.consume(events.StreamEvents, "auth-due", events.PrefixConnection+"*.*.due")
	for _, bucket := range []string{BucketKeys, BucketApps, BucketEndpoints, BucketStates, BucketRevocations} {
		g.get(bucket)
		g.put(bucket)
		g.watch(bucket)
	}
	g.follow(events.StreamResults, events.PrefixResult+">") // to count them
	g.store(events.StreamAudit, events.PrefixAudit+">")
	g.find(events.StreamAudit, events.PrefixAudit+">")
	g.follow(events.StreamAudit, events.PrefixAudit+">")
	g.store(events.StreamLater, events.PrefixLater+KindConnection+".>")
	g.remove(events.StreamLater) // Unpark
	g.serve(microAuth, subjectToken)
	g.serve(microWebhooks, subjectWebhooks)
	g.serve(microEndpoints, subjectEndpoints)
	g.subscribe(subjectEndpoints+".learned", subjectEndpoints+".seen")
	g.publish(RoleExecutor.inbox()+".>", RoleIngress.inbox()+".>") // credentials and webhook secrets, sealed
}

// scheduler grants what that service needs.
func (g *grants) scheduler() {
	g.find(events.StreamPayloads, events.PrefixPayload+">")
	g.consume(events.StreamLater, "mover", events.PrefixDue+">")
	g.store(events.StreamLater, events.PrefixLater+">") // Park
	g.remove(events.StreamLater)                        // Unpark, Moved
	g.store(events.StreamActions, events.PrefixAction+">")
	g.store(events.StreamEvents, events.PrefixConnection+"*.*.due")
	g.store(events.StreamRuns, events.PrefixRun+">")
	g.consume(events.StreamRuns, "healer", events.PrefixRun+events.NoUser+".heal.due")
	g.watch(events.BucketConnections) // who may ask for failed deliveries
	g.consume(events.StreamRuns, "poller", events.PrefixRun+events.NoUser+".poll.due")
	g.get(BucketPolls)
	g.put(BucketPolls)
	g.watch(BucketHealing)
	g.get(BucketHealing)
	g.put(BucketHealing)
	g.find(events.StreamResults, events.PrefixResult+">") // of its own requests
	g.subscribe(events.PrefixResult + "*.*.*.*")
	g.store(events.StreamDead, events.PrefixDead+"action.>", events.PrefixDead+"run.>")
	g.get(BucketSchedules)
	g.put(BucketSchedules)
	g.watch(BucketSchedules)
	g.store(events.StreamEvents, events.PrefixEvent+">") // ticks, and what was looked for
	g.store(events.StreamPayloads, events.PrefixPayload+">")
	g.find(events.StreamEvents, events.PrefixEvent+"*.schedule.>") // whether a tick is there
	g.find(events.StreamLater, events.PrefixLater+KindSchedule+".>")
	g.serve(microScheduler, subjectSchedules+">")
	for _, bucket := range []string{BucketWorkflows, BucketDefinitions} {
		g.get(bucket)
		g.put(bucket)
	}
	g.watch(BucketWorkflows)
	g.serve(microWorkflows, subjectWorkflows+">")
	for _, bucket := range []string{BucketRuns, BucketWaits, BucketTurns} {
		g.put(bucket)
		g.ask(bucketPrefix + bucket)
	}
	g.watch(BucketRuns) // to list them
	g.watch(BucketWaits)
	g.get(BucketWaits)
	g.consume(events.StreamRuns, "runs", events.PrefixRun+"*.*.signal")
	g.consume(events.StreamResults, "runs-results", events.PrefixResult+"*.*.*.*")
	g.consume(events.StreamEvents, "runs-events", events.PrefixEvent+">")
	g.ask(events.StreamEvents)                // what came before a wait
	g.ask(events.StreamRuns)                  // the history of one
	g.subscribe(events.PrefixRun + "*.*.*.*") // when a run ends that somebody waits for
	g.serve(microRuns, subjectRuns+">")
	g.follow(events.StreamRuns, events.PrefixRun+">") // to count them
	g.publish(serverReplies + ".>")                   // answers to applications
}

// administer grants what an operator and his tools need. It is a list, too, and
// not all but something: a subscription to > is refused, for it would show
// the replies to others.
func (g *grants) administer() {
	for _, prefix := range []string{
		events.PrefixAction, events.PrefixCall, events.PrefixResult, events.PrefixEvent, events.PrefixConnection,
		events.PrefixRun, events.PrefixDead, events.PrefixAudit, events.PrefixPayload, events.PrefixLater, events.PrefixDue, "$KV.",
	} {
		g.publish(prefix + ">")
		g.subscribe(prefix + ">")
	}
	g.publish("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$SRV.>", events.InboxPrefix+".>", subjectRejected, subjectLimits+"state", subjectCancel, subjectResolve, subjectFind, subjectProviders, subjectSchedules+">", subjectWorkflows+">", subjectRuns+">")
	g.subscribe("$JS.EVENT.>", "$SRV.>", events.InboxPrefix+".>")
	for _, d := range declarations() {
		g.need(d.stream())
	}
}
