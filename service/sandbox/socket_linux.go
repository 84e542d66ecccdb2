package sandbox

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Runner and shim talk over sockets that keep messages whole (SOCK_SEQPACKET). An order that is too big for one, as arguments may be, comes in a file in memory.

const (
	inlineOrder = 16 << 10 // bytes of an order in a message at most
	maxAnswer   = 2 << 10

	orderInline, orderInFile = 0, 1 // a message's first byte
)

var errClosed = errors.New("the other end is closed")

// packOrder makes the message of an order, and the file if there must be one.
func packOrder(o *order) (message []byte, file *os.File, err error) {
	body := o.encode()
	if len(body) <= inlineOrder {
		return append([]byte{orderInline}, body...), nil, nil
	}
	file, err = inputFile(body)
	return []byte{orderInFile}, file, err
}

// openOrder reads an order; the file, which is the last descriptor, is closed and taken off.
func openOrder(message []byte, fds []int) (*order, []int, error) {
	switch {
	case len(message) > 0 && message[0] == orderInline:
		o, err := decodeOrder(message[1:])
		return o, fds, err
	case len(message) == 1 && message[0] == orderInFile && len(fds) > 1:
		last := len(fds) - 1
		file := os.NewFile(uintptr(fds[last]), "order")
		defer file.Close()
		body, err := io.ReadAll(io.LimitReader(file, maxOrderBytes))
		if err != nil {
			return nil, fds[:last], err
		}
		o, err := decodeOrder(body)
		return o, fds[:last], err
	}
	return nil, fds, errOrder
}

func send(sock int, message []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		_, err := unix.SendmsgN(sock, message, rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// receiveFrom is receive without a thread that waits.
func receiveFrom(sock *os.File, buf []byte) (n int, fds []int, err error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, fds, failed = receive(int(fd), buf)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err == nil {
		err = failed
	}
	return n, fds, err
}

// receive takes one message and its descriptors.
func receive(sock int, buf []byte) (n int, fds []int, err error) {
	var oob [64]byte // seven descriptors and their header
	var oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, buf, oob[:], unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, errClosed
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return n, fds, err
		}
		fds = append(fds, more...)
	}
	return n, fds, nil
}
