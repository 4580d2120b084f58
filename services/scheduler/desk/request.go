package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/plugfn/plugfn/internal/api"
)

// Request is what was asked for.
type Request struct {
	User string
	ID   string // of a verb that is of one thing; as it stands in the subject
	Body []byte
}

// Read reads a body of at most [api.MaxBody] bytes strictly; an empty one is an
// empty object.
func (r Request) Read(into any) error { return r.ReadLong(into, api.MaxBody) }

// ReadLong is Read with another limit.
func (r Request) ReadLong(into any, most int) error {
	if len(r.Body) > most {
		return invalid("body", "is longer than %d bytes", most)
	}
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var field *json.UnmarshalTypeError
	switch {
	case err == nil && !d.More():
		return nil
	case errors.As(err, &field):
		return invalid(field.Field, "must be a JSON %s", field.Type)
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field "):
		return invalid("body", "has no field %s", api.Clip(strings.TrimPrefix(err.Error(), "json: unknown field ")))
	default:
		return invalid("body", "must be a JSON object; times are written as 2026-01-02T15:04:05Z")
	}
}
