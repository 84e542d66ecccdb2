package glance

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// maxNext bounds what is decoded: names have 255 bytes, on odd systems 1,023.
const maxNext = 4096

// dirNext and dirAfter: the token of a directory is the last name, whose bytes
// may be anything.
func dirNext(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func dirAfter(next string) (last string, err error) {
	b, err := decodeNext(next)
	if err != nil || strings.ContainsAny(string(b), "/\x00") || dirNext(string(b)) != next {
		return "", fmt.Errorf("invalid next: dir.next is not from a reply")
	}
	return string(b), nil
}

func decodeNext(next string) ([]byte, error) {
	if len(next) > maxNext {
		return nil, fmt.Errorf("too long")
	}
	return base64.RawURLEncoding.Strict().DecodeString(next)
}

// place is where a page of processes begins: after the process with this key
// and pid, in this order.
type place struct {
	sort string
	key  int64 // what is sorted by; 0 for pid
	pid  int64
	left int64 // of top; 0: no top
}

func (p place) next() string {
	s := fmt.Sprintf("%s %d %d %d", p.sort, p.key, p.pid, p.left)
	return base64.RawURLEncoding.EncodeToString([]byte(s))
}

func placeAfter(next string) (place, error) {
	bad := fmt.Errorf("invalid next: sys.next is not from a reply")
	b, err := decodeNext(next)
	if err != nil {
		return place{}, bad
	}
	fields := strings.Split(string(b), " ")
	if len(fields) != 4 {
		return place{}, bad
	}
	p := place{sort: fields[0]}
	for i, to := range []*int64{&p.key, &p.pid, &p.left} {
		if *to, err = strconv.ParseInt(fields[i+1], 10, 64); err != nil || *to < 0 {
			return place{}, bad
		}
	}
	if p.sort != byPID && p.sort != byCPU && p.sort != byMemory || p.next() != next {
		return place{}, bad
	}
	return p, nil
}
