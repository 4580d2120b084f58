// Package auth keeps connections: who may act with which provider account, and
// the credential for it.
//
// Routes, all of them behind the API key:
//
//	POST   /v1/connections        connect an account with an API token
//	GET    /v1/connections        list, by user_id and provider, with cursor and limit
//	GET    /v1/connections/{id}   show one; with a wrong user_id there is none
//	DELETE /v1/connections/{id}   delete one and its credential; as above
//	GET    /v1/openapi.json       all of this as OpenAPI 3.1
//
// Subjects:
//
//	plugfn.connection.<user>.<provider>.<change>   published: created, deleted
//	plugfn.svc.auth.token                          served: a credential, sealed to the asker
//
// Kept in:
//
//	PLUGFN_CONNECTIONS   one record for each connection, see events.BucketConnections
//	PLUGFN_KEYS          the canary of the encryption key
//
// Guarantees:
//   - A credential is nowhere in the clear: not in a record, on the bus, in an
//     answer, an error or a log. It is encrypted for its user, provider and
//     connection, and opens in no other place.
//   - A connection is one record, and each change of it one compare-and-swap.
//   - A change is written first and announced after. The record is the truth; an
//     announcement can be lost with the process.
//   - A wrong or missing encryption key stops the start and changes nothing.
//   - A record that cannot be read is shown as such and harms no other.
//
// Who may publish to plugfn.svc.auth.token gets credentials: give that
// permission to executors only. The seal keeps a reply from everybody else who
// can read the bus; that it comes from this service is what the permission to
// serve the subject is for.
//
// Allowed imports: pkg, internal; never another service.
package auth
