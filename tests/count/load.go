package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, IgnoredGoFiles []string
	TestGoFiles             []string
	XTestGoFiles            []string
	Module                  *struct {
		Path string
		Main bool
	}
}

// load counts the packages of the module in a directory.
func load(dir string) ([]counts, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Module", "./...")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var ours []listed
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			ours = append(ours, p)
		}
	}
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var all []counts
	for _, p := range ours {
		c, err := count(fset, from, p)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func count(fset *token.FileSet, from types.Importer, p listed) (counts, error) {
	c := counts{name: strings.TrimPrefix(p.ImportPath, p.Module.Path+"/")}
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			return c, err
		}
		if ast.IsGenerated(file) {
			continue
		}
		files = append(files, file)
		c.declarations(fset, file)
	}
	for _, name := range append(p.GoFiles, p.IgnoredGoFiles...) {
		n, err := linesOf(filepath.Join(p.Dir, name))
		if err != nil {
			return c, err
		}
		if strings.HasSuffix(name, "_test.go") {
			c.testLines += n
		} else {
			c.lines += n
		}
	}
	scripts, err := filepath.Glob(filepath.Join(p.Dir, "testdata", "*.txtar"))
	if err != nil {
		return c, err
	}
	tests := append(p.TestGoFiles, p.XTestGoFiles...)
	for i := range tests {
		tests[i] = filepath.Join(p.Dir, tests[i])
	}
	for _, path := range append(tests, scripts...) {
		n, err := linesOf(path)
		if err != nil {
			return c, err
		}
		c.testLines += n
	}
	if strings.HasPrefix(c.name, "tests") { // what is for tests is tests
		c.testLines, c.lines = c.testLines+c.lines, 0
	}
	c.up = backUp(references(fset, from, p.ImportPath, files))
	return c, nil
}

// linesOf counts the lines of a file that is not generated.
func linesOf(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text[:min(len(text), 200)], []byte("DO NOT EDIT")) {
		return 0, err
	}
	return bytes.Count(text, []byte("\n")), nil
}

const (
	longFunction = 60
	manyArgs     = 4
)

// declarations counts functions, interfaces and fields.
func (c *counts) declarations(fset *token.FileSet, file *ast.File) {
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := c.name + "." + f.Name.Name
		if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > longFunction {
			c.long = append(c.long, fmt.Sprintf("%s (%d)", name, n))
		}
		if n := f.Type.Params.NumFields(); n > manyArgs {
			c.wide = append(c.wide, fmt.Sprintf("%s (%d)", name, n))
		}
		if f.Recv == nil && f.Name.Name == "init" {
			c.inits = append(c.inits, name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		switch t := spec.Type.(type) {
		case *ast.InterfaceType:
			c.interfaces = append(c.interfaces, c.name+"."+spec.Name.Name)
		case *ast.StructType:
			if c.name == "service" && spec.Name.Name == "Service" {
				c.fields = t.Fields.NumFields()
			}
		}
		return true
	})
}

// references are the arrows between the files of a package: who uses what is
// declared in whom.
func references(fset *token.FileSet, from types.Importer, path string, files []*ast.File) map[string]map[string]bool {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: from, Error: func(error) {}} // generated files are left out, and missed
	pkg, _ := config.Check(path, fset, files, info)
	arrows := map[string]map[string]bool{}
	for ident, object := range info.Uses {
		if pkg == nil || object.Pkg() != pkg || object.Parent() != nil && object.Parent() != pkg.Scope() {
			continue
		}
		user, declares := fset.Position(ident.Pos()).Filename, fset.Position(object.Pos()).Filename
		if user == declares || declares == "" {
			continue
		}
		if arrows[user] == nil {
			arrows[user] = map[string]bool{}
		}
		arrows[user][declares] = true
	}
	return arrows
}
