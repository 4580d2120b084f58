package house

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/plugfn/plugfn/internal/bus"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/auth"
)

// openKeys opens the encryption keys of what the auth service keeps.
func (p *Process) openKeys(ctx context.Context, b *bus.Bus) (*auth.Keys, error) {
	path := p.keysetFile()
	keys, created, err := auth.OpenKeys(ctx, auth.KeysConfig{
		JetStream: b.JetStream(), Path: path, Wrapper: p.cfg.Wrapper, Log: p.log.With().Str("service", RoleAuth).Logger(),
	})
	switch {
	case errors.Is(err, auth.ErrWrapped):
		return nil, &Trouble{
			What: "the encryption key does not open", Cause: err,
			Fix: "set the PLUGFN_KEK, or the PLUGFN_KEK_COMMAND, that PlugFn ran with before",
		}
	case err != nil:
		return nil, &Trouble{What: "the encryption key does not open", Cause: err}
	case created && p.cfg.Wrapper != nil:
		p.log.Warn().Msg("encryption key made, wrapped: keep a copy of the key that wraps it, without it credentials are lost")
	case created:
		p.log.Warn().Str("path", path).Msg("encryption key made: keep a copy of it, without it credentials are lost")
		p.log.Warn().Str("path", path).Msg("encryption key is not encrypted itself: in production set PLUGFN_KEK")
	}
	return keys, nil
}

func (p *Process) keysetFile() string {
	if p.cfg.KeysetFile != "" {
		return p.cfg.KeysetFile
	}
	return filepath.Join(p.cfg.DataDir, "keyset.json")
}

// KEK is what wraps the keyset with a key of 32 bytes in base64, see
// [auth.NewKEK].
func KEK(text providers.Secret) (auth.Wrapper, error) { return auth.NewKEK(text) }
