package glance

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
)

// span is what of a file is to be read.
type span struct {
	start int64
	count int64 // at most
	// tail: the size is unknown, as under /proc, and a piece is wanted that
	// begins this far from the end and has length bytes at most.
	tail, length int64
}

// file reads a file or a piece of it. Room is for the base64 form.
func (g *Glancer) file(ctx context.Context, q *pb.FileQuery, room int, reply *pb.FileReply) error {
	path := pathIn(q.GetPath(), q.GetPathBytes())
	if path == "" {
		return errors.New("invalid file: file.path is missing")
	}
	if q.GetMaxSize() < 0 || q.GetLength() < 0 {
		return errors.New("invalid size: file.maxSize and file.length must not be negative")
	}
	if m, is := g.mayHang(path); is {
		seen, err := g.aside(ctx, m, room, &pb.Glance{File: q})
		if seen.GetFile() != nil {
			proto.Merge(reply, seen.File)
		}
		return fileError(path, err)
	}
	f, err := g.openFile(path)
	if err != nil {
		return fileError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileError(path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("invalid file: %s is not a regular file", shown(path))
	}
	reply.Size = info.Size()
	isPiece := q.Offset != nil || q.Length != nil
	s, err := spanOf(q, info.Size(), isPiece)
	if err != nil {
		return err
	}
	fits := int64(base64.StdEncoding.DecodedLen(room / 4 * 4))
	if info.Size() > 0 && s.count > fits {
		return &tooLarge{fmt.Sprintf("%s: %d bytes do not fit a reply; ask for pieces of at most %d bytes with offset and length", shown(path), s.count, fits)}
	}
	content, err := read(ctx, f, s.start, min(s.count, fits+1))
	if err != nil {
		return fileError(path, err)
	}
	if int64(len(content)) > fits { // of unknown size
		return &tooLarge{fmt.Sprintf("%s: it does not fit a reply; ask for pieces of at most %d bytes with offset and length", shown(path), fits)}
	}
	if s.tail > 0 {
		n := int64(len(content))
		if n > 0 && n == s.count {
			return fmt.Errorf("invalid size: the end of %s is not within the first %d bytes (file.maxSize)", shown(path), n)
		}
		s.start = max(0, n-s.tail)
		content = content[s.start:min(n, s.start+min(s.length, n))]
	}
	if !isPiece && !isFirstLineText(content, info.Size() == 0 && int64(len(content)) == s.count) {
		return fmt.Errorf("invalid text: the first line of %s is not UTF-8", shown(path))
	}
	reply.Content = base64.StdEncoding.EncodeToString(content)
	reply.Offset = s.start
	reply.Readable = true
	return nil
}

// spanOf applies the rules for size, offset and length. A size of 0 may mean
// that nobody knows it.
func spanOf(q *pb.FileQuery, size int64, isPiece bool) (span, error) {
	most := q.GetMaxSize()
	if !isPiece {
		if size > most {
			return span{}, fmt.Errorf("invalid size: %s has %d bytes, and file.maxSize is %d", shown(pathIn(q.GetPath(), q.GetPathBytes())), size, most)
		}
		if size > 0 {
			most = size // not what is appended meanwhile
		}
		return span{count: most}, nil
	}
	s := span{start: q.GetOffset(), count: math.MaxInt64}
	if q.Length != nil {
		s.count = q.GetLength()
	}
	if s.start < 0 && size == 0 {
		return span{count: most, tail: -max(s.start, -math.MaxInt64), length: s.count}, nil
	}
	if s.start < 0 {
		s.start = max(0, size+s.start)
	}
	if size > 0 {
		s.count = min(s.count, max(0, size-s.start))
		if most == 0 && s.count > 0 {
			return span{}, errors.New("invalid size: file.maxSize is 0, so no byte may be read")
		}
	}
	s.count = min(s.count, most)
	return s, nil
}

// isFirstLineText: a rune that the end of what was read has cut is no fault.
func isFirstLineText(content []byte, isCut bool) bool {
	line, _, whole := bytes.Cut(content, []byte("\n"))
	if !whole && isCut {
		for i := 1; i < utf8.UTFMax && i <= len(line); i++ {
			if tail := line[len(line)-i:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRune(tail) {
					line = line[:len(line)-i]
				}
				break
			}
		}
	}
	return utf8.Valid(line)
}

const readBytes = 256 << 10

// read reads at most count bytes from start on, in a buffer that grows with
// what is there.
func read(ctx context.Context, f *os.File, start, count int64) ([]byte, error) {
	if count <= 0 {
		return nil, nil
	}
	r, err := newReader(f, start)
	if err != nil {
		return nil, err
	}
	content := make([]byte, 0, min(count, 4<<10))
	for int64(len(content)) < count {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(content) == cap(content) {
			bigger := make([]byte, len(content), min(count, int64(2*cap(content))))
			copy(bigger, content)
			content = bigger
		}
		n, err := r(content[len(content):min(cap(content), len(content)+readBytes)])
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		content = content[:len(content)+n]
	}
	return content, nil
}

func fileError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*codedError)):
		return err
	case isSilent(err):
		return fmt.Errorf("cannot read %s: %w", shown(path), err)
	case codeOf(err) != codeBadRequest:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot read %s: no such file or directory", shown(path))
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("invalid file: %s is a symbolic link", shown(path))
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("invalid file: %s is a directory", shown(path))
	}
	return fmt.Errorf("cannot read %s: %w", shown(path), cause(err))
}
