package term

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/lines"
)

const (
	streamBuffer = 64 << 10
	// flushAfter is how long text may stay in a buffer: too short to see, long
	// enough for a flood to fill it.
	flushAfter = 10 * time.Millisecond
)

// Streams writes the two outputs of runs. Text is on its way at most
// flushAfter, and where both end on one screen, their order is kept. Safe for
// concurrent use.
type Streams struct {
	mu      sync.Mutex
	buffers [2]*bufio.Writer // by lines.Stream
	timer   *time.Timer
	armed   bool
	err     error // the first
}

func NewStreams(out, err io.Writer) *Streams {
	s := &Streams{buffers: [2]*bufio.Writer{bufio.NewWriterSize(out, streamBuffer), bufio.NewWriterSize(err, streamBuffer)}}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	s.timer.Stop()
	return s
}

// Write writes the parts to one stream, in one piece.
func (s *Streams) Write(stream lines.Stream, parts ...[]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.buffers[1-stream].Flush())
	for _, part := range parts {
		_, err := s.buffers[stream].Write(part)
		s.note(err)
	}
	if !s.armed {
		s.armed = true
		s.timer.Reset(flushAfter)
	}
	return s.err
}

func (s *Streams) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushBoth()
}

func (s *Streams) flushBoth() {
	s.armed = false
	for _, buffer := range s.buffers {
		s.note(buffer.Flush())
	}
}

// Flush writes out what is left.
func (s *Streams) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.flushBoth()
	return s.err
}

func (s *Streams) note(err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("cannot print: %w", cli.Cause(err))
	}
}
