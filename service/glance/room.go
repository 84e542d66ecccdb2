package glance

import (
	"encoding/base64"
	"strconv"

	"github.com/runnel-io/runnel/pb"
)

// Bytes of the JSON forms without the strings and numbers in them; a test holds
// them against pb.MarshalJSON.
const (
	entryBytes   = len(`{"name":"","isDir":false,"size":,"time":"","user":"","group":"","mode":"","modified":""},`)
	oddNameBytes = len(`"nameBytes":"","pathBytes":"",`)
	threadBytes  = len(`{"name":"","cmdline":"","memory":,"time":,"pid":},`)
	processBytes = len(`{"process":,"threads":[]},`)
)

const (
	// envelopeBytes is room for headers, the errors of three parts, each twice,
	// the tokens and the system's facts.
	envelopeBytes = 16 << 10
	// listBytes is what a list gets at least when a file is asked for with it.
	listBytes = 64 << 10
)

// room is what is left of a reply.
type room struct {
	left     int
	wantsDir bool
	wantsSys bool
}

func newRoom(maxReplyBytes int, q *pb.Glance) *room {
	return &room{
		left:     maxReplyBytes - min(envelopeBytes, maxReplyBytes/2),
		wantsDir: q.GetDir() != nil,
		wantsSys: q.GetSys().GetEnable(),
	}
}

func (r *room) take(n int) { r.left = max(0, r.left-n) }

func (r *room) forFile() int {
	n := r.left
	for _, wanted := range []bool{r.wantsDir, r.wantsSys} {
		if wanted {
			n -= min(listBytes, r.left/4)
		}
	}
	return n
}

func (r *room) forDir() int {
	if r.wantsSys {
		return r.left - min(listBytes, r.left/2)
	}
	return r.left
}

// quoted gives the length of s in JSON without the quotes; never too small.
func quoted(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ':
			n += 5 // \u001b
		case c == '"' || c == '\\':
			n++
		case c == 0xE2:
			n += 3 // perhaps U+2028, which is escaped
		}
	}
	return n
}

func decimals(n int64) int {
	var buf [20]byte
	return len(strconv.AppendInt(buf[:0], n, 10))
}

func entrySize(e *pb.Entry) int {
	n := entryBytes + quoted(e.Name) + decimals(e.Size) + len(e.Time) + quoted(e.User) + quoted(e.Group) + len(e.Mode) + len(e.Modified)
	if e.NameBytes != nil {
		n += oddNameBytes + base64.StdEncoding.EncodedLen(len(e.NameBytes)) + base64.StdEncoding.EncodedLen(len(e.PathBytes))
	}
	return n
}

func threadSize(t *pb.Thread) int {
	var buf [32]byte
	seconds := len(strconv.AppendFloat(buf[:0], t.Time, 'f', -1, 64))
	return threadBytes + quoted(t.Name) + quoted(t.Cmdline) + decimals(t.Memory) + seconds + decimals(t.Pid)
}

func processSize(p *pb.Process) int {
	n := processBytes + threadSize(p.Process)
	for _, t := range p.Threads {
		n += threadSize(t)
	}
	return n
}
