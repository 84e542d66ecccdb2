// Command count measures how the code is built, so that two commits can be
// compared:
//
//	go run ./tests/count            this source
//	go run ./tests/count DIR        another one
//
// Generated code is left out. What is counted:
//
//   - back up: references between the files of a package that run against the
//     best order of these files. Files whose references go one way only can be
//     read from top to bottom, and split into packages.
//   - lines of code and of tests, scripts of the command line among them, with
//     their ratio.
//   - functions above 60 lines, functions with more than 4 parameters,
//     interfaces, init functions, fields of service.Service.
package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	packages, err := load(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
	report(packages)
}

// counts of one package, or of several.
type counts struct {
	name              string
	lines, testLines  int
	up                int
	long, wide        []string
	interfaces, inits []string
	fields            int // of service.Service
	biggest           string
	biggestLines      int
}

func report(packages []counts) {
	slices.SortFunc(packages, func(a, b counts) int { return cmp.Compare(a.name, b.name) })
	fmt.Printf("%-40s %7s %7s %6s %8s\n", "PACKAGE", "LINES", "TESTS", "RATIO", "BACK UP")
	var all, service, cmd counts
	for _, p := range packages {
		row(p)
		add(&all, p)
		switch {
		case p.name == "service" || strings.HasPrefix(p.name, "service/"):
			add(&service, p)
		case strings.HasPrefix(p.name, "cmd/runnel"):
			add(&cmd, p)
		}
	}
	all.name, service.name, cmd.name = "all", "all of service", "all of cmd/runnel"
	fmt.Println()
	for _, sum := range []counts{service, cmd, all} {
		row(sum)
	}
	fmt.Printf("\nlargest package: %s, %d lines\n", all.biggest, all.biggestLines)
	fmt.Printf("fields of service.Service: %d\n", all.fields)
	list("functions above 60 lines", all.long)
	list("functions with more than 4 parameters", all.wide)
	list("interfaces", all.interfaces)
	list("init functions", all.inits)
}

func row(p counts) {
	ratio := "-"
	if p.lines > 0 {
		ratio = fmt.Sprintf("%.2f", float64(p.testLines)/float64(p.lines))
	}
	fmt.Printf("%-40s %7d %7d %6s %8d\n", p.name, p.lines, p.testLines, ratio, p.up)
}

func add(sum *counts, p counts) {
	sum.lines += p.lines
	sum.testLines += p.testLines
	sum.up += p.up
	sum.fields += p.fields
	sum.long = append(sum.long, p.long...)
	sum.wide = append(sum.wide, p.wide...)
	sum.interfaces = append(sum.interfaces, p.interfaces...)
	sum.inits = append(sum.inits, p.inits...)
	if p.lines > sum.biggestLines {
		sum.biggest, sum.biggestLines = p.name, p.lines
	}
}

func list(what string, names []string) {
	fmt.Printf("%s: %d\n", what, len(names))
	for _, name := range names {
		fmt.Println("  " + name)
	}
}
