package lines

import (
	"encoding/json"
	"errors"
	"fmt"
)

// wire is a record as encoding/json sees it. What it doesn't name is ignored, so that a later version can add to a record.
type wire struct {
	Pos      int64    `json:"pos"`
	Time     int64    `json:"time,string"`
	Stream   string   `json:"stream"`
	Step     string   `json:"step"`
	Tag      string   `json:"tag"`
	Message  *string  `json:"message"`
	Messages []string `json:"messages"`
	Raw      []byte   `json:"raw"`

	State    string `json:"state"`
	Reason   string `json:"reason"`
	ExitCode int32  `json:"exitCode"`
	Signal   string `json:"signal"`
	Error    string `json:"error"`
	Lines    int64  `json:"lines"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`

	Dropped      int64 `json:"dropped"`
	DroppedBytes int64 `json:"droppedBytes"`
}

// full reads any record, and gives what quick has not given of it.
func (d *decoder) full(line []byte) error {
	var w wire
	if err := json.Unmarshal(line, &w); err != nil {
		return fmt.Errorf("cannot read log record %.80q: %w", line, err)
	}
	records, err := w.records()
	if err != nil {
		return fmt.Errorf("cannot read log record %.80q: %w", line, err)
	}
	for i, r := range records {
		if i < d.given {
			continue
		}
		if err := d.each(r); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) records() ([]Record, error) {
	r := Record{Pos: w.Pos, TimeNanos: w.Time, Step: w.Step}
	if w.Pos < 1 {
		return nil, errors.New("pos is not positive")
	}
	if w.Lines < 0 || w.Bytes < 0 {
		return nil, errors.New("a count is negative")
	}
	switch w.Stream {
	case "", "stdout":
	case "stderr":
		r.Stream = Stderr
	default:
		return nil, fmt.Errorf("unknown stream %q", w.Stream)
	}

	switch w.Tag {
	case "EOF":
		r.End = &End{State: w.State, Reason: w.Reason, ExitCode: w.ExitCode, Signal: w.Signal, Error: w.Error,
			Lines: w.Lines, Bytes: w.Bytes, SHA256: w.SHA256, Dropped: Gap{w.Dropped, w.DroppedBytes}}
		return []Record{r}, nil
	case "GAP":
		r.Gap = &Gap{Lines: w.Lines, Bytes: w.Bytes}
		return []Record{r}, nil
	case "BOL":
		r.Open = true
	case "":
	default:
		return nil, fmt.Errorf("unknown tag %q", w.Tag)
	}

	switch {
	case w.Message != nil && w.Messages == nil:
		r.Text = []byte(*w.Message)
		if w.Raw != nil {
			r.Text = w.Raw
		}
		return []Record{r}, nil
	case w.Message == nil && w.Messages != nil && w.Raw == nil && !r.Open:
		records := make([]Record, 0, len(w.Messages))
		for _, text := range w.Messages {
			r.Text = []byte(text)
			records = append(records, r)
			r.Pos++
		}
		return records, nil
	}
	return nil, errors.New("it has no text")
}
