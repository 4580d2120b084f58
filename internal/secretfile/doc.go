// Package secretfile keeps secrets, and other files for one person only, on disk:
// written as a whole or not at all, with mode 0600, and made once.
//
// Allowed imports: the standard library, pkg/providers.
package secretfile
