// Package gateway is the fleet over HTTP.
//
// It translates: requests become those of the client, records become JSON. It
// owns no state that another gateway could miss, so that any number of them may
// serve one fleet, and a client may meet another one at each request.
//
// Its parts are rooms, each a package that gives rows of one table: a method and
// a pattern, who may call it, and the function that answers. A new one is a line
// in the list of rooms. Those of older programs (prunner, codecanvas, Piston)
// are answered byte by byte as those did.
package gateway
