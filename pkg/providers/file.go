package providers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/plugfn/plugfn/pkg/events"
)

// ResponseKind is what the body of a success is.
type ResponseKind string

// The kinds of responses.
const (
	ResponseData ResponseKind = "data" // the action's data
	ResponseFile ResponseKind = "file" // a file; the data says where it is stored, see [events.File]
)

const (
	defaultMaxFile = 25 << 20
	maxMaxFile     = 100 << 20 // bytes

	anyType = "application/octet-stream"
)

// GivesFile reports whether a success of the action is a file.
func (a *Action) GivesFile() bool { return a.Response == ResponseFile }

// FileLimit is how many bytes a file of the action may have.
func (a *Action) FileLimit() int64 { return int64(cmp.Or(a.MaxFile, defaultMaxFile)) }

// FileParam is the parameter that is a file, "" for none.
func (a *Action) FileParam() string {
	if a.Request.Body == nil {
		return ""
	}
	return a.Request.Body.File
}

// File is the file among params; false: the action takes none. params were found
// right.
func (a *Action) File(params json.RawMessage) (events.File, bool) {
	var object map[string]json.RawMessage
	if name := a.FileParam(); name == "" || json.Unmarshal(params, &object) != nil {
		return events.File{}, false
	}
	return events.ParseFile(object[a.FileParam()])
}

// fileProblem is what is wrong with the file among params; "": nothing.
func (a *Action) fileProblem(params map[string]any) string {
	name := a.FileParam()
	value, given := params[name]
	if name == "" || !given {
		return ""
	}
	f, ok := events.ParseFile(rawOf(value))
	switch {
	case !ok:
		return "/" + name + ": must be a stored file: {subject, sha256, size, name, content_type}"
	case f.Size > a.FileLimit():
		return fmt.Sprintf("/%s/size: the file has %d bytes, allowed are %d", name, f.Size, a.FileLimit())
	}
	return ""
}

// Attach makes the file the body of req, which [Action.NewRequest] made of the
// same params, or a part of it. open gives the file's bytes from the beginning,
// f.Size of them.
func (a *Action) Attach(req *http.Request, params json.RawMessage, f events.File, open func() (io.Reader, error)) error {
	before, after, contentType := []byte(nil), []byte(nil), cmp.Or(f.ContentType, anyType)
	if a.Request.Body.Encoding == EncodingMultipart {
		object, err := parseParams(params)
		if err != nil {
			return err
		}
		if before, after, contentType, err = a.parts(object, f); err != nil {
			return fmt.Errorf("encoding the body: %w", err)
		}
	}
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = int64(len(before)) + f.Size + int64(len(after))
	req.GetBody = func() (io.ReadCloser, error) {
		file, err := open()
		if err != nil {
			return nil, err
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(before), file, bytes.NewReader(after))), nil
	}
	var err error
	req.Body, err = req.GetBody()
	return err
}

// parts is a multipart form but for the file's bytes, which come between before
// and after.
func (a *Action) parts(params map[string]any, f events.File) (before, after []byte, contentType string, err error) {
	fields := maps.Clone(params)
	delete(fields, a.FileParam())
	a.leaveOut(fields)
	form, err := formOf(fields)
	if err != nil {
		return nil, nil, "", err
	}
	var buffer bytes.Buffer
	w := multipart.NewWriter(&buffer)
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			if err := w.WriteField(name, value); err != nil {
				return nil, nil, "", err
			}
		}
	}
	header := textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(a.FileParam(), cmp.Or(f.Name, "file"))},
		"Content-Type":        {cmp.Or(f.ContentType, anyType)},
	}
	if _, err := w.CreatePart(header); err != nil {
		return nil, nil, "", err
	}
	before = slices.Clone(buffer.Bytes())
	if err := w.Close(); err != nil {
		return nil, nil, "", err
	}
	return before, buffer.Bytes()[len(before):], w.FormDataContentType(), nil
}

// FileOf says what file a response is, as far as its headers tell: all but where
// it is stored.
func FileOf(resp *http.Response) events.File {
	f := events.File{ContentType: resp.Header.Get("Content-Type")}
	if media, _, err := mime.ParseMediaType(f.ContentType); err == nil {
		f.ContentType = media
	} else {
		f.ContentType = ""
	}
	_, named, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err == nil {
		f.Name = fileName(named["filename"])
	}
	if f.Name == "" && resp.Request != nil {
		f.Name = fileName(lastSegment(resp.Request.URL))
	}
	return f
}

func lastSegment(u *url.URL) string { return path.Base(u.Path) }

// maxFileName is how many bytes of a name are kept.
const maxFileName = 200

// fileName makes a foreign name fit for a file: without folders and control
// characters, "" where nothing is left.
func fileName(s string) string {
	s = path.Base(strings.ReplaceAll(s, `\`, "/"))
	if s = clip(s, maxFileName); s == "." || s == ".." || strings.ContainsAny(s, `/\`) {
		return ""
	}
	return s
}

// checkFiles judges what an action says of files.
func (a *Action) checkFiles(path string, r report) {
	if a.Response != "" {
		checkWord(path+".response", string(a.Response), r, string(ResponseData), string(ResponseFile))
	}
	if a.GivesFile() {
		switch {
		case a.Effect != EffectRead:
			r(path+".response", "a file comes from a read only: effect must be %s", EffectRead)
		case a.Paginate != nil || a.Cache != 0 || !a.Result.IsZero():
			r(path+".response", "a file has no pages, is not kept and has no part that is the data: leave paginate, cache and result out")
		}
	}
	if a.MaxFile != 0 && !a.GivesFile() && a.FileParam() == "" {
		r(path+".max_file", "has no meaning here: the action has no file")
	}
	if a.MaxFile > maxMaxFile {
		r(path+".max_file", "must be at most 100MiB")
	}
	if body := a.Request.Body; body != nil {
		a.checkFileParam(path+".request.body", body, r)
	}
}

func (a *Action) checkFileParam(path string, body *Body, r report) {
	takes := body.Encoding == EncodingRaw || body.Encoding == EncodingMultipart
	switch property, _ := a.Params.properties()[body.File].(map[string]any); {
	case !takes && body.File == "":
	case !takes:
		r(path+".file", "goes with encoding: %s or %s", EncodingRaw, EncodingMultipart)
	case body.File == "":
		r(path+".file", "is missing: it names the parameter that is the file")
	case property["type"] != "object":
		r(path+".file", "%s must be a parameter with type: object", body.File)
	case !a.Params.requires(body.File):
		r(path+".file", "params.required must list %s", body.File)
	case a.Effect == EffectRead:
		r(path+".file", "a read sends no file")
	case a.Idempotency != nil && (a.Idempotency.Field != "" || a.Idempotency.Stamp != nil):
		r(path+".file", "idempotency.field and stamp have no place in a body with a file")
	case body.Encoding == EncodingRaw:
		placed := a.Request.placed()
		for _, name := range slices.Sorted(maps.Keys(a.Params.properties())) {
			if name != body.File && !slices.Contains(placed, name) && !slices.Contains(body.Omit, name) {
				r(path, "the parameter %s is sent nowhere: use it in path, query or headers", name)
			}
		}
	}
}
