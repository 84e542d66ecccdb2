// Package stdio speaks the agents' protocol over standard input and output, as
// robustly as scripts need it.
package stdio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// maxMessage is how long a message of a client may be.
	maxMessage = 4 << 20
	// lastAnswers is how long calls have for their answers when the client's side
	// has been closed: scripts write a few lines and end.
	lastAnswers = 3 * time.Second
)

// Transport is a session on a pair of streams, a message a line. A line that is no
// message is answered with an error and harms no other. cancel is called when the
// client's side has been closed and the last answers are written.
func Transport(in io.Reader, out io.Writer, cancel context.CancelFunc) sdk.Transport {
	w := &lockedWriter{w: out}
	r, feed := io.Pipe()
	go func() { _ = feed.CloseWithError(sift(in, feed, w)) }()
	return &transport{&sdk.IOTransport{Reader: r, Writer: w, MaxLineLength: maxMessage}, cancel}
}

// lockedWriter has two writers: the library, and what answers lines that it never
// sees.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Close leaves the stream to whoever opened it.
func (l *lockedWriter) Close() error { return nil }

// sift passes the lines on that are messages. The library would end the session at
// the first one that is not.
func sift(in io.Reader, to io.Writer, answer io.Writer) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, tooLong, err := readLine(lines)
		line = bytes.TrimSpace(line)
		if fault := faultOf(line, tooLong); fault != nil {
			if _, err := answer.Write(fault); err != nil {
				return err
			}
		} else if len(line) > 0 {
			if _, err := to.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads a line; of one that is too long nothing is kept.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(piece) > maxMessage; tooLong {
			line = nil
		} else {
			line = append(line, piece...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// faultOf is the answer to a line that is no message; nil if it is one, or empty.
func faultOf(line []byte, tooLong bool) []byte {
	code, text := jsonrpc.CodeInvalidRequest, ""
	switch {
	case tooLong:
		text = fmt.Sprintf("the message has more than %d bytes", maxMessage)
	case len(line) == 0:
		return nil
	case !json.Valid(line):
		code, text = jsonrpc.CodeParseError, "the line is no JSON"
	case line[0] == '[':
		text = "several messages in one are not supported: write one a line"
	default:
		if _, err := jsonrpc.DecodeMessage(line); err != nil {
			text = "the line is no message of JSON-RPC 2.0: " + err.Error()
		}
	}
	if text == "" {
		return nil
	}
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": code, "message": text}})
	return append(body, '\n')
}

// transport waits for the answers to the last calls when the client's side has
// ended, for the library cancels what goes on then.
type transport struct {
	sdk.Transport
	cancel context.CancelFunc
}

// Connect: see sdk.Transport.
func (t *transport) Connect(ctx context.Context) (sdk.Connection, error) {
	c, err := t.Transport.Connect(ctx)
	return &conn{Connection: c, idle: make(chan struct{}, 1), closed: make(chan struct{}), cancel: t.cancel}, err
}

type conn struct {
	sdk.Connection
	mu      sync.Mutex
	pending int
	idle    chan struct{} // told when no call is pending
	once    sync.Once
	closed  chan struct{}
	cancel  context.CancelFunc
}

// Close: see sdk.Connection.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Connection.Close()
}

// Read: see sdk.Connection.
func (c *conn) Read(ctx context.Context) (jsonrpc.Message, error) {
	msg, err := c.Connection.Read(ctx)
	if req, ok := msg.(*jsonrpc.Request); ok && err == nil && req.IsCall() {
		c.count(1)
	}
	if err != nil {
		c.wait(ctx)
		c.cancel()
	}
	return msg, err
}

// Write: see sdk.Connection.
func (c *conn) Write(ctx context.Context, msg jsonrpc.Message) error {
	err := c.Connection.Write(ctx, msg)
	if _, ok := msg.(*jsonrpc.Response); ok {
		c.count(-1)
	}
	return err
}

func (c *conn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending += n; c.pending == 0 {
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

func (c *conn) wait(ctx context.Context) {
	limit := time.NewTimer(lastAnswers)
	defer limit.Stop()
	for {
		c.mu.Lock()
		pending := c.pending
		c.mu.Unlock()
		if pending <= 0 {
			return
		}
		select {
		case <-c.idle:
		case <-limit.C:
			return
		case <-c.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}
