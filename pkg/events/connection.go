package events

import "time"

// Change is what happened to a connection.
type Change string

// The changes that are announced on plugfn.connection.<user>.<provider>.<change>.
const (
	Created     Change = "created"
	Refreshed   Change = "refreshed"
	NeedsReauth Change = "needs_reauth"
	Recovered   Change = "recovered"
	Deleted     Change = "deleted"
)

// BucketConnections is the key-value bucket of connection records. Its keys are
// Key(user, provider, id); its values hold a Connection in the clear next to
// fields that only the auth service reads.
const BucketConnections = "PLUGFN_CONNECTIONS"

// ConnectionStatus says whether a connection can be used.
type ConnectionStatus string

// The statuses of a connection.
const (
	ConnectionActive      ConnectionStatus = "active"
	ConnectionNeedsReauth ConnectionStatus = "needs_reauth"
)

// Connection is one user's authorised link to one provider account, without
// its credential.
type Connection struct {
	ID       string           `json:"id"`
	UserID   string           `json:"user_id"`
	Provider string           `json:"provider"`
	Name     string           `json:"name,omitempty"` // the user's own word for it
	Auth     string           `json:"auth"`           // id of the pack's auth block
	Account  string           `json:"account,omitempty"`
	Status   ConnectionStatus `json:"status"`
	Scopes   []string         `json:"scopes,omitempty"`
	// Version counts the credentials that the connection has had, from 1.
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}
