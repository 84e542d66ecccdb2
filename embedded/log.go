package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog hands the server's log to slog. It is also how the server tells of
// a start that failed: nats-server calls Fatalf, where its own logger would
// end the process, and returns from Start.
type serverLog struct {
	log *slog.Logger

	mu      sync.Mutex
	fatal   error // the first
	trouble error // with the store, until it is forgotten
	wake    chan struct{}
}

// levelTrace is for what nats-server calls debug: several lines a connection.
const levelTrace = slog.LevelDebug - 4

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log.With("component", "nats-server"), wake: make(chan struct{}, 1)}
}

func (l *serverLog) wantsTrace() bool { return l.log.Enabled(context.Background(), levelTrace) }

func (l *serverLog) write(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}

func (l *serverLog) Noticef(format string, args ...any) { l.write(slog.LevelDebug, format, args) }
func (l *serverLog) Warnf(format string, args ...any)   { l.write(slog.LevelDebug, format, args) }
func (l *serverLog) Debugf(format string, args ...any)  { l.write(levelTrace, format, args) }
func (l *serverLog) Tracef(format string, args ...any)  { l.write(levelTrace, format, args) }

func (l *serverLog) Errorf(format string, args ...any) {
	if !l.isTrouble(fmt.Sprintf(format, args...)) {
		l.write(slog.LevelWarn, format, args)
	}
}

// isTrouble takes note of a store that can't be written to, and passes over what
// the server says of it again and again: the watch says it once.
func (l *serverLog) isTrouble(text string) bool {
	trouble := storeTrouble(text)
	if trouble == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble == nil {
		l.trouble = trouble
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

func (l *serverLog) storeTrouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

func (l *serverLog) forgetTrouble() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = nil
	select {
	case <-l.wake:
	default:
	}
}

func (l *serverLog) forgetFatal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = nil
}

func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal != nil {
		return
	}
	// The cause is among the arguments: keep it whole, so that a caller can
	// look for it with errors.Is.
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			l.fatal = err
			return
		}
	}
	l.fatal = fmt.Errorf(format, args...)
}

func (l *serverLog) fatalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
