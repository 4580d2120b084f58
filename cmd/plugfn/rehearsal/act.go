package rehearsal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/plugfn/plugfn/internal/sandbox"
	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/services/scheduler/runs/machine"
)

// base is where requests say that they go: nothing is dialed.
const base = "http://sandbox.invalid"

// act carries out an action at who plays the provider.
func (s *stage) act(e machine.Act) machine.Signal {
	sig := machine.Signal{Kind: machine.Result, ID: e.ID}
	data, err := s.carryOut(e)
	if err == nil {
		sig.Data = data
		return sig
	}
	sig.Error = &machine.Failure{Code: string(events.CodeInternal), Message: err.Error()}
	var known *events.Error
	if errors.As(err, &known) {
		sig.Error.Code, sig.Error.Message = string(known.Code), known.Message
	}
	return sig
}

func (s *stage) carryOut(e machine.Act) (json.RawMessage, error) {
	pack, ok := s.Packs[e.Provider]
	if !ok {
		return nil, events.Errorf(events.CodeUnknownProvider, "no provider is called %s", e.Provider)
	}
	action, ok := pack.Action(e.Action)
	if !ok {
		return nil, events.Errorf(events.CodeUnknownAction, "%s has no action %s", e.Provider, e.Action)
	}
	if err := action.Validate(e.Params); err != nil {
		return nil, err
	}
	at := sandbox.BaseURL(base, e.Provider)
	request, err := action.NewRequest(s.ctx, at, e.Params, credential(pack))
	if err != nil {
		return nil, err
	}
	if e.Pages < 2 {
		return action.Read(s.ask(request)) //nolint:bodyclose // it is in memory
	}
	return s.pages(action, at, request, e, credential(pack))
}

// pages joins the pages of a list.
func (s *stage) pages(action *providers.Action, at string, request *http.Request, e machine.Act, c providers.Credential) (json.RawMessage, error) {
	var all []json.RawMessage
	params := e.Params
	for range e.Pages {
		page, err := action.ReadPage(s.ask(request), params) //nolint:bodyclose // it is in memory
		if err != nil {
			return nil, err
		}
		all = append(all, page.Data)
		if page.Next == nil {
			break
		}
		params = page.Next.With()
		if request, err = action.NewNextRequest(s.ctx, at, page.Next, c); err != nil {
			return nil, fmt.Errorf("asking for the next page: %w", err)
		}
	}
	return action.Paginate.Join(all), nil
}

// ask has a request answered in this process.
func (s *stage) ask(request *http.Request) *http.Response {
	if request.Body == nil {
		request.Body = http.NoBody
	}
	w := &answer{header: http.Header{}, status: http.StatusOK}
	s.Provider.ServeHTTP(w, request)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: request,
	}
}

// answer is a response that is kept.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// credential is one that the sandbox takes: any will do.
func credential(pack *providers.Pack) providers.Credential {
	c := providers.Credential{Token: providers.NewSecret([]byte("sandbox")), Fields: map[string]providers.Secret{}}
	if len(pack.Auth) == 0 {
		return c
	}
	c.Auth = pack.Auth[0].ID
	for _, f := range pack.Auth[0].Fields {
		if f.Name != "token" {
			c.Fields[f.Name] = providers.NewSecret([]byte("sandbox"))
		}
	}
	return c
}
