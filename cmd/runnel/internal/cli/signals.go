package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// LeaveSignal (^\ on a terminal) makes a command that waits leave at once.
const LeaveSignal = syscall.SIGQUIT

// OnInterrupt ends the context with the first signal to end.
func OnInterrupt(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
