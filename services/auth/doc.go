// Package auth keeps connections: who may act with which provider account, and
// the credential for it.
//
// Routes for browsers, without the API key: what is in their addresses is secret
// and for one purpose.
//
//	GET    /oauth/callback/{provider}      where a provider sends a browser back to
//	GET    /connect/{session}              what can be connected, for one user
//	GET    /connect/{session}/{provider}   the form for a credential that he has
//	POST   /connect/{session}/{provider}   the form, or the button of a provider
//
// Routes behind the API key:
//
//	POST   /v1/connections        connect an account with a credential that the caller has
//	GET    /v1/connections        list, by user_id, provider and status, with cursor and limit
//	GET    /v1/connections/{id}   show one; with a wrong user_id there is none, as in all of these
//	PATCH  /v1/connections/{id}   rename it, or make it the default
//	DELETE /v1/connections/{id}   delete it and its credential, here and at the provider
//	POST   /v1/connections/{id}/refresh     get a newer credential now
//	POST   /v1/connections/{id}/test        ask the provider whether the credential is good
//	POST   /v1/connections/{id}/reconnect   replace the credential
//	GET    /v1/connections/{id}/audit       who used and who changed it
//	POST   /v1/connections/start  begin to connect an account in the browser
//	POST   /v1/connections/device begin to connect one on another device
//	GET    /v1/flows/{id}         ask how such an attempt stands
//	POST   /v1/connect-sessions   make a link to /connect/ for a user's browser
//	GET    /v1/apps               list the operator's OAuth clients
//	PUT    /v1/apps/{provider}    set one
//	DELETE /v1/apps/{provider}    delete one
//	GET    /v1/apps/{provider}/webhook-secrets        list what its deliveries are signed with
//	POST   /v1/apps/{provider}/webhook-secrets        add one
//	DELETE /v1/apps/{provider}/webhook-secrets/{id}   delete one
//	GET    /v1/webhooks           list the webhook endpoints of single connections
//	POST   /v1/webhooks           make one
//	GET    /v1/webhooks/{id}      show one; PATCH changes it, DELETE deletes it
//	POST   /v1/webhooks/{id}/rotate  give it a new secret; …/pause refuses deliveries, …/resume takes them
//	GET    /v1/keys               list the encryption keys, and how much is under each
//	POST   /v1/keys/rotate        make a new key the primary one
//	POST   /v1/keys/reencrypt     encrypt the next records under it
//	POST   /v1/keys/{id}/disable  take an old one out of use; …/enable takes it back
//	DELETE /v1/keys/{id}          destroy a disabled one
//	GET    /v1/openapi.json       all of this as OpenAPI 3.1
//
// Subjects:
//
//	plugfn.connection.<user>.<provider>.<change>   published: see events.Change
//	plugfn.connection.<user>.<provider>.due        consumed: something is to be done for a connection
//	plugfn.later.connection.<user>.<job>           published: when that will be
//	plugfn.audit.<user>.<provider>.<id>.<what>     published: who did what with a connection
//	plugfn.svc.auth.token                          served: a credential, sealed to the asker
//	plugfn.svc.auth.webhooks                       served: webhook secrets, likewise; for ingresses
//	plugfn.svc.auth.endpoints                      served: webhook endpoints with theirs, likewise
//	plugfn.svc.auth.endpoints.learned              served: a secret that a provider's handshake brought, sealed
//	plugfn.svc.auth.endpoints.seen                 served: genuine deliveries came to an endpoint
//
// Kept in:
//
//	PLUGFN_CONNECTIONS   one record for each connection, see events.BucketConnections
//	PLUGFN_APPS          OAuth clients and webhook secrets, encrypted
//	PLUGFN_ENDPOINTS     webhook endpoints of single connections, what is secret encrypted
//	PLUGFN_STATES        attempts to connect an account and links to do so, while they last
//	PLUGFN_REVOCATIONS   credentials of deleted connections that their providers have not taken
//	                     back yet, for a day
//	PLUGFN_AUDIT         the last entries of each connection
//	PLUGFN_KEYS          which encryption keys there are, and who has them; with a
//	                     Wrapper also the keys, encrypted
//
// Guarantees:
//   - A credential is nowhere in the clear: not in a record, on the bus, in an
//     answer, an error or a log. It is encrypted for its user, provider and
//     connection, and opens in no other place.
//   - A connection is one record, and each change of it one compare-and-swap.
//   - A change is written first and announced after. The record is the truth; an
//     announcement can be lost with the process.
//   - A credential is refreshed by one process at a time, whichever asks: the
//     right to do so is a compare-and-swap on the record. Nobody refreshes without
//     it, and it passes on only when its holder was silent for a whole lease.
//   - What a provider has handed out is written, whatever else fails: to the
//     record, or encrypted to disk until the bus is back. Only a process that dies
//     between the answer and that write loses it, which is then said.
//   - No single answer of a provider ends a connection: a grant that is gone is
//     asked for once more, trouble passes, and a refused app is the operator's.
//   - A wrong or missing encryption key stops the start and changes nothing.
//   - A new key is used once every process has it. An old one is disabled when
//     nothing is under it, and can be taken back until it is destroyed.
//   - A record that cannot be read is shown as such and harms no other.
//   - The state of an attempt is for one use, ten minutes, one user, one provider
//     and one redirect address, and where it began on our page for one browser.
//     Browsers are sent nowhere but to a provider and to the operator's list.
//   - Nothing is kept of an attempt that does not end in a connection, but how it
//     ended.
//
// Due work comes by schedules that the bus holds, and connections are found by an
// index in memory that follows the bucket. Nothing is scanned but for what the
// index does not know.
//
// Who may publish to plugfn.svc.auth.token gets credentials: give that
// permission to executors only, and plugfn.svc.auth.webhooks and
// plugfn.svc.auth.endpoints to ingresses. The
// seal keeps a reply from everybody else who can read the bus; that it comes
// from this service is what the permission to serve the subject is for.
//
// Allowed imports: pkg, internal; never another service.
package auth
