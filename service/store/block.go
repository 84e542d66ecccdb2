package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
)

// item is what the index knows of a record: where it stands in lists, and what
// one can ask for, as hashes. What it says is looked up in the record.
type item struct {
	place
	state  pb.State
	hashes []uint32 // of its traits and its state
}

// itemOf makes an item of a record, or says no: it is not one of ours.
func itemOf(e kv.Entry) (item, bool) {
	run, err := decode(e.Body)
	if err != nil || run.GetId() != e.Key || subjects.RunID(e.Key) != nil {
		return item{}, false
	}
	created := int64(0)
	if run.GetCreated() != nil {
		created = run.GetCreated().AsTime().UnixNano()
	}
	it := item{place: place{placeTime(created, e), e.Key}, state: run.GetState()}
	for k, v := range run.GetTags() {
		it.hashes = append(it.hashes, hashOf("tag", k, v))
	}
	it.hashes = append(it.hashes, hashOf("runner", run.GetRunner()), hashOf("state", run.GetState().String()))
	if run.GetGroup() != "" {
		it.hashes = append(it.hashes, hashOf("group", run.GetGroup()))
	}
	return it, true
}

func hashOf(words ...string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(words, "\x00")))
	return h.Sum32()
}

// needs is a filter in hashes.
type needs struct {
	all    []uint32 // each of these
	states []uint32 // one of these, if there are any
}

func (f filter) needs() (n needs) {
	for k, v := range f.tags {
		n.all = append(n.all, hashOf("tag", k, v))
	}
	if f.runner != "" {
		n.all = append(n.all, hashOf("runner", f.runner))
	}
	if f.group != "" {
		n.all = append(n.all, hashOf("group", f.group))
	}
	for _, s := range f.states {
		n.states = append(n.states, hashOf("state", s.String()))
	}
	return n
}

// in says whether hashes have what is needed.
func (n needs) in(has func(uint32) bool) bool {
	for _, h := range n.all {
		if !has(h) {
			return false
		}
	}
	return len(n.states) == 0 || slices.ContainsFunc(n.states, has)
}

var errBadBlock = errors.New("the index is damaged")

// encodeItems writes items one after the other:
//
//	time 8 bytes · state 1 · length of the id 1 · hashes 1 · id · 4 bytes a hash
func encodeItems(items []item) []byte {
	var b []byte
	for _, it := range items {
		b = binary.LittleEndian.AppendUint64(b, uint64(it.time))
		b = append(b, byte(it.state), byte(len(it.id)), byte(len(it.hashes)))
		b = append(b, it.id...)
		for _, h := range it.hashes {
			b = binary.LittleEndian.AppendUint32(b, h)
		}
	}
	return b
}

const itemHead = 11

// eachItem calls each with the items of a block; hashes are the caller's until it returns.
func eachItem(b []byte, each func(item)) error {
	var hashes []uint32
	for len(b) > 0 {
		if len(b) < itemHead {
			return errBadBlock
		}
		it := item{place: place{time: int64(binary.LittleEndian.Uint64(b))}, state: pb.State(b[8])}
		idLen, n := int(b[9]), int(b[10])
		b = b[itemHead:]
		if len(b) < idLen+4*n {
			return errBadBlock
		}
		it.id, b = string(b[:idLen]), b[idLen:]
		hashes = hashes[:0]
		for range n {
			hashes = append(hashes, binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		it.hashes = hashes
		each(it)
	}
	return nil
}

// encodeHashes writes the hashes of all items, sorted, each once: by them a reader
// knows that a block has nothing for him.
func encodeHashes(items []item) []byte {
	var all []uint32
	for _, it := range items {
		all = append(all, it.hashes...)
	}
	slices.Sort(all)
	var b []byte
	for _, h := range slices.Compact(all) {
		b = binary.LittleEndian.AppendUint32(b, h)
	}
	return b
}

// hasHash searches what encodeHashes wrote.
func hasHash(b []byte, h uint32) bool {
	low, high := 0, len(b)/4
	for low < high {
		middle := (low + high) / 2
		switch at := binary.LittleEndian.Uint32(b[4*middle:]); {
		case at == h:
			return true
		case at < h:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

// digestOf is by what a directory knows a block again.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
