// Package gateway is the fleet over HTTP.
//
// It translates: requests become those of the client, records become JSON. It keeps no
// state of its own, so any number of them may serve one fleet, and each request of a
// client may reach another one.
//
// Its parts are called rooms. Each is a package that gives rows of one table: a method
// and a pattern, who may call it, and the function that answers. A new one is a line
// in the list of rooms. Those of older programs (prunner, codecanvas, Piston) are
// answered byte for byte as those programs did.
package gateway
