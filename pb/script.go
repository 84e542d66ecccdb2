package pb

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
)

// maxScriptBytes bounds what a gzip stream may grow to.
const maxScriptBytes = 64 << 20

// The beginnings of the first line that a script may have.
const (
	shebangBash = "#!/bin/bash"
	shebangEnv  = "#!/usr/bin/env bash"
)

// flushMark is what a deflate stream that was flushed ends with (an empty stored
// block). One that just ends was cut, and what it says is not all.
var flushMark = []byte{0, 0, 0xff, 0xff}

// quickBytes is what a stream may give before it must wait for its turn: what
// grows to more is unpacked one at a time, so that many of them leave processors
// to others.
const quickBytes = 256 << 10

var turn = make(chan struct{}, 1)

// ErrGivenUp is what Unpack returns when done was closed before its end.
var ErrGivenUp = errors.New("given up")

// Unpack writes the content, unpacked, to w, and keeps nothing of it in memory. A
// gzip stream that was flushed and never closed is taken as it is: clients of
// pipego send that. It is given up when done is closed; nil never is.
func (f *File) Unpack(done <-chan struct{}, w io.Writer) error {
	if !f.GetGzip() {
		_, err := w.Write(f.GetContent())
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(f.GetContent()))
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("spec.task.file.content: gzip: invalid header")
	} else if err != nil {
		return invalid("spec.task.file.content: %s", err)
	}
	out := &unpacked{to: w, done: done}
	defer out.leave()
	_, err = io.Copy(out, z)
	switch {
	case err == nil:
	case out.failed != nil:
		return out.failed
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasSuffix(f.GetContent(), flushMark):
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("spec.task.file.content: gzip: unexpected EOF: the stream was cut")
	default: // gzip: invalid checksum, flate: corrupt input
		return invalid("spec.task.file.content: %s", err)
	}
	return nil
}

// unpacked is where an unpacked stream goes.
type unpacked struct {
	to      io.Writer
	done    <-chan struct{}
	n       int
	hasTurn bool
	failed  error // of its own, not the stream's
}

func (u *unpacked) Write(p []byte) (n int, err error) {
	u.n += len(p)
	switch {
	case u.n > maxScriptBytes:
		u.failed = invalid("spec.task.file.content: more than %d MiB unpacked", maxScriptBytes>>20)
	case u.n > quickBytes:
		u.failed = u.wait()
	}
	if u.failed == nil {
		n, u.failed = u.to.Write(p)
	}
	return n, u.failed
}

// wait waits for the turn, if it does not have it yet.
func (u *unpacked) wait() error {
	if !u.hasTurn {
		select {
		case turn <- struct{}{}:
			u.hasTurn = true
		case <-u.done:
		}
	}
	select {
	case <-u.done:
		return ErrGivenUp
	default:
		return nil
	}
}

func (u *unpacked) leave() {
	if u.hasTurn {
		<-turn
	}
}

// FirstLine keeps the first line of what is written to it.
type FirstLine struct {
	text  []byte
	whole bool
}

// maxFirstLine bounds it.
const maxFirstLine = 64 << 10

func (l *FirstLine) Write(p []byte) (int, error) {
	if l.whole {
		return len(p), nil
	}
	line, _, ends := bytes.Cut(p[:min(len(p), maxFirstLine-len(l.text))], []byte("\n"))
	l.text = append(l.text, line...)
	l.whole = ends || len(l.text) == maxFirstLine
	return len(p), nil
}

// Interpreter is the command that runs a script that begins like this, without the
// script's own path. The kernel would hand all flags over as one argument, so they are
// taken apart here.
func (l *FirstLine) Interpreter() []string {
	return strings.Fields(strings.TrimPrefix(string(l.text), "#!"))
}

// validate checks what content there is, without keeping it unpacked: that may be
// a thousand times as much.
func (f *File) validate(isScript bool) error {
	first := &FirstLine{}
	if err := f.Unpack(nil, first); err != nil || !isScript {
		return err
	}
	return checkScript(first)
}

func checkScript(first *FirstLine) error {
	switch {
	case len(first.text) == 0 && !first.whole:
		return invalid("invalid file: an empty script has an invalid type")
	case !bytes.HasPrefix(first.text, []byte(shebangBash)) && !bytes.HasPrefix(first.text, []byte(shebangEnv)):
		return invalid("invalid type: the first line of a script must begin with %q or %q", shebangBash, shebangEnv)
	}
	return nil
}
