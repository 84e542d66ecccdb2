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

// Bytes is the content, unpacked. A gzip stream that was flushed and never
// closed is taken as it is: clients of pipego send that.
func (f *File) Bytes() ([]byte, error) {
	if !f.GetGzip() {
		return f.GetContent(), nil
	}
	var data bytes.Buffer
	if err := f.unpack(&data); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// unpack writes what a gzip stream has into w.
func (f *File) unpack(w io.Writer) error {
	z, err := gzip.NewReader(bytes.NewReader(f.GetContent()))
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("spec.task.file.content: gzip: invalid header")
	} else if err != nil {
		return invalid("spec.task.file.content: %s", err)
	}
	n, err := io.Copy(w, io.LimitReader(z, maxScriptBytes+1))
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasSuffix(f.GetContent(), flushMark):
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("spec.task.file.content: gzip: unexpected EOF: the stream was cut")
	default: // gzip: invalid checksum, flate: corrupt input
		return invalid("spec.task.file.content: %s", err)
	}
	if n > maxScriptBytes {
		return invalid("spec.task.file.content: more than %d MiB unpacked", maxScriptBytes>>20)
	}
	return nil
}

// beginning keeps the first bytes of what is written to it.
type beginning struct {
	text [64]byte
	n    int
}

func (b *beginning) Write(p []byte) (int, error) {
	b.n += copy(b.text[b.n:], p)
	return len(p), nil
}

// validate checks what content there is, without keeping it unpacked: that may be
// a thousand times as much.
func (f *File) validate(isScript bool) error {
	b := &beginning{}
	if f.GetGzip() {
		if err := f.unpack(b); err != nil {
			return err
		}
	} else {
		_, _ = b.Write(f.GetContent())
	}
	if !isScript {
		return nil
	}
	return checkScript(b.text[:b.n])
}

func checkScript(text []byte) error {
	if len(text) == 0 {
		return invalid("invalid file: an empty script has an invalid type")
	}
	if !bytes.HasPrefix(text, []byte(shebangBash)) && !bytes.HasPrefix(text, []byte(shebangEnv)) {
		return invalid("invalid type: the first line of a script must begin with %q or %q", shebangBash, shebangEnv)
	}
	return nil
}

// Script is the content of a file that is a bash script.
func (f *File) Script() ([]byte, error) {
	data, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	return data, checkScript(data)
}

// Interpreter is the command that runs a script, without the script's own
// path. The kernel would hand all flags over as one argument, so they are
// taken apart here.
func Interpreter(script []byte) []string {
	line, _, _ := bytes.Cut(script, []byte("\n"))
	words := strings.Fields(strings.TrimPrefix(string(line), "#!"))
	return words
}
