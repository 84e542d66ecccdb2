package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"github.com/runnel-io/runnel/service/lines"
)

// spool is a file of messages that wait for the stream, in order. It is written and read at once: what is read is
// forgotten when all of it is. A frame is
//
//	length of the body  4 bytes, little endian; the highest bit says that the head has a place, the next
//	                    one that the body tells what is missing here
//	CRC-32C             4 bytes, of all that follows
//	number in the run   8 bytes
//	place in the log    24 bytes: first line, bytes of stdout and of stderr before it
//	body
//
// so that a file whose last write was cut short ends before it. Runners before the place was there have left files without.
type spool struct {
	path     string
	maxBytes int64
	file     *os.File // nil until there is something
	read     int64    // where the next frame to be read begins
	written  int64    // where the last whole frame ends
	frame    int64    // size of the frame at read, once next has read it
	buf      []byte   // head of the frame that is being written
}

const (
	shortHead = 16
	frameHead = 40
	hasPlace  = 1 << 31
	isMissing = 1 << 30
)

var (
	errSpoolFull = errors.New("the spool is full")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// openSpool opens what a runner has left, for reading. It returns fs.ErrNotExist where it left nothing.
func openSpool(path string) (*spool, error) {
	if path == "" {
		return nil, fs.ErrNotExist
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open spool: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot open spool: %w", err)
	}
	return &spool{path: path, file: file, written: info.Size()}, nil
}

func (s *spool) empty() bool { return s.read == s.written }

// append adds a message. It returns errSpoolFull when there is no room, and then the file is as it was.
func (s *spool) append(m outgoing) error {
	body := m.body
	if s.path == "" || s.written+frameHead+int64(len(body)) > s.maxBytes && !m.missing {
		return errSpoolFull // which what is missing is told in spite of
	}
	if s.file == nil {
		file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("cannot create spool: %w", err)
		}
		s.file = file
	}
	size := uint32(len(body)) | hasPlace
	if m.missing {
		size |= isMissing
	}
	s.buf = binary.LittleEndian.AppendUint32(s.buf[:0], size)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, 0)
	for _, v := range []uint64{m.number, uint64(m.head.Pos), uint64(m.head.Bytes[0]), uint64(m.head.Bytes[1])} {
		s.buf = binary.LittleEndian.AppendUint64(s.buf, v)
	}
	binary.LittleEndian.PutUint32(s.buf[4:], frameSum(s.buf, body))
	if _, err := s.file.WriteAt(s.buf, s.written); err != nil {
		return fmt.Errorf("cannot write spool: %w", err)
	}
	if _, err := s.file.WriteAt(body, s.written+frameHead); err != nil {
		return fmt.Errorf("cannot write spool: %w", err)
	}
	s.written += frameHead + int64(len(body))
	return nil
}

func frameSum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, body)
}

// next reads a message into buf and stays where it is. It returns io.EOF at the end, and where what follows was never written
// whole.
func (s *spool) next(buf []byte) (outgoing, error) {
	none := outgoing{body: buf}
	var place [frameHead]byte
	head := place[:shortHead]
	if _, err := s.file.ReadAt(head, s.read); err != nil {
		return none, tornTail(err)
	}
	size := binary.LittleEndian.Uint32(head)
	missing := size&isMissing != 0
	size &^= isMissing
	if size&hasPlace != 0 {
		size &^= hasPlace
		head = place[:]
		if _, err := s.file.ReadAt(head[shortHead:], s.read+shortHead); err != nil {
			return none, tornTail(err)
		}
	}
	frame := int64(len(head)) + int64(size)
	if s.read+frame > s.written {
		return none, io.EOF
	}
	if cap(buf) < int(size) {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := s.file.ReadAt(buf, s.read+int64(len(head))); err != nil {
		return none, tornTail(err)
	}
	if frameSum(head, buf) != binary.LittleEndian.Uint32(head[4:]) {
		return none, io.EOF
	}
	s.frame = frame
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(place[i:])) }
	return outgoing{number: uint64(at(8)), head: lines.Head{Pos: at(16), Bytes: [2]int64{at(24), at(32)}}, body: buf, missing: missing}, nil
}

func tornTail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return fmt.Errorf("cannot read spool: %w", err)
}

// skip goes past the first message, whether next has read it or it was only put there. When that was the last one, the file is
// empty again.
func (s *spool) skip() error {
	if s.frame == 0 {
		if _, err := s.next(nil); err != nil {
			return err
		}
	}
	s.read, s.frame = s.read+s.frame, 0
	if !s.empty() {
		return nil
	}
	return s.reset()
}

// reset forgets all there is.
func (s *spool) reset() error {
	s.read, s.written, s.frame = 0, 0, 0
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("cannot empty spool: %w", err)
	}
	return nil
}

// close leaves the file for a later Resume if it holds something.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if s.empty() {
		return s.remove()
	}
	return err
}

// remove closes and deletes the file.
func (s *spool) remove() error {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	if s.path == "" {
		return nil
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
