package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// makeSBOM lists what a program was linked from, as the program itself says it:
// its modules and Go.
func makeSBOM(r release, info *buildinfo.BuildInfo, program []byte) ([]byte, error) {
	sum := sha256.Sum256(program)
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.created.UTC().Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: "plugfn", Type: cdx.ComponentTypeApplication, Name: "plugfn", Version: r.version,
			PackageURL: purl(info.Main.Path, r.version),
			Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
			Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		},
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	components := []cdx.Component{{
		BOMRef: purl("std", goVersion), Type: cdx.ComponentTypeLibrary, Name: "std", Version: goVersion, PackageURL: purl("std", goVersion),
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "BSD-3-Clause"}}},
	}}
	for _, dep := range info.Deps {
		components = append(components, component(dep))
	}
	bom.Components = &components
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: "plugfn", Dependencies: &refs}}
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, fmt.Errorf("writing the SBOM: %w", err)
	}
	return text.Bytes(), nil
}

func component(dep *debug.Module) cdx.Component {
	if dep.Replace != nil {
		dep = dep.Replace
	}
	c := cdx.Component{
		BOMRef: purl(dep.Path, dep.Version), Type: cdx.ComponentTypeLibrary, Name: dep.Path, Version: dep.Version,
		PackageURL: purl(dep.Path, dep.Version),
	}
	if dep.Sum != "" { // of the module's files, as in go.sum: not that of one file, as CycloneDX means a hash
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: dep.Sum}}
	}
	return c
}

func purl(path, version string) string { return "pkg:golang/" + path + "@" + version }
