// Package pattern computes when a schedule is due: cron patterns with a time
// zone, intervals, and single times, as a NATS server fires them, and the two
// corrections for daylight saving that the server does not make.
//
// A tick is the instant at which a schedule was due. A server fires at each
// instant whose wall clock matches the pattern, so a pattern with a fixed hour
// fires twice in an hour that is repeated and never in one that is skipped. Cron
// of Debian runs such a job once in both cases: [Pattern.Repeated] finds the
// second fire, and [Pattern.NextGap] the instant at which a skipped tick is made
// up for. A pattern whose hour begins with "*" goes by elapsed time instead, as
// an interval does.
package pattern
