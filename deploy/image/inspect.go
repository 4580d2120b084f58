package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	maxFile  = 512 << 20 // bytes of one file in a tar
	minRoots = 100       // Mozilla trusts more
)

// inspect checks the images of a tar, says what they are, and with serve runs
// the one that is for this machine.
func inspect(name string, serve bool, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "plugfn-inspect-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	images, err := readTar(name, dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	for _, image := range images {
		cfg, err := image.ConfigFile()
		if err != nil {
			return err
		}
		files, err := flatten(image)
		if err != nil {
			return err
		}
		platform := cfg.OS + "/" + cfg.Architecture
		if err := errors.Join(checkConfig(cfg.Config), checkFiles(files, cfg.Architecture)); err != nil {
			return fmt.Errorf("%s, %s: %w", name, platform, err)
		}
		if err := describe(out, image, platform, files); err != nil {
			return err
		}
		if serve && platform == runtime.GOOS+"/"+runtime.GOARCH {
			if err := tryOut(files, cfg.Config, out); err != nil {
				return fmt.Errorf("%s, %s: %w", name, platform, err)
			}
		}
	}
	return nil
}

// readTar returns the images of an image layout, all digests of which are right.
func readTar(name, dir string) ([]v1.Image, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := unpack(tar.NewReader(in), dir); err != nil {
		return nil, err
	}
	if err := checkBlobs(filepath.Join(dir, "blobs", "sha256")); err != nil {
		return nil, err
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	named, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(named.Manifests) != 1 {
		return nil, fmt.Errorf("it names %d indexes, must be one", len(named.Manifests))
	}
	index, err := outer.ImageIndex(named.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	if err := validate.Index(index); err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// checkBlobs makes sure that each blob is what its name says.
func checkBlobs(dir string) error {
	blobs, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		content, err := os.ReadFile(filepath.Join(dir, b.Name()))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != b.Name() {
			return fmt.Errorf("blob %s is damaged", b.Name())
		}
	}
	return nil
}

func unpack(r *tar.Reader, dir string) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q is no path in a tar", h.Name)
		}
		target := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		f, err := os.Create(target)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, io.LimitReader(r, maxFile))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// flatten returns the files of an image as a container sees them, by name.
func flatten(image v1.Image) (map[string]file, error) {
	stream := mutate.Extract(image)
	defer stream.Close()
	files := map[string]file{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		f := file{name: path.Clean(h.Name), mode: h.Mode, owner: h.Uid}
		if h.Typeflag == tar.TypeReg {
			if f.content, err = io.ReadAll(io.LimitReader(r, maxFile)); err != nil {
				return nil, err
			}
		}
		files[f.name] = f
	}
}

func checkConfig(c v1.Config) error {
	var problems []error
	if user, group, _ := strings.Cut(c.User, ":"); user != fmt.Sprint(account) || group != user {
		problems = append(problems, fmt.Errorf("user %q: must be %d:%[2]d, a number, so that runAsNonRoot can be checked", c.User, account))
	}
	if !slices.Equal(c.Entrypoint, []string{"/" + programPath}) {
		problems = append(problems, fmt.Errorf("entrypoint %q: must be the program", c.Entrypoint))
	}
	for name := range (release{}).labels() {
		if c.Labels[name] == "" {
			problems = append(problems, fmt.Errorf("label %s is missing or empty", name))
		}
	}
	return errors.Join(problems...)
}

func checkFiles(files map[string]file, architecture string) error {
	problems := []error{checkProgram(files[programPath], architecture), checkRoots(files[rootsPath].content), checkSBOM(files[sbomPath].content)}
	for name, f := range files {
		switch {
		case f.mode&0o111 != 0 && f.content != nil && name != programPath:
			problems = append(problems, fmt.Errorf("%s can be run: only %s may be", name, programPath))
		case f.mode&0o6000 != 0:
			problems = append(problems, fmt.Errorf("%s is setuid or setgid", name))
		case f.mode&0o002 != 0 && name != "tmp":
			problems = append(problems, fmt.Errorf("%s can be written by everybody", name))
		}
	}
	if store, ok := files[storePath]; !ok || store.owner != account {
		problems = append(problems, fmt.Errorf("%s must belong to %d", storePath, account))
	}
	return errors.Join(problems...)
}

// checkProgram makes sure that a program needs no library and no loader.
func checkProgram(f file, architecture string) error {
	program, err := elf.NewFile(bytes.NewReader(f.content))
	if err != nil {
		return fmt.Errorf("%s: %w", programPath, err)
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]; program.Machine != want {
		return fmt.Errorf("%s is for %s, the image for %s", programPath, program.Machine, architecture)
	}
	libraries, err := program.ImportedLibraries()
	if err != nil || len(libraries) > 0 {
		return fmt.Errorf("%s needs libraries: %q, %w", programPath, libraries, err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs a loader: build it with CGO_ENABLED=0", programPath)
		}
	}
	return nil
}

func checkRoots(text []byte) error {
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("%s: %w", rootsPath, err)
		}
		count++
	}
	if count < minRoots {
		return fmt.Errorf("%s: %d certificates, must be at least %d", rootsPath, count, minRoots)
	}
	return nil
}

func checkSBOM(text []byte) error {
	var bom cdx.BOM
	if err := json.Unmarshal(text, &bom); err != nil {
		return fmt.Errorf("%s: %w", sbomPath, err)
	}
	if bom.Components == nil || len(*bom.Components) == 0 || (*bom.Components)[0].Name != "std" {
		return fmt.Errorf("%s does not list what the program was linked from", sbomPath)
	}
	return nil
}

func describe(out io.Writer, image v1.Image, platform string, files map[string]file) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	var size int64
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return err
		}
		size += n
	}
	_, err = fmt.Fprintf(out, "%s  %s  %.1f MiB compressed, %d files\n", platform, digest, float64(size)/(1<<20), len(files))
	return err
}
