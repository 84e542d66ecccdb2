package index

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
	"github.com/runnel-io/runnel/service/store/record"
	"github.com/runnel-io/runnel/subjects"
)

// Item is what the index knows of a record: where it stands in lists, and what
// one can ask for, as hashes. What it says is looked up in the record.
type Item struct {
	record.Place
	State  pb.State
	Hashes []uint32 // of its traits and its state
}

// itemOf makes an Item of a record, or says no: it is not one of ours.
func itemOf(e kv.Entry) (Item, bool) {
	run, err := record.Decode(e.Body)
	if err != nil || run.GetId() != e.Key || subjects.RunID(e.Key) != nil {
		return Item{}, false
	}
	created := int64(0)
	if run.GetCreated() != nil {
		created = run.GetCreated().AsTime().UnixNano()
	}
	it := Item{Place: record.Place{Time: record.PlaceTime(created, e), ID: e.Key}, State: run.GetState()}
	for k, v := range run.GetTags() {
		it.Hashes = append(it.Hashes, hashOf("tag", k, v))
	}
	it.Hashes = append(it.Hashes, hashOf("runner", run.GetRunner()), hashOf("state", run.GetState().String()))
	if run.GetGroup() != "" {
		it.Hashes = append(it.Hashes, hashOf("group", run.GetGroup()))
	}
	return it, true
}

func hashOf(words ...string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(words, "\x00")))
	return h.Sum32()
}

// Needs are states and traits in hashes.
type Needs struct {
	All    []uint32 // each of these
	States []uint32 // one of these, if there are any
}

// NeedsOf is what is asked of a record, in hashes.
func NeedsOf(states []pb.State, traits record.Traits) (n Needs) {
	for k, v := range traits.Tags {
		n.All = append(n.All, hashOf("tag", k, v))
	}
	if traits.Runner != "" {
		n.All = append(n.All, hashOf("runner", traits.Runner))
	}
	if traits.Group != "" {
		n.All = append(n.All, hashOf("group", traits.Group))
	}
	for _, s := range states {
		n.States = append(n.States, hashOf("state", s.String()))
	}
	return n
}

// In says whether hashes have what is needed.
func (n Needs) In(has func(uint32) bool) bool {
	for _, h := range n.All {
		if !has(h) {
			return false
		}
	}
	return len(n.States) == 0 || slices.ContainsFunc(n.States, has)
}

// ErrDamaged: a block is missing, or another one than it was.
var ErrDamaged = errors.New("the index is damaged")

// encodeItems writes items one after the other:
//
//	time 8 bytes · state 1 · length of the id 1 · hashes 1 · id · 4 bytes a hash
func encodeItems(items []Item) []byte {
	var b []byte
	for _, it := range items {
		b = binary.LittleEndian.AppendUint64(b, uint64(it.Time))
		b = append(b, byte(it.State), byte(len(it.ID)), byte(len(it.Hashes)))
		b = append(b, it.ID...)
		for _, h := range it.Hashes {
			b = binary.LittleEndian.AppendUint32(b, h)
		}
	}
	return b
}

const itemHead = 11

// EachItem calls each with the items of a block; hashes are the caller's until it returns.
func EachItem(b []byte, each func(Item)) error {
	var hashes []uint32
	for len(b) > 0 {
		if len(b) < itemHead {
			return ErrDamaged
		}
		it := Item{Place: record.Place{Time: int64(binary.LittleEndian.Uint64(b))}, State: pb.State(b[8])}
		idLen, n := int(b[9]), int(b[10])
		b = b[itemHead:]
		if len(b) < idLen+4*n {
			return ErrDamaged
		}
		it.ID, b = string(b[:idLen]), b[idLen:]
		hashes = hashes[:0]
		for range n {
			hashes = append(hashes, binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		it.Hashes = hashes
		each(it)
	}
	return nil
}

// encodeHashes writes the hashes of all items, sorted, each once: by them a reader
// knows that a block has nothing for him.
func encodeHashes(items []Item) []byte {
	var all []uint32
	for _, it := range items {
		all = append(all, it.Hashes...)
	}
	slices.Sort(all)
	var b []byte
	for _, h := range slices.Compact(all) {
		b = binary.LittleEndian.AppendUint32(b, h)
	}
	return b
}

// HasHash searches what encodeHashes wrote.
func HasHash(b []byte, h uint32) bool {
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
