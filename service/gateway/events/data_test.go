package events

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/gateway/tails"
)

// Records of a log are told with where each of them stands.
func TestWriteLog(t *testing.T) {
	at := func(seq uint64, record int) tails.Record {
		return tails.Record{Place: tails.Place{Seq: seq, Record: record}, Text: []byte("[]")}
	}
	for want, records := range map[string][]tails.Record{
		`{"run":"x","at":[[1,1,1]],"records":[[]]}`:                          {at(1, 1)},
		`{"run":"x","at":[[1,1,3]],"records":[[],[],[]]}`:                    {at(1, 1), at(1, 2), at(1, 3)},
		`{"run":"x","at":[[1,9,1],[2,1,2],[3,1,1]],"records":[[],[],[],[]]}`: {at(1, 9), at(2, 1), at(2, 2), at(3, 1)},
		`{"run":"x","at":[[4,2,1],[4,5,1]],"records":[[],[]]}`:               {at(4, 2), at(4, 5)}, // some are left out
		`{"run":"x","at":[[18446744073709551615,1,1]],"records":[[]]}`:       {at(1<<64-1, 1)},
	} {
		var text strings.Builder
		out := bufio.NewWriter(&text)
		writeLog(out, "x", records)
		_ = out.Flush()
		if text.String() != want || !json.Valid([]byte(text.String())) {
			t.Errorf("%s, want %s", text.String(), want)
		}
	}
}

// What can't be read, and what is gone, is told as gone.
func TestDataOfRecords(t *testing.T) {
	run, err := pb.MarshalJSON(&pb.Run{Id: "01ABC", State: pb.State_RUNNING, Runner: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(runData(feed.Entry{Key: "01ABC", Body: run})); !strings.Contains(got, `"id":"01ABC"`) || !strings.Contains(got, `"RUNNING"`) {
		t.Errorf("a run: %s", got)
	}
	for name, got := range map[string][]byte{
		"a run that is gone": runData(feed.Entry{Key: "a\"b"}), "a job that is gone": jobData(feed.Entry{Key: "a\"b"}),
		"no run": runData(feed.Entry{Key: "a\"b", Body: []byte("{")}), "no job": jobData(feed.Entry{Key: "a\"b", Body: []byte("{")}),
	} {
		if string(got) != `{"gone":true,"id":"a\"b"}` {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := string((&sender{}).runnerData(feed.Entry{Key: "r1"})); got != `{"gone":true,"name":"r1"}` {
		t.Errorf("a runner that is gone: %s", got)
	}
}

func TestMirrored(t *testing.T) {
	for revision, want := range map[string]uint64{"3.17": 17, "0.0": 0, "": 0, "5": 0, "a.b": 0, "1.18446744073709551615": 1<<64 - 1} {
		if got := mirrored(revision); got != want {
			t.Errorf("%q: %d, want %d", revision, got, want)
		}
	}
}
