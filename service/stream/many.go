package stream

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats.go"
)

// maxLasts is how many messages the server gives at most: with more it gives none.
const maxLasts = 1024

// LastOfEach reads the last message of each subject that a pattern matches by one
// request, which any replica may answer. It is whole only if the replica has seen
// sequence upTo, nothing was left out and there is anything: else ask the leader.
func (s Stream) LastOfEach(ctx context.Context, pattern string, upTo uint64) (found []Message, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"multi_last": []string{pattern}})
	if err != nil {
		return nil, false, err
	}
	replies := make(chan *nats.Msg, maxLasts+1)
	inbox := s.JS.Conn().NewInbox()
	sub, err := s.JS.Conn().ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.JS.Conn().PublishRequest(s.api("DIRECT.GET."), inbox, body); err != nil {
		return nil, false, err
	}
	for {
		select {
		case m := <-replies:
			if status := m.Header.Get("Status"); status != "" {
				seen, _ := strconv.ParseUint(m.Header.Get("Nats-UpTo-Sequence"), 10, 64)
				return found, status == "204" && m.Header.Get("Nats-Num-Pending") == "0" && seen >= upTo, nil
			}
			one, err := directMessage(m)
			if err != nil {
				return nil, false, err
			}
			found = append(found, one)
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}
