package auth

import (
	"net/http"

	"github.com/plugfn/plugfn/internal/id"
	"github.com/plugfn/plugfn/pkg/events"
)

// deadEnd is why a request of a browser leads nowhere. Nothing of the request
// is in it.
type deadEnd struct {
	status      int
	title, text string
}

func (r *deadEnd) page() webPage {
	return webPage{name: "message", status: r.status, title: r.title, body: notice{Text: r.text, Bad: true}}
}

func badLink() *deadEnd {
	return &deadEnd{
		status: http.StatusBadRequest, title: "This link is not complete",
		text: "It does not lead anywhere here. Go back to the application and connect the account again.",
	}
}

func staleLink() *deadEnd {
	return &deadEnd{
		status: http.StatusGone, title: "This link is no longer good",
		text: "It was used already, or it has expired. Go back to the application and connect the account again.",
	}
}

func otherBrowser() *deadEnd {
	return &deadEnd{
		status: http.StatusForbidden, title: "Not this browser",
		text: "The account has to be connected in the browser window in which that was begun. Go back to the application and connect the account again.",
	}
}

func wrongForm() *deadEnd {
	return &deadEnd{
		status: http.StatusForbidden, title: "The form is no longer good",
		text: "It is not from this browser, or cookies are switched off. Open the link of the application again.",
	}
}

// trouble is a failure of our own, of which the log has the cause.
func (f *flows) trouble(err error) *deadEnd {
	request := id.New("req")
	f.log.Error().Err(err).Str("request", request).Msg("page failed")
	return &deadEnd{
		status: http.StatusInternalServerError, title: "Something went wrong here",
		text: "Try again in a moment. If it stays so, tell the people who run this about " + request + ".",
	}
}

func busyPage() webPage {
	r := deadEnd{http.StatusServiceUnavailable, "Too many at once", "Load this page again in a moment: nothing is lost."}
	return r.page()
}

func (f *flows) refuseMethod(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	r := deadEnd{http.StatusMethodNotAllowed, "Not in this way", "This address is not for requests of this kind."}
	f.pages.write(w, r.page())
}

// endPage is what a person sees at the end of an attempt. next is where it goes
// on, "" for nowhere.
func (f *flows) endPage(attempt *flow, next string) webPage {
	name := f.displayName(attempt.Provider)
	if attempt.Status == flowConnected {
		return webPage{name: "message", status: http.StatusOK, title: name + " is connected", body: notice{
			Text: "Everything is set up.", Missing: attempt.Missing, Next: next,
		}}
	}
	text, status := endText(attempt.Outcome)
	return webPage{name: "message", status: status, title: name + " is not connected", body: notice{Text: text, Bad: true, Next: next}}
}

// endText explains an outcome to who cannot do anything about our settings.
func endText(e *events.Error) (text string, status int) {
	switch {
	case e.ProviderCode == codeDenied:
		return "You did not agree, so nothing was connected. You can start again at any time.", http.StatusForbidden
	case e.Code == events.CodeProviderUnavailable, e.Code == events.CodeOutcomeUnknown:
		return "The provider does not answer as it should. Nothing was connected; start again later.", http.StatusBadGateway
	case e.Code == events.CodeProviderRejected:
		return "The provider refused. Nothing was connected; start again, and if it stays so, tell the people who run this.", http.StatusBadGateway
	case e.Code == events.CodeConnectionNotFound:
		return "The connection that was to be renewed is not there any more. Nothing was connected.", http.StatusNotFound
	case e.Code == events.CodeInternal:
		return "Something went wrong here. Nothing was connected; start again, and if it stays so, tell the people who run this about " + e.RequestID + ".", http.StatusInternalServerError
	default:
		return "Nothing was connected: " + e.Message, e.Code.Meaning().Status
	}
}

func (f *flows) displayName(provider string) string {
	if pack, ok := f.providers.Pack(provider); ok && pack.Display.Name != "" {
		return pack.Display.Name
	}
	return provider
}
