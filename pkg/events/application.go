package events

// Everyone is the user id of an application that acts and listens for all
// users, such as the operator's own backend. No user has it.
const Everyone = "*"

// ApplicationName is what a user's applications are called on a bus that asks
// who connects: it names the durable consumers on [StreamEvents] and
// [StreamResults] that they read from. No two users share one, but for users
// whose ids have the same hash.
func ApplicationName(user string) string {
	if user == Everyone {
		return "app"
	}
	return "app-" + Token(user)
}

// ApplicationInbox begins the inboxes of a user's applications there; NATS
// clients have an option for it.
func ApplicationInbox(user string) string { return InboxPrefix + "." + ApplicationName(user) }
