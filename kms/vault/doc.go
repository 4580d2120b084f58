// Package vault wraps PlugFn's keyset with a key of HashiCorp Vault's transit
// engine, or of OpenBao's, which has the same API. The key never leaves Vault;
// PlugFn asks it at its start and at each change of the keyset.
//
// A [Transit] is what services/auth calls a Wrapper. The program
// plugfn-kek-vault next to it makes one usable without linking it:
//
//	PLUGFN_KEK_COMMAND="plugfn-kek-vault -key plugfn" plugfn serve
//
// This is a module of its own, so that what talks to a KMS is no part of
// PlugFn. It uses the standard library only.
package vault
