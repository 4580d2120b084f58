package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const startPatience = 60 * time.Second // a busy machine

// tryOut serves from the files of an image, as its user and with nothing else in
// sight, asks by its health check whether it works, and stops it.
func tryOut(files map[string]file, cfg v1.Config, out io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("-run needs root, for chroot")
	}
	root, err := os.MkdirTemp("", "plugfn-root-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if err := place(files, root); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	env := append(append([]string{}, cfg.Env...), "PLUGFN_HTTP_ADDR="+address, "PLUGFN_NATS_ADDR=-")
	began := time.Now()
	server := inside(ctx, root, env, cfg.Entrypoint, cfg.Cmd)
	server.Stderr = out
	if err := server.Start(); err != nil {
		return err
	}
	if err := untilHealthy(ctx, root, env, cfg); err != nil {
		return errors.Join(err, server.Process.Kill(), ignore(server.Wait()))
	}
	if _, err := fmt.Fprintf(out, "healthy after %.1f s, as user %s in a chroot\n", time.Since(began).Seconds(), cfg.User); err != nil {
		return err
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := server.Wait(); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ignore drops the error of a process that was killed.
func ignore(error) error { return nil }

func untilHealthy(ctx context.Context, root string, env []string, cfg v1.Config) error {
	for {
		probe := inside(ctx, root, env, cfg.Healthcheck.Test[1:], nil)
		text, err := probe.CombinedOutput()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was not healthy within %s: %w: %s", startPatience, err, text)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// inside is a command in the chroot, as the image's user.
func inside(ctx context.Context, root string, env, entrypoint, args []string) *exec.Cmd {
	all := append(append([]string{}, entrypoint...), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...) //nolint:gosec // of the image that is looked at
	cmd.Env, cmd.Dir = env, "/"+storePath
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: account, Gid: account}}
	return cmd
}

// place writes the files of an image below root.
func place(files map[string]file, root string) error {
	if err := os.Chmod(root, 0o755); err != nil { //nolint:gosec // the user of the image has to get in
		return err
	}
	for name, f := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q is no path in an image", name)
		}
		target := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // as in the image
			return err
		}
		if f.content == nil {
			if err := os.MkdirAll(target, 0o755); err != nil { //nolint:gosec // as in the image
				return err
			}
		} else if err := os.WriteFile(target, f.content, 0o600); err != nil {
			return err
		}
		if err := errors.Join(os.Chown(target, f.owner, f.owner), os.Chmod(target, os.FileMode(f.mode&0o777))); err != nil { //nolint:gosec // as in the image
			return err
		}
	}
	return nil
}
