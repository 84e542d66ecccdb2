// Package service is the NATS micro service of a runner.
//
// One table (endpoints.go) lists what can be asked: the verb, the scopes in
// which it is heard, the handler. Start registers it with micro, so that the
// stock tools discover and measure it, and adds what micro has not: a request's
// own goroutine, so that handlers never block one another; the any scopes of
// task, which a runner leaves while it has no free place; selectors; errors as
// headers and as a JSON body.
//
// A handler is given a decoded and validated request and returns a reply or an
// error; errors.go maps errors to codes, in one place.
//
// Any Go program can be a runner: see Start's example. What this package
// serves, package client asks for; a file here has one of the same name there.
package service
