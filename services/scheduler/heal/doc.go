// Package heal closes the gaps of providers that do not send a failed delivery
// again by themselves: it looks for deliveries that failed and asks for them.
//
// Subjects:
//
//	plugfn.later.run._.heal-<provider>   published: the schedule, held and fired by the bus
//	plugfn.run._.heal.due                consumed: that it is time for a provider
//	plugfn.action.<user>.<provider>.…    published: requests as anybody's, to list and to ask again
//	plugfn.result.<user>.<provider>.>    subscribed: how they ended
//
// A pack says how (webhooks.redeliver), a connection of the auth that it names
// is who asks. Without such a connection nothing is asked. What is sent again
// comes to the ingress with the same delivery id, so what had arrived after all
// is not doubled.
//
// Of several schedulers one at a time works on a provider: the firing goes to
// one consumer. What a run came to is a [Record] in a bucket; the requests have
// ids made of the delivery and its attempts, so that a run that is repeated asks
// once.
//
// Allowed imports: pkg, internal; never another service.
package heal
