package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "build":
		return runBuild(args[1:], out)
	case "inspect":
		return runInspect(args[1:], out)
	default:
		return errors.New("usage: image build|inspect -help")
	}
}

func runBuild(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("image build", flag.ContinueOnError)
	var r release
	flags.StringVar(&r.version, "version", "dev", "version of PlugFn")
	flags.StringVar(&r.revision, "revision", "", "commit that it was built from")
	flags.StringVar(&r.license, "license", "../LICENSE", "file of the licence")
	created := flags.String("created", "1970-01-01T00:00:00Z", "date of the commit, RFC 3339; the same input and date make the same image")
	name := flags.String("name", "ghcr.io/plugfn/plugfn", "name of the image, without a tag")
	tar := flags.String("out", "", "tar to write")
	sboms := flags.String("sbom", "", "directory for the SBOM of each platform; empty: in the image only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *tar == "" || flags.NArg() == 0 {
		return errors.New("usage: image build -out FILE.tar [flags] PROGRAM...")
	}
	var err error
	if r.created, err = time.Parse(time.RFC3339, *created); err != nil {
		return fmt.Errorf("-created: %w", err)
	}
	index, err := buildIndex(r, flags.Args(), *sboms)
	if err != nil {
		return err
	}
	if err := writeTar(*tar, index, *name+":"+strings.TrimPrefix(r.version, "v")); err != nil {
		return fmt.Errorf("writing %s: %w", *tar, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n%s@%s\n", *tar, *name, digest)
	return err
}

func runInspect(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("image inspect", flag.ContinueOnError)
	serve := flags.Bool("run", false, "serve from it in a chroot, which only root may, and stop it again")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: image inspect [-run] FILE.tar")
	}
	return inspect(flags.Arg(0), *serve, out)
}
