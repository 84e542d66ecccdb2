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

// Bytes is the content, unpacked. A gzip stream that was flushed and never
// closed is taken as it is: clients of pipego send that.
func (f *File) Bytes() ([]byte, error) {
	if !f.GetGzip() {
		return f.GetContent(), nil
	}
	z, err := gzip.NewReader(bytes.NewReader(f.GetContent()))
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, invalid("spec.task.file.content: gzip: invalid header")
	} else if err != nil {
		return nil, invalid("spec.task.file.content: %s", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxScriptBytes+1))
	switch {
	case err == nil, errors.Is(err, io.ErrUnexpectedEOF):
	default: // gzip: invalid checksum, flate: corrupt input
		return nil, invalid("spec.task.file.content: %s", err)
	}
	if len(data) > maxScriptBytes {
		return nil, invalid("spec.task.file.content: more than %d MiB unpacked", maxScriptBytes>>20)
	}
	return data, nil
}

// Script is the content of a file that is a bash script.
func (f *File) Script() ([]byte, error) {
	data, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, invalid("invalid file: an empty script has an invalid type")
	}
	if !bytes.HasPrefix(data, []byte(shebangBash)) && !bytes.HasPrefix(data, []byte(shebangEnv)) {
		return nil, invalid("invalid type: the first line of a script must begin with %q or %q", shebangBash, shebangEnv)
	}
	return data, nil
}

// Interpreter is the command that runs a script, without the script's own
// path. The kernel would hand all flags over as one argument, so they are
// taken apart here.
func Interpreter(script []byte) []string {
	line, _, _ := bytes.Cut(script, []byte("\n"))
	words := strings.Fields(strings.TrimPrefix(string(line), "#!"))
	return words
}
