package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// place is where a `plugfn dev` is, as it writes it into its data directory.
type place struct {
	HTTPURL    string `yaml:"http_url"`
	NATSURL    string `yaml:"nats_url"`
	SandboxURL string `yaml:"sandbox_url"`
}

// ready waits until PlugFn has said where it is and answers there.
func ready(ctx context.Context, file string) (place, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready within %s", startLimit))
	defer cancel()
	var at place
	err := poll(ctx, func() bool {
		text, err := os.ReadFile(file)
		if err != nil || yaml.Unmarshal(text, &at) != nil || at.HTTPURL == "" || at.NATSURL == "" {
			return false
		}
		status, _, err := get(ctx, at.HTTPURL+"/readyz")
		return err == nil && status == http.StatusOK
	})
	return at, err
}

// poll waits until something is there. Its error is why ctx ended.
func poll(ctx context.Context, there func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// get returns what is at a URL, up to 1 MiB of it.
func get(ctx context.Context, url string) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}
