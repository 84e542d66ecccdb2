//go:build unix

// Command docs executes the commands of the documents, as a reader would who
// pastes them: one fenced block after the other, in a shell, with a home
// directory that has nothing in it.
//
//	go run ./tests/docs README.md docs/*.md
//
// The info string of a block says what it is:
//
//	```sh             is run and must end well
//	```sh background  is run until the document ends; the next block waits for "ready"
//	```sh stop        is stopped with ^C when it has printed something and pauses
//	```sh skip: WHY   is not run
//	```output         is exactly what the block before it prints
//	```yaml file NAME is written to a file, for the blocks after it
//
// Every other block needs a language, so that none is passed over by mistake.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	bin, err := os.MkdirTemp("", "runnel-docs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if out, err := exec.Command("go", "build", "-o", bin+"/", "./cmd/...").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build: %w: %s", err, out)
	}
	failed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		blocks, err := parse(string(text))
		if err != nil {
			return fmt.Errorf("%s:%w", file, err)
		}
		ran, problems := execute(blocks, bin, filepath.Dir(file) == ".")
		for _, problem := range problems {
			fmt.Printf("%s:%v\n", file, problem)
		}
		failed += len(problems)
		fmt.Printf("%s: %d blocks run, %d failed\n", file, ran, len(problems))
	}
	if failed > 0 {
		return fmt.Errorf("%d blocks failed", failed)
	}
	return nil
}

// block is a fenced block of shell commands.
type block struct {
	line   int
	mode   string // "", "background", "stop", "file"
	file   string // that it is written to
	text   string
	output *string // what it prints exactly, if that is shown
}

// parse finds the blocks that are to be run.
func parse(text string) ([]block, error) {
	var (
		blocks []block
		fence  string
		begin  int
		indent string
		body   strings.Builder
	)
	number := 0
	for line := range strings.Lines(text) {
		number++
		bare := strings.TrimSpace(line) // a block in a list is indented
		switch {
		case fence == "" && strings.HasPrefix(bare, "```"):
			fence, begin = bare, number
			indent = line[:strings.Index(line, "`")]
			body.Reset()
		case fence != "" && bare == "```":
			var err error
			if blocks, err = add(blocks, begin, strings.TrimPrefix(fence, "```"), body.String()); err != nil {
				return nil, err
			}
			fence = ""
		case fence != "":
			body.WriteString(strings.TrimPrefix(line, indent))
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("%d: a block has no end", begin)
	}
	return blocks, nil
}

// add files one block by its info string.
func add(blocks []block, line int, info, text string) ([]block, error) {
	language, mode, _ := strings.Cut(info, " ")
	if name, isFile := strings.CutPrefix(mode, "file "); isFile && filepath.IsLocal(name) {
		return append(blocks, block{line: line, mode: "file", file: name, text: text}), nil
	}
	switch language {
	case "":
		return nil, fmt.Errorf("%d: a block has no language: sh, output or text", line)
	case "output":
		if len(blocks) == 0 || blocks[len(blocks)-1].output != nil {
			return nil, fmt.Errorf("%d: output of no block", line)
		}
		blocks[len(blocks)-1].output = &text
		return blocks, nil
	case "sh":
		why, skip := strings.CutPrefix(mode, "skip:")
		switch {
		case skip && strings.TrimSpace(why) == "":
			return nil, fmt.Errorf("%d: skip says no reason", line)
		case skip:
			return blocks, nil
		case mode != "" && mode != "background" && mode != "stop":
			return nil, fmt.Errorf("%d: %q is no way to run a block", line, mode)
		}
		return append(blocks, block{line: line, mode: mode, text: text}), nil
	}
	return blocks, nil
}
