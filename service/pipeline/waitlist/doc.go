// Package waitlist decides which jobs of one pipeline run and which wait. It is
// pure: the methods of a Head return a changed copy.
package waitlist
