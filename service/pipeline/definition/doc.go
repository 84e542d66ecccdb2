// Package definition reads pipelines.yml files: parses and validates them with
// errors that show the place, describes them for editors, and renders the scripts
// of tasks. All of it is pure.
package definition
