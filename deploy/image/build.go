package main

import (
	"archive/tar"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// release is what an image says about itself.
type release struct {
	version, revision string
	created           time.Time
	license           string // path
}

// settings are the parts of the image's configuration that the Dockerfile has as
// well.
func settings() v1.Config {
	return v1.Config{
		User:         "65532:65532",
		WorkingDir:   "/" + storePath,
		Entrypoint:   []string{"/" + programPath},
		Cmd:          []string{"serve"},
		Env:          []string{"PATH=/usr/local/bin", "PLUGFN_DATA_DIR=/" + storePath, "PLUGFN_HTTP_ADDR=:8484"},
		ExposedPorts: map[string]struct{}{"8484/tcp": {}},
		Volumes:      map[string]struct{}{"/" + storePath: {}},
		StopSignal:   "SIGTERM",
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/" + programPath, "healthcheck"},
			Interval: 10 * time.Second, Timeout: 5 * time.Second, StartPeriod: 30 * time.Second, Retries: 3,
		},
	}
}

// labels are those of the OCI's annotation keys.
func (r release) labels() map[string]string {
	const name = "org.opencontainers.image."
	return map[string]string{
		name + "title":         "PlugFn",
		name + "description":   "Act in your users' accounts and hear what happens there, over one message bus",
		name + "source":        "https://github.com/plugfn/plugfn",
		name + "documentation": "https://github.com/plugfn/plugfn/blob/main/docs/operations.md",
		name + "licenses":      "Apache-2.0",
		name + "vendor":        "PlugFn",
		name + "version":       r.version,
		name + "revision":      r.revision,
		name + "created":       r.created.UTC().Format(time.RFC3339),
	}
}

// buildIndex makes one image for each program. sboms is a directory for their
// SBOMs, "" for none.
func buildIndex(r release, programs []string, sboms string) (v1.ImageIndex, error) {
	license, err := os.ReadFile(r.license)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, program := range programs {
		image, platform, err := buildImage(r, program, license, sboms)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	annotated, ok := mutate.Annotations(index, r.labels()).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("an index with annotations is none any more")
	}
	return annotated, nil
}

func buildImage(r release, program string, license []byte, sboms string) (v1.Image, *v1.Platform, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, nil, err
	}
	platform := platformOf(info)
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, nil, err
	}
	sbom, err := makeSBOM(r, info, content)
	if err != nil {
		return nil, nil, err
	}
	if sboms != "" {
		name := fmt.Sprintf("plugfn_%s_%s.cdx.json", platform.OS, platform.Architecture)
		if err := os.WriteFile(filepath.Join(sboms, name), sbom, 0o644); err != nil { //nolint:gosec // to be published
			return nil, nil, err
		}
	}
	image, err := assemble(r, platform, [][]file{
		baseFiles(license),
		{{name: sbomPath, mode: 0o644, content: sbom}, {name: programPath, mode: 0o755, content: content}},
	})
	return image, platform, err
}

func platformOf(info *buildinfo.BuildInfo) *v1.Platform {
	p := &v1.Platform{}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			p.OS = s.Value
		case "GOARCH":
			p.Architecture = s.Value
		}
	}
	return p
}

func assemble(r release, platform *v1.Platform, layers [][]file) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range layers {
		l, err := layer(files, r.created)
		if err != nil {
			return nil, err
		}
		add := mutate.Addendum{Layer: l, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "image build"}}
		if image, err = mutate.Append(image, add); err != nil {
			return nil, err
		}
	}
	cfg, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.Created, cfg.OS, cfg.Architecture = v1.Time{Time: r.created}, platform.OS, platform.Architecture
	cfg.Config = settings()
	cfg.Config.Labels = r.labels()
	return mutate.ConfigFile(image, cfg)
}

// writeTar writes an image layout as one file, for skopeo (oci-archive:), podman
// load, ctr and kind, and docker load with the containerd store.
func writeTar(name string, index v1.ImageIndex, reference string) (err error) {
	dir, err := os.MkdirTemp("", "plugfn-image-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference,
	})); err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	return errors.Join(addTree(w, dir), w.Close(), out.Close())
}

// addTree adds the files below dir, without what tells one run from the next.
func addTree(w *tar.Writer, dir string) error {
	return filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		info, err := in.Stat()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(relative), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = io.Copy(w, in)
		return err
	})
}
