package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

const (
	saveHelp = "of a result that is a file: where to put it, - for standard output"
	// filePatience is how long a file may take to or from the bus.
	filePatience = 10 * time.Minute
)

// fileParam is a file of this computer that stands for a parameter.
type fileParam struct {
	name, path string
	limit      int64
}

// takeFile takes --param name=@path out of the pairs, where the action has a file
// of that name.
func (o *actionOptions) takeFile(known *providers.Action) ([]string, error) {
	if known == nil || known.FileParam() == "" {
		return o.pairs, nil
	}
	var others []string
	for _, pair := range o.pairs {
		path, ok := strings.CutPrefix(pair, known.FileParam()+"=@")
		switch {
		case !ok:
			others = append(others, pair)
		case o.file != nil:
			return nil, usage("", "--param %s: given twice", known.FileParam())
		default:
			o.file = &fileParam{known.FileParam(), path, known.FileLimit()}
		}
	}
	return others, nil
}

// upload stores the file for the user, and has the request refer to it.
func (o *actionOptions) upload(ctx context.Context, conn *nats.Conn, request *events.ActionRequest) error {
	if o.file == nil {
		return nil
	}
	var params map[string]json.RawMessage
	if err := json.Unmarshal(request.Params, &params); err != nil || params == nil {
		return usage("", "--params: must be a JSON object where --param is used, too")
	}
	in, err := os.Open(o.file.path)
	if err != nil {
		return usage("", "--param %s: %v", o.file.name, err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(ctx, filePatience)
	defer cancel()
	stored := events.File{Name: filepath.Base(o.file.path), ContentType: mime.TypeByExtension(filepath.Ext(o.file.path))}
	stored.PayloadRef, err = events.Payloads{Conn: conn}.Copy(ctx, request.UserID, in, o.file.limit)
	var unstored *events.StoreError
	switch {
	case errors.Is(err, events.ErrPayloadTooLong):
		return usage("", "--param %s: %s is longer than %d bytes, which the pack allows", o.file.name, o.file.path, o.file.limit)
	case errors.As(err, &unstored):
		return &failure{exit: exitUnreachable, what: "the bus did not store the file", cause: unstored.Err, fix: startFix}
	case err != nil:
		return usage("", "--param %s: %v", o.file.name, err)
	}
	if params[o.file.name], err = encode(stored); err != nil {
		return err
	}
	request.Params, err = encode(params)
	return err
}

// saveFile puts the file that a result is to where it is wanted; "": nowhere. A
// file that is there already is not touched.
func saveFile(cmd *cobra.Command, conn *nats.Conn, r *events.Result, to string) error {
	if to == "" || r.Outcome != events.Succeeded {
		return nil
	}
	file, ok := events.ParseFile(r.Data)
	if !ok {
		return usage("", "--save: the result is no file")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), filePatience)
	defer cancel()
	from, err := events.Payloads{Conn: conn}.Open(ctx, file.PayloadRef, maxData)
	if err != nil {
		return err
	}
	if to == "-" {
		_, err = io.Copy(cmd.OutOrStdout(), from)
		return fetched(err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usage("choose another name", "--save: %v", err)
	}
	_, err = io.Copy(out, from)
	if err = cmp.Or(fetched(err), out.Close()); err != nil {
		return errors.Join(err, os.Remove(to)) // it is not whole
	}
	return nil
}

// fetched is why a file could not be read from the bus.
func fetched(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, events.ErrPayloadGone):
		return &failure{exit: exitNotFound, what: "the file is not stored any more", cause: err}
	default:
		return fmt.Errorf("fetching the file: %w", err)
	}
}
