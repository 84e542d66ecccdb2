// Package lang turns source code in a language into steps that a sandbox can
// take: compile, where the language is compiled, and run.
//
// # The model
//
// A Row says what a language is: which programs to look for, how to ask one for
// its version, the name of a source file, and the command lines of the steps.
// Rows are data: those that are shipped are a table in rows.go, and an operator
// adds more, or replaces one, in the configuration.
//
// A Table finds out what of that this host has, row by row and only when
// somebody asks for a row or for all. What it finds is a Toolchain: one version
// of one language.
//
// A Program is what somebody wants to have run: files, which one is the first,
// and arguments. With a Toolchain and the directories of its run it becomes the
// Steps. Whoever takes them adds who and what bounds them: this package knows
// no runs.
//
// # What is shared
//
// Programs of strangers meet in two places, and in both no run can write.
//
// The Cache keeps what a compile step made, by the content of all that went
// into it. Runs never see it: what is in it is copied for each, and the copy is
// checked against a digest that is in memory only, so that nothing on the disk
// is trusted.
//
// A warm directory holds what a compiler makes of its own standard library (Go:
// a minute or two of processor time). It is made in the background, by a step
// that sees no stranger's code, is kept on the disk, and is shown to compile
// steps without the right to write.
package lang
