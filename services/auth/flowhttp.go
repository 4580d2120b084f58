package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/plugfn/plugfn/pkg/events"
)

const (
	pathStart    = "/v1/connections/start"
	pathDevice   = "/v1/connections/device"
	pathFlows    = "/v1/flows"
	pathFlow     = "/v1/flows/{id}"
	pathSessions = "/v1/connect-sessions"
)

// mount adds the routes for browsers. They want no API key: the link of a
// session and the state of a callback are secrets of their own.
func (f *flows) mount(mux *http.ServeMux) {
	mux.HandleFunc(pathCallback+"{provider}", f.serveCallback)
	mux.HandleFunc("GET "+pathConnect+"{session}", f.serveSession)
	mux.HandleFunc("GET "+pathConnect+"{session}/{provider}", f.serveForm)
	mux.HandleFunc("POST "+pathConnect+"{session}/{provider}", f.servePost)
}

// registerFlows adds the operations that begin attempts to connect, and tell how
// they ended.
func (s *Service) registerFlows(api huma.API) {
	register(api, huma.Operation{
		OperationID: "start-connection", Method: http.MethodPost, Path: pathStart, DefaultStatus: http.StatusCreated,
		Summary: "Begin to connect an account in the browser",
	}, s.startConnection)
	register(api, huma.Operation{
		OperationID: "start-device-connection", Method: http.MethodPost, Path: pathDevice, DefaultStatus: http.StatusCreated,
		Summary: "Begin to connect an account on another device",
	}, s.startDevice)
	register(api, huma.Operation{
		OperationID: "get-flow", Method: http.MethodGet, Path: pathFlow,
		Summary: "Ask how an attempt to connect an account stands",
	}, s.getFlow)
	register(api, huma.Operation{
		OperationID: "create-connect-session", Method: http.MethodPost, Path: pathSessions, DefaultStatus: http.StatusCreated,
		Summary: "Make a link with which a user connects accounts in his browser",
	}, s.createSession)
}

type startRequest struct {
	Body struct {
		UserID         string   `json:"user_id" doc:"Whose connection it will be: an id of the application's own, at most 256 bytes." minLength:"1"`
		Provider       string   `json:"provider" doc:"Name of the provider." example:"github"`
		Auth           string   `json:"auth,omitempty" doc:"Id of the provider's auth block; the first one that fits if left out."`
		Scopes         []string `json:"scopes,omitempty" doc:"What to ask for; the provider's default scopes if left out." maxItems:"100"`
		ConnectionName string   `json:"connection_name,omitempty" doc:"The user's own word for the connection." maxLength:"100"`
		ConnectionID   string   `json:"connection_id,omitempty" doc:"The connection that gets a new credential, and keeps its id; a new one if left out."`
		ReturnTo       string   `json:"return_to,omitempty" doc:"Where the browser goes in the end. It must be on the operator's list, PLUGFN_RETURN_TO."`
		LoginHint      string   `json:"login_hint,omitempty" doc:"The account that the user probably wants, where the provider takes one." maxLength:"256"`
	}
}

type startReply struct {
	Body struct {
		ID         string    `json:"id" doc:"To ask with how the attempt stands."`
		ConnectURL string    `json:"connect_url" doc:"Where to send the user's browser."`
		State      string    `json:"state" doc:"The state of OAuth 2.0 in that address."`
		ExpiresAt  time.Time `json:"expires_at" doc:"Until when the user can come back."`
	}
}

func (s *Service) startConnection(ctx context.Context, in *startRequest) (*startReply, error) {
	b := &in.Body
	begun, err := s.flows.start(ctx, startInput{
		UserID: b.UserID, Provider: b.Provider, Auth: b.Auth, Scopes: b.Scopes, Name: b.ConnectionName, Reconnect: b.ConnectionID,
		ReturnTo: b.ReturnTo, LoginHint: b.LoginHint,
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out startReply
	out.Body.ID, out.Body.ConnectURL, out.Body.State, out.Body.ExpiresAt = begun.ID, begun.URL, begun.State, begun.ExpiresAt
	return &out, nil
}

type deviceRequest struct {
	Body struct {
		UserID         string   `json:"user_id" doc:"Whose connection it will be: an id of the application's own, at most 256 bytes." minLength:"1"`
		Provider       string   `json:"provider" doc:"Name of the provider." example:"github"`
		Auth           string   `json:"auth,omitempty" doc:"Id of the provider's auth block; the first one that fits if left out."`
		Scopes         []string `json:"scopes,omitempty" doc:"What to ask for; the provider's default scopes if left out." maxItems:"100"`
		ConnectionName string   `json:"connection_name,omitempty" doc:"The user's own word for the connection." maxLength:"100"`
		ConnectionID   string   `json:"connection_id,omitempty" doc:"The connection that gets a new credential, and keeps its id; a new one if left out."`
	}
}

type deviceReply struct {
	Body struct {
		ID                      string    `json:"id" doc:"To ask with how the attempt stands."`
		UserCode                string    `json:"user_code" doc:"What the user enters."`
		VerificationURI         string    `json:"verification_uri" doc:"Where he enters it, on any device."`
		VerificationURIComplete string    `json:"verification_uri_complete,omitempty" doc:"The same with the code in it, where the provider has that."`
		ExpiresAt               time.Time `json:"expires_at" doc:"Until when he can."`
	}
}

func (s *Service) startDevice(ctx context.Context, in *deviceRequest) (*deviceReply, error) {
	b := &in.Body
	attempt, err := s.flows.startDevice(ctx, startInput{
		UserID: b.UserID, Provider: b.Provider, Auth: b.Auth, Scopes: b.Scopes, Name: b.ConnectionName, Reconnect: b.ConnectionID,
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out deviceReply
	out.Body.ID, out.Body.ExpiresAt, out.Body.UserCode = attempt.ID, attempt.ExpiresAt, attempt.Device.UserCode
	out.Body.VerificationURI = attempt.Device.VerificationURI
	out.Body.VerificationURIComplete = attempt.Device.VerificationURIComplete
	return &out, nil
}

type flowRequest struct {
	ID     string `path:"id" doc:"Id of the attempt."`
	UserID string `query:"user_id" doc:"The user that it must be for. Left out: any."`
}

type flowReply struct {
	Body struct {
		ID            string        `json:"id"`
		UserID        string        `json:"user_id"`
		Provider      string        `json:"provider"`
		Status        flowStatus    `json:"status" enum:"pending,connected,failed"`
		ConnectionID  string        `json:"connection_id,omitempty" doc:"Of a connected one: the connection."`
		MissingScopes []string      `json:"missing_scopes,omitempty" doc:"What was asked for and not granted."`
		Error         *events.Error `json:"error,omitempty" doc:"Of a failed one: why."`
		ExpiresAt     time.Time     `json:"expires_at" doc:"Until when the attempt, or its outcome, is known."`
	}
}

func (s *Service) getFlow(ctx context.Context, in *flowRequest) (*flowReply, error) {
	attempt, _, err := s.flows.states.flow(ctx, in.ID)
	if errors.Is(err, errGone) || err == nil && in.UserID != "" && in.UserID != attempt.UserID {
		return nil, s.problem(ctx, events.Errorf(events.CodeConnectionNotFound, "there is no attempt %s, or its time is over: start again", quote(in.ID)))
	}
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out flowReply
	out.Body.ID, out.Body.UserID, out.Body.Provider = attempt.ID, attempt.UserID, attempt.Provider
	out.Body.Status, out.Body.ExpiresAt = attempt.Status, attempt.ExpiresAt
	out.Body.ConnectionID, out.Body.MissingScopes, out.Body.Error = attempt.Connected, attempt.Missing, attempt.Outcome
	if attempt.Status == flowTaken {
		out.Body.Status = flowPending
	}
	return &out, nil
}

type sessionRequest struct {
	Body struct {
		UserID    string   `json:"user_id" doc:"Whose accounts are connected: an id of the application's own, at most 256 bytes." minLength:"1"`
		Providers []string `json:"providers" doc:"What can be connected." minItems:"1" maxItems:"50" nullable:"false"`
		ReturnTo  string   `json:"return_to,omitempty" doc:"Where the browser goes in the end. It must be on the operator's list, PLUGFN_RETURN_TO."`
		ExpiresIn int      `json:"expires_in,omitempty" doc:"For how many seconds the link is good; 1800 if left out." minimum:"60" maximum:"1800"`
	}
}

type sessionReply struct {
	Body struct {
		URL       string    `json:"url" doc:"The link for the user's browser. It is a secret: whoever has it connects accounts for that user."`
		ExpiresAt time.Time `json:"expires_at"`
	}
}

func (s *Service) createSession(ctx context.Context, in *sessionRequest) (*sessionReply, error) {
	link, opened, err := s.flows.openSession(ctx, sessionInput{
		UserID: in.Body.UserID, Providers: in.Body.Providers, ReturnTo: in.Body.ReturnTo,
		ExpiresIn: time.Duration(in.Body.ExpiresIn) * time.Second,
	})
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	var out sessionReply
	out.Body.URL, out.Body.ExpiresAt = link, opened.ExpiresAt
	return &out, nil
}
