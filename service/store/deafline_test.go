package store

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// deafLine passes bytes on to a server; while it is deaf, nothing comes back.
type deafLine struct {
	net.Listener
	server string
	deaf   atomic.Bool
	mu     sync.Mutex
	open   []net.Conn
	wg     sync.WaitGroup
}

func newDeafLine(t *testing.T, server string) *deafLine {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &deafLine{Listener: listener, server: server}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		l.Close()
		l.cut()
		l.wg.Wait()
	})
	return l
}

func (l *deafLine) accept() {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			client.Close()
			continue
		}
		l.mu.Lock()
		l.open = append(l.open, client, server)
		l.mu.Unlock()
		l.wg.Go(func() { _, _ = io.Copy(server, client) })
		l.wg.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := server.Read(buf)
				if err != nil {
					return
				}
				if !l.deaf.Load() {
					_, _ = client.Write(buf[:n])
				}
			}
		})
	}
}

// cut closes all connections; new ones hear again.
func (l *deafLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
	l.deaf.Store(false)
}
