package embedded_test

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
)

// A server with JetStream that has no listener and leaves nothing behind.
func ExampleStart() {
	server, err := embedded.Start(embedded.Config{Memory: true, InProcessOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		fmt.Println(err)
		return
	}
	stream, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := js.Publish(context.Background(), "work.one", []byte("x")); err != nil {
		fmt.Println(err)
		return
	}
	info, err := stream.Info(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.State.Msgs)
	// Output: 1
}
