// Package settings reads what the operator has set.
//
// Each setting is one row of one table ([Table]); help, documentation and flags
// are made from it. A value comes from, strongest first: a flag, an environment
// variable PLUGFN_*, the YAML file that PLUGFN_CONFIG names, the default.
//
// Guarantees:
//   - A value that is not allowed is an error that says where it was set, what
//     it is (but never a secret) and what is allowed.
//   - An unknown key of the file is an error. An unknown PLUGFN_* variable is
//     only told ([Settings.Unknown]): containers are given variables that
//     nobody asked for.
//   - A secret is read from a variable or, with _FILE behind its name, from a
//     file; there is no flag that takes one.
//
// This is the only package of the program that knows names of variables;
// services are given values.
package settings
