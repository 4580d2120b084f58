package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/plugfn"
)

const (
	defaultMaxResult = 64 << 10 // bytes
	lookAgain        = time.Minute
	idleSession      = 30 * time.Minute
)

// Config is what a server needs.
type Config struct {
	Client    *plugfn.Client // with the API
	User      string         // whose connections act
	Version   string         // of the program
	MaxResult int            // bytes of one result; 0: 64 KiB
	Log       zerolog.Logger // never standard output
}

// Server offers tools.
type Server struct {
	Config
	mcp *mcp.Server

	mu    sync.Mutex        // of refresh
	tools map[string]string // :: name → what it is, as JSON
}

// New makes a server, whose tools are those of the connections there are now.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Client == nil || cfg.User == "" {
		return nil, errors.New("mcpserver: Client and User are needed")
	}
	if cfg.MaxResult == 0 {
		cfg.MaxResult = defaultMaxResult
	}
	s := &Server{Config: cfg, tools: map[string]string{}}
	s.mcp = mcp.NewServer(&mcp.Implementation{Name: "plugfn", Title: "PlugFn", Version: cfg.Version}, &mcp.ServerOptions{
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{ListChanged: true}},
		Instructions: "Each tool is an action in an account that the user has connected. A failure says what to do; one whose outcome is unknown may have been carried out: look before doing it again.",
	})
	return s, s.refresh(ctx)
}

// Run talks over a transport until its other side leaves or ctx ends. [Server.Watch]
// runs beside it.
func (s *Server) Run(ctx context.Context, over mcp.Transport) error { return s.mcp.Run(ctx, over) }

// Handler talks over HTTP, to any number of clients.
func (s *Server) Handler() http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp }, &mcp.StreamableHTTPOptions{SessionTimeout: idleSession})
}

// Watch has the tools follow the connections until ctx ends.
func (s *Server) Watch(ctx context.Context) error {
	changed := make(chan *nats.Msg, 1)
	sub, err := s.Client.NATS().Subscribe(events.PrefixConnection+events.Token(s.User)+".>", func(msg *nats.Msg) {
		select {
		case changed <- msg:
		default: // it is looked at anyway
		}
	})
	if err != nil {
		return fmt.Errorf("listening to connections: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed
	again := time.NewTicker(lookAgain)       // what was not heard while the bus was away
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("the tools stay as they were")
		}
	}
}

// refresh has the tools be those of the connections there are.
func (s *Server) refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, err := s.wanted(ctx)
	if err != nil {
		return fmt.Errorf("looking which tools there are: %w", err)
	}
	var gone []string
	for name := range s.tools {
		if _, ok := wanted[name]; !ok {
			gone = append(gone, name)
			delete(s.tools, name)
		}
	}
	if len(gone) > 0 {
		s.mcp.RemoveTools(gone...)
	}
	for name, t := range wanted {
		text, err := json.Marshal(t.tool())
		if err != nil {
			return fmt.Errorf("tool %s: %w", name, err)
		}
		if s.tools[name] != string(text) {
			s.tools[name] = string(text)
			s.mcp.AddTool(t.tool(), s.call(t))
		}
	}
	return nil
}
