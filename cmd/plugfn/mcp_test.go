package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestMCPOverStandardInput has an assistant's program start plugfn mcp and act by it.
func TestMCPOverStandardInput(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dev, c := startDev(t)
	dir := filepath.Dir(filepath.Dir(c.APIKeyFile))

	server := exec.Command("plugfn", "mcp", "--user", "demo")
	server.Dir = dir
	server.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, noRacePause}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
		Connect(ctx, &mcp.CommandTransport{Command: server}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info := session.InitializeResult().ServerInfo; info.Name != "plugfn" || info.Version != version {
		t.Errorf("the server is %+v", info)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "slack_chat_postMessage", Arguments: map[string]any{"channel": "#demo", "text": "by a tool"}})
	if err != nil || result.IsError {
		t.Fatalf("%+v, %v", result, err)
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || !strings.Contains(text.Text, `"text":"by a tool"`) {
		t.Errorf("the message is %+v", result.Content[0])
	}
	if err := session.Close(); err != nil {
		t.Errorf("the program ends with %v", err)
	}
	if code := dev.interrupt(); code != exitOK {
		t.Errorf("plugfn dev exits with %d", code)
	}
}
