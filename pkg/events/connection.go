package events

import "time"

// Change is what happened to a connection.
type Change string

// The changes that are announced on plugfn.connection.<user>.<provider>.<change>.
const (
	Created     Change = "created"
	Updated     Change = "updated"      // its name or whether it is the default
	Refreshed   Change = "refreshed"    // it has a newer credential
	NeedsReauth Change = "needs_reauth" // only the user can make it work again
	Recovered   Change = "recovered"    // it was authorised again
	Deleted     Change = "deleted"
)

// What is announced on the same subjects for the operator.
const (
	// AppMisconfigured says that a provider refuses the operator's app, for
	// which nobody's connection is to blame. Its user is the empty one.
	AppMisconfigured Change = "app_misconfigured"
	// RefreshUnreadable says that a provider answered a refresh with something
	// that cannot be read, so that the credential it replaced may be lost.
	RefreshUnreadable Change = "refresh_unreadable"
	// Due is between the auth services themselves: something is to be done for
	// a connection now. Its body is theirs.
	Due Change = "due"
)

// BucketConnections is the key-value bucket of connection records. Its keys are
// Key(user, provider, id); its values hold a Connection in the clear next to
// fields that only the auth service reads.
const BucketConnections = "PLUGFN_CONNECTIONS"

// ConnectionStatus says whether a connection can be used.
type ConnectionStatus string

// The statuses of a connection. Only an active one is used.
const (
	ConnectionPending     ConnectionStatus = "pending"      // being set up
	ConnectionActive      ConnectionStatus = "active"       // usable
	ConnectionNeedsReauth ConnectionStatus = "needs_reauth" // the provider refuses the credential: the user has to connect again
	ConnectionRevoked     ConnectionStatus = "revoked"      // the provider said that the user took the grant back
	ConnectionError       ConnectionStatus = "error"        // what is stored cannot be read
)

// ConnectionStatuses lists all statuses.
func ConnectionStatuses() []ConnectionStatus {
	return []ConnectionStatus{ConnectionPending, ConnectionActive, ConnectionNeedsReauth, ConnectionRevoked, ConnectionError}
}

// Connection is one user's authorised link to one provider account, without
// its credential.
type Connection struct {
	ID       string           `json:"id"`
	UserID   string           `json:"user_id"`
	Provider string           `json:"provider"`
	Name     string           `json:"name,omitempty"` // the user's own word for it
	Auth     string           `json:"auth"`           // id of the pack's auth block
	Account  string           `json:"account,omitempty"`
	Label    string           `json:"label,omitempty"` // what people know the account by
	Status   ConnectionStatus `json:"status"`
	// Default marks the one that is meant where a request names none and the
	// user has several to the provider.
	Default       bool     `json:"default,omitempty"`
	Scopes        []string `json:"scopes,omitempty"`         // that were granted
	MissingScopes []string `json:"missing_scopes,omitempty"` // that were asked for and not granted
	// Version counts the credentials that the connection has had, from 1.
	Version   int       `json:"version"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of the present credential; zero: it does not, as far as is known
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}
