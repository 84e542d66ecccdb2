package stream

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// untidyLife is how long the server keeps a consumer that nobody deletes.
const untidyLife = 5 * time.Second

// Tidies says whether a connection deletes the consumers that it made. A user of
// a role may not, or could delete those of others: its inbox prefix of its own
// tells. The server removes its consumers soon after their reader has left.
func Tidies(nc *nats.Conn) bool {
	return nc.Opts.InboxPrefix == "" || nc.Opts.InboxPrefix == strings.TrimSuffix(nats.InboxPrefix, ".")
}

// OrphanLife is how long the server keeps a consumer without a reader: as long as
// usual where its reader deletes it.
func OrphanLife(nc *nats.Conn, usual time.Duration) time.Duration {
	if Tidies(nc) {
		return usual
	}
	return untidyLife
}
