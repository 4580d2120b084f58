package plugfn

import (
	"context"
	"fmt"
	"io"

	"github.com/plugfn/plugfn/pkg/events"
)

// File is a file that is kept for a user: the parameter of an action that takes
// one, and the data of one that gives one back.
type File = events.File

// Upload stores a file of at most the bytes of [WithMaxData] for a user, to be a
// parameter of an action of his. It is kept for some days. Name is without a
// folder; an empty contentType is application/octet-stream.
func (c *Client) Upload(ctx context.Context, user, name, contentType string, from io.Reader) (File, error) {
	ref, err := events.Payloads{Conn: c.conn}.Copy(ctx, user, from, c.maxFile())
	if err != nil {
		return File{}, fmt.Errorf("plugfn: uploading %s: %w", name, err)
	}
	return File{PayloadRef: ref, Name: name, ContentType: contentType}, nil
}

func (c *Client) maxFile() int64 {
	if c.maxData < 0 {
		return defaultMaxData
	}
	return c.maxData
}

// Download reads a file piece by piece. What comes is checked against its hash:
// only when reading has ended without an error, all of it is right.
func (c *Client) Download(ctx context.Context, f File) (io.Reader, error) {
	r, err := events.Payloads{Conn: c.conn}.Open(ctx, f.PayloadRef, c.maxFile())
	if err != nil {
		return nil, fmt.Errorf("plugfn: downloading %s: %w", f.Name, err)
	}
	return r, nil
}
