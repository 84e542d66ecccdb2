// Package output proves that a run's log is right: every byte of each stream,
// in order and once, live and on replay, whatever happens to the server on the
// way. The runner, the server and the tasks are processes of their own; who
// asks and reads has plain nats.go and package wire.
package output
