package rig

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
)

// PutCard writes a runner's card whatever there is, as somebody would by hand. The
// fleet has the default prefix, and its bucket is there.
func PutCard(ctx context.Context, js jetstream.JetStream, card *pb.Card) error {
	cards, err := js.KeyValue(ctx, "runner_fleet")
	if err != nil {
		return err
	}
	body, err := pb.MarshalJSON(card)
	if err == nil {
		_, err = cards.Put(ctx, card.GetName(), body)
	}
	return err
}
