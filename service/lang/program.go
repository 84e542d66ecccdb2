package lang

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Source is a program as somebody wants to have it run.
type Source struct {
	// Main writes the text of the first file, if that has no name; HasMain tells
	// whether there is one. It is given up when done is closed.
	Main    func(done <-chan struct{}, w io.Writer) error
	HasMain bool
	// Files are the others, or all.
	Files []File
	// Args of the program.
	Args []string
}

// File is one file of a program.
type File struct {
	// Name is a relative path.
	Name string
	// Content, as Encoding says: "" or "text", "base64", "hex".
	Content, Encoding string
}

// Bounds of a program.
const (
	maxFiles     = 1000
	maxNameBytes = 200
)

// A Text writes a file's text.
type Text func(io.Writer) error

// text is one that can be given up.
type text func(done <-chan struct{}, w io.Writer) error

func textOf(b []byte) text {
	return func(_ <-chan struct{}, w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

func (s Source) main() text {
	if s.Main == nil {
		return textOf(nil)
	}
	return s.Main
}

// Program is a Source that has been read, for a Toolchain.
type Program struct {
	tool  *Toolchain
	names []string // as written, the first file first
	texts []text
	args  []string
}

// Program reads a source. The error is the request's fault and names the field.
func (t *Toolchain) Program(src Source) (*Program, error) {
	p := &Program{tool: t, args: src.Args}
	if len(src.Files) > maxFiles {
		return nil, fmt.Errorf("files: %d files, %d at most", len(src.Files), maxFiles)
	}
	for i, file := range src.Files {
		text, err := file.decode()
		if err == nil {
			err = checkName(file.Name)
		}
		if err == nil && p.clashes(file.Name) {
			err = fmt.Errorf("%q is the name of another file or folder, too", file.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("files[%d]: %w", i, err)
		}
		p.names, p.texts = append(p.names, path.Clean(file.Name)), append(p.texts, textOf(text))
	}
	switch at := slices.Index(p.names, t.Source); {
	case src.HasMain && p.clashes(t.Source):
		return nil, fmt.Errorf("files: %q is the name that file.content gets", t.Source)
	case src.HasMain:
		p.names, p.texts = slices.Insert(p.names, 0, t.Source), slices.Insert(p.texts, 0, src.main())
	case len(p.names) == 0:
		return nil, fmt.Errorf("there is no source, neither in file nor in files")
	case at > 0: // the usual name comes before the usual place
		p.names[0], p.names[at] = p.names[at], p.names[0]
		p.texts[0], p.texts[at] = p.texts[at], p.texts[0]
	}
	return p, nil
}

func (f File) decode() (text []byte, err error) {
	switch f.Encoding {
	case "", "text", "utf-8":
		return []byte(f.Content), nil
	case "base64":
		text, err = base64.StdEncoding.DecodeString(f.Content)
	case "hex":
		text, err = hex.DecodeString(f.Content)
	default:
		return nil, fmt.Errorf("encoding %q is not text, base64 or hex", clip(f.Encoding))
	}
	if err != nil {
		return nil, fmt.Errorf("content is not %s: %w", f.Encoding, err)
	}
	return text, nil
}

// checkName takes paths that stay below the program's directory, and that mean
// the same on every system and on a command line.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes || !filepath.IsLocal(name) || strings.ContainsAny(name, "\x00\n\\") || name[0] == '-' || path.Clean(name) == "." {
		return fmt.Errorf("name %q is not a relative path inside the program's directory, of at most %d bytes", clip(name), maxNameBytes)
	}
	return nil
}

// clashes: a file can't be where another one or its folder is.
func (p *Program) clashes(name string) bool {
	name = path.Clean(name)
	return slices.ContainsFunc(p.names, func(other string) bool {
		return other == name || strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/")
	})
}

// Language is what the program is written in.
func (p *Program) Language() *Toolchain { return p.tool }

// Write gives every file to put, until done is closed.
func (p *Program) Write(done <-chan struct{}, put func(name string, text Text) error) error {
	for i, name := range p.names {
		err := put(name, func(w io.Writer) error { return p.texts[i](done, w) })
		if err != nil {
			return err
		}
	}
	return nil
}
