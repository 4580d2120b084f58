// Package oauthtest gives tests an OAuth 2.0 authorization server that forgives
// nothing, in this process and over real HTTP:
//
//	GET, POST /authorize       code flow: exact redirect URI, PKCE with S256, consent bound to a cookie
//	POST      /token           authorization_code, refresh_token, client_credentials, device_code
//	POST      /device_code     device flow; [Server.Decide] is the user
//	POST      /revoke          RFC 7009
//	GET       /userinfo        whose token it is
//	any       /api/…           answers those with a live access token, and everybody else with 401
//
// Refresh tokens are for one use. The second use of one, as of a code, revokes
// the whole family: every token that came of the same consent. [Server.Ledger]
// counts that, so that a test can tell how many connections it killed. [Quirks]
// are the ways in which real servers answer otherwise than the RFCs have it, and
// a [Fault] is trouble that happens once.
//
// [Pack] is a provider that speaks to it, with [Server.App].
//
// Allowed imports: the standard library, pkg/providers.
package oauthtest
