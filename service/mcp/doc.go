// Package mcp gives the fleet to agents as tools of the Model Context Protocol.
//
// It is a way of asking, beside the command line and the gateway: it sits on
// package client and knows neither of them. `runnel mcp` serves it on standard
// input and output with the rights of its NATS user, and a gateway mounts its
// Handler and says by Config.May what each caller's token allows. That is why it
// is no part of package gateway, which `runnel mcp` has no use for.
//
// No state is kept between two calls. What takes longer than a caller wants to
// wait is answered with a cursor, which says all that is needed to go on, here or
// at another gateway. Every result has a bound, and says what was left out of it.
package mcp
