//go:build unix

package main

import (
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no language":         "```\nls\n```\n",
		"no reason":           "```sh skip:\nls\n```\n",
		"no way to run":       "```sh sometimes\nls\n```\n",
		"output of nothing":   "```output\nx\n```\n",
		"output twice":        "```sh\nls\n```\n```output\nx\n```\n```output\nx\n```\n",
		"a block without end": "```sh\nls\n",
	} {
		if blocks, err := parse(text); err == nil {
			t.Errorf("%s: got %+v", name, blocks)
		}
	}
}

// What a reader would stumble over is a problem, with its line.
func TestExecute(t *testing.T) {
	text := strings.Join([]string{
		"```sh", "echo $HOME; ls -A ~; touch ~/seen", "```", // 1
		"1. in a list", "   ```sh", "   ls ~", "   ```", "", "   ```output", "   seen", "   work", "   ```", // 5
		"```sh", "no-such-program", "```", // 13
		"```sh", "echo one", "```", "```output", "two", "```", // 16
		"```sh background", "echo ready; exec sleep 1000", "```", // 22
		"```sh background", "echo broken", "```", // 25
		"```sh stop", "echo x; exec sleep 1000", "```", // 28
		"```sh stop", "echo over", "```", // 31
		"```sh skip: as a test", "exit 1", "```",
		"```json file a.json", "{}", "```",
		"```sh", "cat a.json", "```", "```output", "{}", "```",
		"```json", "{}", "```", "",
	}, "\n")
	blocks, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	ran, problems := execute(blocks, t.TempDir(), false)
	var lines []string
	for _, problem := range problems {
		line, _, _ := strings.Cut(problem.Error(), ":")
		lines = append(lines, line)
	}
	if got := strings.Join(lines, " "); ran != 10 || got != "13 16 25 31" {
		t.Errorf("ran %d blocks, problems %v", ran, problems)
	}
}
