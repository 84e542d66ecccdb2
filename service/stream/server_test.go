package stream_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/stream"
)

// versioned is a connection to what says that it is a server of a version.
func versioned(t *testing.T, version string) *nats.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":%q,\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n", version)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	nc, err := nats.Connect("nats://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); l.Close(); <-done })
	return nc
}

func TestNeed(t *testing.T) {
	for version, want := range map[string]string{
		"2.11.4":         "schedules need nats-server 2.14 or later: this one is 2.11.4",
		"v2.13.0":        "schedules need nats-server 2.14 or later: this one is 2.13.0",
		"1.4.1":          "schedules need nats-server 2.14 or later: this one is 1.4.1",
		"2.14.0":         "",
		"2.15.2":         "",
		"3.0.0-beta.1":   "",
		"somebody's own": "",
	} {
		err := stream.Need(versioned(t, version), "schedules need", 14)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || !errors.Is(err, stream.ErrOldServer)) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}
