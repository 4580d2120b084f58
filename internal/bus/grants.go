package bus

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	api = jetstream.DefaultAPIPrefix

	// bucketPrefix stands before the name of a bucket in the name of its stream.
	bucketPrefix = "KV_"

	// serverReplies begins the subjects that the server puts in place of the
	// reply subjects of another account's clients. No client can name one.
	serverReplies = "_R_"
)

// grants collects what a role may do, in the words of what it does.
type grants struct {
	Permissions
	role    Role
	streams []string // that have to exist
}

// newGrants begins with what everybody needs: his own inbox, and to ask whether
// messages are stored at all.
func newGrants(r Role) *grants {
	g := &grants{role: r}
	g.subscribe(r.inbox() + ".>")
	g.publish(api + "INFO")
	return g
}

func (g *grants) publish(subjects ...string) { g.Publish = join(g.Publish, subjects) }

func (g *grants) subscribe(subjects ...string) { g.Subscribe = join(g.Subscribe, subjects) }

func join(have, more []string) []string {
	for _, s := range more {
		if !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return have
}

// need lets the role see whether a stream exists and how full it is.
func (g *grants) need(stream string) {
	g.streams = join(g.streams, []string{stream})
	g.publish(api + "STREAM.INFO." + stream)
}

// store lets the role publish subjects that a stream keeps.
func (g *grants) store(stream string, subjects ...string) {
	g.need(stream)
	g.publish(subjects...)
}

// consume lets the role read a stream through one durable consumer.
func (g *grants) consume(stream, durable, filter string) {
	g.need(stream)
	g.publish(api + "CONSUMER.CREATE." + stream + "." + durable + "." + filter)
	g.publish(pulling(stream, durable)...)
	g.publish(acking(stream, durable)...)
	g.publish(api + "CONSUMER.INFO." + stream + "." + durable)
}

// branch lets the role read a stream through durable consumers that it makes as
// it needs them. It removes none: it lets them expire.
func (g *grants) branch(stream, filter string) { g.consume(stream, "*", filter) }

// pulling is where messages of a consumer are asked for.
func pulling(stream, consumer string) []string {
	return []string{api + "CONSUMER.MSG.NEXT." + stream + "." + consumer}
}

// acking is where they are acknowledged. The second form is that of servers
// that put domain and account in front.
func acking(stream, consumer string) []string {
	return []string{
		"$JS.ACK." + stream + "." + consumer + ".>",
		"$JS.ACK.*.*." + stream + "." + consumer + ".>",
	}
}

// find lets the role read the last message of each of some subjects.
func (g *grants) find(stream, subjects string) {
	g.need(stream)
	g.publish(api + "DIRECT.GET." + stream + "." + subjects)
}

// ask lets the role get single messages of a stream from its leader, who has what
// was acknowledged.
func (g *grants) ask(stream string) {
	g.need(stream)
	g.publish(api + "STREAM.MSG.GET." + stream)
}

// get lets the role read the values of a bucket, one by one.
func (g *grants) get(bucket string) { g.find(bucketPrefix+bucket, "$KV."+bucket+".>") }

// watch lets the role list a bucket and follow its changes.
func (g *grants) watch(bucket string) {
	g.follow(bucketPrefix+bucket, "$KV."+bucket+".>")
}

// follow lets the role read a stream from any place, without a durable consumer.
func (g *grants) follow(stream, subjects string) {
	g.need(stream)
	g.publish(
		api+"CONSUMER.CREATE."+stream+".*."+subjects,
		api+"CONSUMER.MSG.NEXT."+stream+".*",
		api+"CONSUMER.DELETE."+stream+".*",
		"$JS.FC."+stream+".>", // what the server slows a fast watch down with
		"$JS.FC.*.*."+stream+".>",
	)
}

// read lets the role read a stream from any place through one consumer of a
// name, which it makes and drops as it needs it, and get messages by their
// sequence.
func (g *grants) read(stream, consumer, subjects string) {
	g.need(stream)
	g.publish(api+"CONSUMER.CREATE."+stream+"."+consumer+"."+subjects, api+"CONSUMER.DELETE."+stream+"."+consumer)
	g.publish(pulling(stream, consumer)...)
	g.publish(api + "DIRECT.GET." + stream)
}

// put lets the role write to a bucket.
func (g *grants) put(bucket string) {
	g.store(bucketPrefix+bucket, "$KV."+bucket+".>")
}

// remove lets the role delete messages of a stream, by sequence and by subject,
// and look whether they are gone.
func (g *grants) remove(stream string) {
	g.need(stream)
	g.publish(api+"STREAM.MSG.DELETE."+stream, api+"STREAM.PURGE."+stream, api+"DIRECT.GET."+stream)
}

// serve lets the role answer requests as a NATS micro service, be found as one,
// and look whether it is there itself.
//
// It names who is answered: the service itself, the admin, and his tools, which
// have the inboxes of any NATS client. To allow an answer to whoever asked, as
// NATS can, would let an asker have it published wherever he likes.
func (g *grants) serve(name, subject string) {
	g.subscribe(subject)
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		of := "$SRV." + verb
		g.subscribe(of, of+"."+name, of+"."+name+".*")
	}
	g.publish("$SRV.PING."+name, g.role.inbox()+".>", RoleAdmin.inbox()+".>", events.InboxPrefix+".>")
}
