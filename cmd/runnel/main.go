// Command runnel runs commands, looks at hosts and keeps clocks right across a
// fleet, over NATS and nothing else.
package main

import "github.com/runnel-io/runnel/cmd/runnel/internal/commands"

func main() { commands.Main() }
