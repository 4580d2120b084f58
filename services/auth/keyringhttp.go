package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const pathKeys = "/v1/keys"

// registerKeys adds the operations on the encryption keys.
func (s *Service) registerKeys(api huma.API) {
	register(api, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: pathKeys,
		Summary: "List the encryption keys, and how much is encrypted under each",
	}, s.listKeys)
	register(api, huma.Operation{
		OperationID: "rotate-keys", Method: http.MethodPost, Path: pathKeys + "/rotate",
		Summary: "Make a new key the primary one, once every process has it",
	}, s.rotateKeys)
	register(api, huma.Operation{
		OperationID: "reencrypt", Method: http.MethodPost, Path: pathKeys + "/reencrypt",
		Summary: "Encrypt the next records under the primary key; repeat with next_cursor until there is none",
	}, s.reencrypt)
	register(api, huma.Operation{
		OperationID: "disable-key", Method: http.MethodPost, Path: pathKeys + "/{id}/disable",
		Summary: "Take a key out of use that nothing is encrypted under", DefaultStatus: http.StatusNoContent,
	}, s.onKey((*Keys).disable))
	register(api, huma.Operation{
		OperationID: "enable-key", Method: http.MethodPost, Path: pathKeys + "/{id}/enable",
		Summary: "Take a disabled key into use again, to decrypt", DefaultStatus: http.StatusNoContent,
	}, s.onKey((*Keys).enable))
	register(api, huma.Operation{
		OperationID: "destroy-key", Method: http.MethodDelete, Path: pathKeys + "/{id}",
		Summary: "Remove a disabled key for ever", DefaultStatus: http.StatusNoContent,
	}, s.onKey((*Keys).destroy))
}

// keyInfo is a key as the API shows it.
type keyInfo struct {
	ID        uint32    `json:"id" doc:"The id that each value says it is encrypted under."`
	Status    keyStatus `json:"status" enum:"staged,primary,enabled,disabled" doc:"staged: new, not used yet; primary: encrypts; enabled: decrypts what is older; disabled: out of use."`
	Values    int       `json:"values" doc:"How many encrypted values are under it."`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at" doc:"When it got its status."`
}

type keysOutput struct {
	Body struct {
		Generation uint64    `json:"generation" doc:"One more with each change of the keys."`
		Wrapped    bool      `json:"wrapped" doc:"The keyset is kept on the bus, encrypted; otherwise in a file."`
		Keys       []keyInfo `json:"keys" nullable:"false"`
		Unknown    int       `json:"unknown" doc:"Encrypted values under keys that do not exist."`
		Unreadable int       `json:"unreadable" doc:"Damaged records."`
	}
}

func (s *Service) listKeys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	r, _, err := s.store.keys.read(ctx)
	if err != nil {
		return nil, s.keyProblem(ctx, err)
	}
	used, err := s.store.keys.count(ctx)
	if err != nil {
		return nil, s.keyProblem(ctx, err)
	}
	return newKeysOutput(r, used), nil
}

func newKeysOutput(r keyRecord, used census) *keysOutput {
	var out keysOutput
	out.Body.Generation, out.Body.Wrapped, out.Body.Unreadable = r.Generation, len(r.Wrapped) > 0, used.unreadable
	for _, k := range r.Keys {
		out.Body.Keys = append(out.Body.Keys, keyInfo{
			ID: k.ID, Status: k.Status, Values: used.under[k.ID], CreatedAt: k.CreatedAt, ChangedAt: k.ChangedAt,
		})
		delete(used.under, k.ID)
	}
	for _, n := range used.under {
		out.Body.Unknown += n
	}
	return &out
}

func (s *Service) rotateKeys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	if err := s.store.keys.rotate(ctx); err != nil {
		return nil, s.keyProblem(ctx, err)
	}
	s.log.Warn().Uint32("primary", s.store.keys.current.Load().record.primary()).Msg("encryption keys rotated")
	return s.listKeys(ctx, nil)
}

type keyInput struct {
	ID uint64 `path:"id" doc:"Id of the key." minimum:"1" maximum:"4294967295"` // huma would cut a larger one
}

// onKey makes the operation that changes one key.
func (s *Service) onKey(change func(*Keys, context.Context, uint32) error) func(context.Context, *keyInput) (*struct{}, error) {
	return func(ctx context.Context, in *keyInput) (*struct{}, error) {
		if err := change(s.store.keys, ctx, uint32(in.ID)); err != nil {
			return nil, s.keyProblem(ctx, err)
		}
		s.log.Warn().Uint64("key", in.ID).Msg("encryption keys changed")
		return nil, nil
	}
}

type reencryptInput struct {
	Body struct {
		Cursor string `json:"cursor,omitempty" doc:"next_cursor of the answer before; left out at the beginning."`
		DryRun bool   `json:"dry_run,omitempty" doc:"Change nothing, and say how many records would be."`
	}
}

type reencryptOutput struct {
	Body struct {
		Total      int            `json:"total" doc:"Records that there are now."`
		Examined   int            `json:"examined" doc:"Records that this call has looked at."`
		Rewritten  int            `json:"rewritten" doc:"Those of them that it encrypted anew, or would have."`
		Failures   []sweepFailure `json:"failures,omitempty" doc:"Those that stay as they are; not more than 20."`
		NextCursor string         `json:"next_cursor,omitempty" doc:"Where to go on. Absent when all were examined."`
	}
}

func (s *Service) reencrypt(ctx context.Context, in *reencryptInput) (*reencryptOutput, error) {
	done, err := s.store.keys.reencrypt(ctx, in.Body.Cursor, in.Body.DryRun)
	if err != nil {
		return nil, s.keyProblem(ctx, err)
	}
	if done.rewritten > 0 && !in.Body.DryRun {
		s.log.Info().Int("records", done.rewritten).Msg("records encrypted under the primary key")
	}
	var out reencryptOutput
	out.Body.Total, out.Body.Examined, out.Body.Rewritten = done.total, done.examined, done.rewritten
	out.Body.Failures, out.Body.NextCursor = done.failures, done.next
	return &out, nil
}

// keyProblem tells the operator why a change of the keys is not made.
func (s *Service) keyProblem(ctx context.Context, err error) *problem {
	var r *keyRefusal
	if errors.As(err, &r) {
		return newProblem(r.status, "", r.reason)
	}
	return s.problem(ctx, err)
}
