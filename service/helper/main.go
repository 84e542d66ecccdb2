package helper

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

const (
	name     = "runnel-helper" // os.Args[0] of a helper
	socketFD = 3
)

// maxMessage bounds a request or an answer: a reply of glance is no longer than
// a message of NATS, 64 MiB at most.
const maxMessage = 128 << 20

// mainCalled says that this program can be its own helper.
var mainCalled atomic.Bool

// Main makes a program its own helper: called first in main, it returns at once,
// unless the program was started as a helper, and then it never returns. Serve
// answers one request; it is called by one goroutine.
func Main(serve func(request []byte) []byte) {
	mainCalled.Store(true)
	if len(os.Args) != 1 || os.Args[0] != name {
		return
	}
	// It ends when its socket does: a stop of the whole service lets those at work finish.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	socket := os.NewFile(socketFD, "socket")
	for {
		request, err := receive(socket)
		if err != nil {
			os.Exit(0) // the runner has ended, or needs no helper any more
		}
		if err := send(socket, serve(request)); err != nil {
			os.Exit(0)
		}
	}
}

func send(w io.Writer, message []byte) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(message)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(message)
	return err
}

var errTooLong = errors.New("the message is too long")

func receive(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, errTooLong
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}
