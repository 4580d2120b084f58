// Package catalog holds the packs that come with PlugFn: one folder per
// provider, with its provider.yaml and the fixtures that prove it.
//
//	packs, err := providers.LoadAll(catalog.FS)
//
// Allowed imports: the standard library.
package catalog

import "embed"

// FS has one folder per provider.
//
//go:embed */provider.yaml */fixtures
var FS embed.FS
