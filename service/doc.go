// Package service is a runner: its wiring, its configuration and one handler a
// verb.
//
// One table (endpoints.go) lists what can be asked: the verb, the scopes in
// which it is heard, the handler. Package endpoint answers it. A handler is given
// a decoded and validated request and returns a reply or an error; errors.go maps
// the errors of other packages to codes, in one place.
//
// Any Go program can be a runner: see Start's example. Its main first calls
// sandbox.ShimMain, which is what isolates and limits runs, and glance.HelperMain,
// which looks at file systems that may hang; both return at once, unless the
// program was started as one of those. Its data directory and TMPDIR belong on a
// local file system, in directories that nobody else may write to.
//
// What this package
// serves, package client asks for; a file here has one of the same name there.
package service
