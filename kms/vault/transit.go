package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultMount = "transit"
	askTimeout   = 10 * time.Second
	maxAnswer    = 1 << 20 // bytes
	maxSaid      = 200     // bytes of an error message of Vault's
)

// Config says which key is used. Addr, Token and Key must be set.
type Config struct {
	Addr      string                 // such as https://vault.example:8200
	Token     func() (string, error) // asked each time: tokens are renewed
	Key       string                 // name of the transit key
	Mount     string                 // of the transit engine; "": transit
	Namespace string                 // "": none
	Client    *http.Client           // nil: one that follows no redirect and gives up after ten seconds
}

// Transit wraps and unwraps with one transit key. It is safe for concurrent use.
type Transit struct {
	cfg  Config
	base *url.URL // of the mount
}

// New checks cfg. It asks Vault nothing.
func New(cfg Config) (*Transit, error) {
	addr, err := url.Parse(cfg.Addr)
	switch {
	case err != nil || addr.Scheme != "http" && addr.Scheme != "https" || addr.Host == "":
		return nil, errors.New("vault: Addr must be a URL such as https://vault.example:8200")
	case cfg.Token == nil:
		return nil, errors.New("vault: Token is needed")
	case !isName(cfg.Key):
		return nil, errors.New("vault: Key must be the name of a transit key, without slashes")
	}
	if cfg.Mount == "" {
		cfg.Mount = defaultMount
	}
	mount := strings.Split(strings.Trim(cfg.Mount, "/"), "/")
	for _, part := range mount {
		if !isName(part) {
			return nil, errors.New("vault: Mount must be a path such as transit or team/transit")
		}
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Timeout:       askTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token goes nowhere else
		}
	}
	return &Transit{cfg: cfg, base: addr.JoinPath(append([]string{"v1"}, mount...)...)}, nil
}

// isName keeps a name from reaching for another path.
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`/\%?#`, r)
	})
}

// The bodies of Vault's API. Bytes are in base64 there, as encoding/json has
// them.
type (
	encryptRequest struct {
		Plaintext []byte `json:"plaintext"`
	}
	encryptResponse struct {
		Ciphertext string `json:"ciphertext"`
	}
	decryptRequest struct {
		Ciphertext string `json:"ciphertext"`
	}
	decryptResponse struct {
		Plaintext []byte `json:"plaintext"`
	}
)

// Wrap encrypts with the latest version of the key. What it returns is text.
func (t *Transit) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	var out encryptResponse
	if err := t.ask(ctx, "encrypt", encryptRequest{plain}, &out); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(out.Ciphertext, "vault:") {
		return nil, errors.New("vault: encrypt: the answer holds no ciphertext")
	}
	return []byte(out.Ciphertext), nil
}

// Unwrap decrypts what Wrap returned, with whichever version of the key it was
// wrapped with.
func (t *Transit) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if !bytes.HasPrefix(wrapped, []byte("vault:")) {
		return nil, errors.New("vault: decrypt: the keyset was not wrapped by Vault")
	}
	var out decryptResponse
	if err := t.ask(ctx, "decrypt", decryptRequest{string(wrapped)}, &out); err != nil {
		return nil, err
	}
	if len(out.Plaintext) == 0 {
		return nil, errors.New("vault: decrypt: the answer holds no plaintext")
	}
	return out.Plaintext, nil
}

// ask has Vault do one operation with the key.
func (t *Transit) ask(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("vault: %s: encoding the request: %w", operation, err)
	}
	defer clear(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base.JoinPath(operation, t.cfg.Key).String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("vault: %s: %w", operation, err)
	}
	token, err := t.cfg.Token()
	if err != nil {
		return fmt.Errorf("vault: reading the token: %w", err)
	}
	request.Header.Set("X-Vault-Token", token)
	request.Header.Set("X-Vault-Request", "true")
	request.Header.Set("Content-Type", "application/json")
	if t.cfg.Namespace != "" {
		request.Header.Set("X-Vault-Namespace", t.cfg.Namespace)
	}
	answer, err := t.cfg.Client.Do(request)
	if err != nil {
		return fmt.Errorf("vault: %s: %w", operation, err)
	}
	defer answer.Body.Close()
	if err := read(answer, out); err != nil {
		return fmt.Errorf("vault: %s: %w", operation, err)
	}
	return nil
}

// read takes the data out of an answer.
func read(answer *http.Response, out any) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	defer clear(text)
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case answer.StatusCode != http.StatusOK:
		return refusal(answer.StatusCode, text)
	case len(text) > maxAnswer:
		return fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	// The decoder's errors quote what they stumble over.
	if json.Unmarshal(text, &struct{ Data any }{out}) != nil {
		return errors.New("the answer is not what Vault's API says")
	}
	return nil
}

// refusal says what Vault says, in one line.
func refusal(status int, text []byte) error {
	var said struct{ Errors []string }
	if json.Unmarshal(text, &said) != nil || len(said.Errors) == 0 {
		return fmt.Errorf("answered %d %s", status, http.StatusText(status))
	}
	all := strings.Join(strings.Fields(strings.Join(said.Errors, "; ")), " ")
	if len(all) > maxSaid {
		all = strings.ToValidUTF8(all[:maxSaid], "") + "…"
	}
	return fmt.Errorf("answered %d: %s", status, all)
}
