package sandbox

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Messages between runner and shim: four bytes of length, and the body; descriptors come with the first byte.

var errClosed = errors.New("the other end is closed")

func receiveOrder(sock int) (*order, []int, error) {
	body, fds, err := receiveAll(sock)
	if err != nil {
		return nil, fds, err
	}
	o, err := decodeOrder(body)
	return o, fds, err
}

func sendAll(sock int, body []byte, fds []int) error {
	message := append(binary.NativeEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...)
	return send(sock, message, fds)
}

func send(sock int, message []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for len(message) > 0 {
		n, err := unix.SendmsgN(sock, message, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		message, rights = message[n:], nil
	}
	return nil
}

// receive reads once.
func receive(sock int, buf []byte) (n int, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(8*4))
	var oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
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

func receiveAll(sock int) (body []byte, fds []int, err error) {
	var head [4]byte
	n, fds, err := receive(sock, head[:])
	if err != nil {
		return nil, fds, err
	}
	if rest, err := readFull(sock, head[n:]); err != nil || n+rest != len(head) {
		return nil, fds, errOrder
	}
	size := binary.NativeEndian.Uint32(head[:])
	if size > maxOrderBytes {
		return nil, fds, errOrder
	}
	body = make([]byte, size)
	if n, err := readFull(sock, body); err != nil || n != len(body) {
		return nil, fds, errOrder
	}
	return body, fds, nil
}
