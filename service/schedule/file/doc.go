// Package file reads schedules.yml: schedules as a file that is kept with what they
// run. It is strict, and says where something is wrong. It asks nobody.
package file
