// Package embedded runs a NATS server with JetStream inside this process.
//
// It is what makes Runnel work with nothing installed: `runnel serve` starts one for
// this machine and `runnel run` starts one for a single command. It is the stock
// nats-server, so every NATS client works with it, and a fleet that outgrows it uses a
// cluster instead.
//
// There are three forms:
//
//   - On disk and listening, the default. Streams survive a restart. The
//     server listens on 127.0.0.1 and lets nobody in without the nkey whose
//     seed it keeps, mode 0600, in its data directory.
//   - Config.Memory: the store goes into a temporary directory that is gone
//     after Close. Should the process die before that, the next such server
//     of the same user clears it away.
//   - Config.InProcessOnly: no listener at all. The only way in is
//     Server.Connect, so there is nobody to authenticate.
//
// A data directory belongs to one server at a time; a lock that dies with its
// process (see Lock) sees to that, so a restart right after a kill -9 works.
//
// The package installs no signal handler and never exits the process: everything that
// goes wrong at the start is an error of Start. The server's own log goes to
// Config.Logger at level debug, its errors at level warn.
package embedded
