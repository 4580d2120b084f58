package auth

import (
	"encoding/json"
	"maps"

	"github.com/plugfn/plugfn/pkg/providers"
)

// secrets is all of a connection that nobody may see.
type secrets struct {
	AccessToken  providers.Secret // or the API key; zero: none yet, or the fields are all there is
	RefreshToken providers.Secret
	Fields       map[string]providers.Secret // what was given to connect, by name
	// Raw is the provider's answer to a refresh that could not be read. The
	// credential may be in it, so it is kept for a person to look at.
	Raw providers.Secret
}

// plainSecrets is secrets as they are sealed. Bytes, because they can be wiped.
type plainSecrets struct {
	AccessToken  []byte            `json:"access_token,omitempty"`
	RefreshToken []byte            `json:"refresh_token,omitempty"`
	Fields       map[string][]byte `json:"fields,omitempty"`
	Raw          []byte            `json:"raw,omitempty"`
}

// isZero reports whether there is nothing to authorise a request with, or to
// get it from.
func (s secrets) isZero() bool {
	return s.AccessToken.IsZero() && s.RefreshToken.IsZero() && len(s.Fields) == 0
}

// encode returns the text that is sealed. The caller clears it.
func (s secrets) encode() ([]byte, error) {
	plain := plainSecrets{
		AccessToken: s.AccessToken.Reveal(), RefreshToken: s.RefreshToken.Reveal(), Raw: s.Raw.Reveal(),
		Fields: make(map[string][]byte, len(s.Fields)),
	}
	for name, field := range s.Fields {
		plain.Fields[name] = field.Reveal()
	}
	defer plain.clear()
	return json.Marshal(plain)
}

// decodeSecrets reads what encode wrote.
func decodeSecrets(text []byte) (secrets, error) {
	var plain plainSecrets
	if err := json.Unmarshal(text, &plain); err != nil {
		return secrets{}, err
	}
	defer plain.clear()
	s := secrets{
		AccessToken: providers.NewSecret(plain.AccessToken), RefreshToken: providers.NewSecret(plain.RefreshToken),
		Raw: providers.NewSecret(plain.Raw),
	}
	for name, field := range plain.Fields {
		if s.Fields == nil {
			s.Fields = make(map[string]providers.Secret, len(plain.Fields))
		}
		s.Fields[name] = providers.NewSecret(field)
	}
	return s, nil
}

func (p plainSecrets) clear() {
	clear(p.AccessToken)
	clear(p.RefreshToken)
	clear(p.Raw)
	for field := range maps.Values(p.Fields) {
		clear(field)
	}
}
