package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

// call is what happens when a tool is called.
func (s *Server) call(a *action) mcp.ToolHandler {
	return func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		request, err := s.request(a, r.Params.Arguments)
		if err != nil {
			return said(true, "The arguments are no JSON object."), nil
		}
		result, err := s.Client.Do(ctx, request)
		switch {
		case err == nil:
			return said(false, s.shown(&result)), nil
		case result.Outcome == plugfn.Succeeded:
			return said(false, "It was carried out, and what it gave back is too long to be shown (request "+result.ID+")."), nil
		default:
			return said(true, s.trouble(ctx, a, &request, &result, err)), nil
		}
	}
}

func said(failed bool, text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: failed, Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// request is what a call asks PlugFn for.
func (s *Server) request(a *action, arguments json.RawMessage) (plugfn.Request, error) {
	params := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(arguments)) > 0 {
		if err := json.Unmarshal(arguments, &params); err != nil {
			return plugfn.Request{}, err
		}
	}
	r := plugfn.Request{User: s.User, Action: a.provider + "." + a.Name}
	if chosen, ok := params[connectionParam]; ok && len(a.connections) > 1 {
		if err := json.Unmarshal(chosen, &r.Connection); err != nil {
			return r, err
		}
		delete(params, connectionParam)
	}
	if params == nil {
		params = map[string]json.RawMessage{}
	}
	r.Params = params
	return r, nil
}

// shown is the data of a success, of which no more is shown than there is room for.
func (s *Server) shown(r *plugfn.Result) string {
	if len(r.Data) == 0 {
		return "It was carried out, and gave nothing back."
	}
	text, note := bounded(r.Data, s.MaxResult)
	if r.More {
		note += "\nThere are further pages."
		if len(r.Next) > 0 {
			note += " For the next one, call again with these arguments changed: " + string(r.Next)
		}
	}
	return text + note
}

// bounded cuts data to a size: a list after an item, anything else anywhere.
func bounded(data json.RawMessage, limit int) (text, note string) {
	if len(data) <= limit {
		return string(data), ""
	}
	var items []json.RawMessage
	if json.Unmarshal(data, &items) == nil {
		size, n := 2, 0
		for n < len(items) && size+len(items[n])+1 <= limit {
			size += len(items[n]) + 1
			n++
		}
		if n > 0 {
			joined := bytes.Join(asBytes(items[:n]), []byte(","))
			return "[" + string(joined) + "]", fmt.Sprintf("\nThese are the first %d of %d items: ask for fewer at once to see the others.", n, len(items))
		}
	}
	end := limit
	for end > 0 && !utf8.RuneStart(data[end]) {
		end--
	}
	return string(data[:end]), fmt.Sprintf("\nThis is the beginning of %d bytes.", len(data))
}

func asBytes(items []json.RawMessage) [][]byte {
	all := make([][]byte, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

// trouble says why a call has failed, and what to do.
func (s *Server) trouble(ctx context.Context, a *action, asked *plugfn.Request, r *plugfn.Result, err error) string {
	if errors.Is(err, plugfn.ErrPending) {
		return fmt.Sprintf("There is no result yet, and it may still be carried out. To see: plugfn action result %s --user %s", r.ID, s.User)
	}
	var e *plugfn.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := fmt.Sprintf("%s: %s", e.Code, e.Message)
	if !e.RetryAt.IsZero() {
		text += "\nTry again at " + e.RetryAt.UTC().Format("15:04:05 MST") + "."
	}
	switch e.Code {
	case events.CodeNeedsReauth, events.CodeScopeRequired, events.CodeConnectionNotFound:
		return text + "\n" + s.reconnect(ctx, a, asked, r)
	default:
		if fix := strings.TrimPrefix(e.Code.Meaning().Fix, "see: "); fix != "" {
			text += "\nWhat to do: " + fix
		}
		return text
	}
}

// reconnect says how the user gives access again: a link where there can be one.
func (s *Server) reconnect(ctx context.Context, a *action, asked *plugfn.Request, r *plugfn.Result) string {
	id := asked.Connection
	if id == "" {
		id = r.ConnectionID
	}
	if id == "" && len(a.connections) == 1 {
		id = a.connections[0].ID
	}
	flow, err := s.Client.Connections().Start(ctx, plugfn.NewFlow{User: s.User, Provider: a.provider, Reconnect: id})
	if err == nil && flow.ConnectURL != "" {
		return "The user has to give access again, in a browser, until " + flow.ExpiresAt.UTC().Format("15:04 MST") + ": " + flow.ConnectURL
	}
	return fmt.Sprintf("The user has to give access again: plugfn connect %s --user %s", a.provider, s.User)
}
