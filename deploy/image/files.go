package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Where things are in the image.
const (
	programPath = "usr/local/bin/plugfn"
	rootsPath   = "etc/ssl/certs/ca-certificates.crt"
	sbomPath    = "usr/share/doc/plugfn/sbom.cdx.json"
	licensePath = "usr/share/doc/plugfn/LICENSE"
	storePath   = "var/lib/plugfn"

	// account is the user and the group that the program runs as.
	account = 65532
)

// file is one entry of a layer; one without content is a directory.
type file struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

// baseFiles are what the program needs around it.
func baseFiles(license []byte) []file {
	return []file{
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/sbin/nologin\nplugfn:x:65532:65532:plugfn:/var/lib/plugfn:/sbin/nologin\n")},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nplugfn:x:65532:\n")},
		{name: rootsPath, mode: 0o644, content: roots()},
		{name: licensePath, mode: 0o644, content: license},
		{name: "tmp", mode: 0o1777},
		{name: storePath, mode: 0o700, owner: account},
	}
}

// roots are the certificates that Mozilla trusts without a condition: a file of
// certificates cannot say conditions.
func roots() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // into memory
		}
	}
	return all.Bytes()
}

// layer makes a layer of files, in the order of their names and with the
// directories above them.
func layer(files []file, created time.Time) (v1.Layer, error) {
	files = withParents(files)
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	for _, f := range files {
		h := &tar.Header{
			Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: created,
			Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		}
		if f.content == nil {
			h.Typeflag, h.Name = tar.TypeDir, f.name+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("layer: %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("layer: %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all.Bytes())), nil })
}

func withParents(files []file) []file {
	all := slices.Clone(files)
	seen := map[string]bool{".": true}
	for _, f := range files {
		seen[f.name] = true
	}
	for _, f := range files {
		for dir := path.Dir(f.name); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			all = append(all, file{name: dir, mode: 0o755})
		}
	}
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return all
}
