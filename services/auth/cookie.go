package auth

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// cookieLife is longer than a session and the attempt that begins at its end.
const cookieLife = time.Hour

// cookieName is that of the cookie that binds an attempt to a browser. Browsers
// keep the prefix for hosts that are reached by https; on this computer by http
// it has to do without.
func (f *flows) cookieName() string {
	if f.isSecure() {
		return "__Host-plugfn"
	}
	return "plugfn_local"
}

func (f *flows) isSecure() bool { return f.public != nil && f.public.Scheme == "https" }

// browser returns the nonce in the browser's cookie, and gives it one if it has
// none. One that is there lasts anew, and stays the same: an attempt in another
// tab goes on with it.
func (f *flows) browser(w http.ResponseWriter, r *http.Request) (nonce string) {
	if nonce = f.nonce(r); nonce == "" {
		nonce, _ = newToken()
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure but for http on this computer
		Name: f.cookieName(), Value: nonce, Path: "/", MaxAge: int(cookieLife.Seconds()),
		HttpOnly: true, Secure: f.isSecure(), SameSite: http.SameSiteLaxMode,
	})
	return nonce
}

// nonce returns the nonce in the browser's cookie, "" for none.
func (f *flows) nonce(r *http.Request) string {
	cookie, err := r.Cookie(f.cookieName())
	if err != nil || !isDigest(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// csrfToken proves that a form was shown in the browser with that nonce, for
// that session. Another site can send a form, but cannot know this.
func csrfToken(nonce, session string) string {
	return digest("csrf|" + nonce + "|" + session)
}

// isOwnForm reports whether a posted form is one that we showed to this browser.
func (f *flows) isOwnForm(r *http.Request, session string) bool {
	nonce := f.nonce(r)
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case nonce == "", site == "cross-site", site == "same-site":
		return false
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return false
	}
	want := csrfToken(nonce, session)
	return subtle.ConstantTimeCompare([]byte(r.PostForm.Get("csrf")), []byte(want)) == 1
}
