// Package attempt has one task of a job run by the fleet: it finds a runner, or
// every one that matches, asks, and waits for the end.
package attempt
