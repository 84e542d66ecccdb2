package maint

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"
)

// A packet is an NTP answer on its way to a client; lies are told by changing it.
type packet []byte

func (p packet) flags(leap, version, mode byte) packet { p[0] = leap<<6 | version<<3 | mode; return p }
func (p packet) stratum(n byte) packet                 { p[1] = n; return p }
func (p packet) kiss(code string) packet               { copy(p.stratum(0)[12:16], code); return p }
func (p packet) received(t time.Time) packet           { binary.BigEndian.PutUint64(p[32:], stamp(t)); return p }
func (p packet) sent(t time.Time) packet               { binary.BigEndian.PutUint64(p[40:], stamp(t)); return p }
func (p packet) reference(t time.Time) packet          { binary.BigEndian.PutUint64(p[16:], stamp(t)); return p }
func (p packet) dispersion(d time.Duration) packet {
	binary.BigEndian.PutUint32(p[8:], uint32(d<<16/time.Second))
	return p
}

// stamp is the NTP form of a time: seconds since 1900 and their fraction.
func stamp(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// A fake is an NTP server on loopback. Its own time goes by the monotonic clock,
// so that setting this machine's clock doesn't move it.
type fake struct {
	address string
	offset  time.Duration // its time − this machine's at the start

	mu     sync.Mutex
	asked  int
	answer func(n int, honest packet) packet // n counts from 1; nil is silence
}

// serveTime starts a fake that is ahead by offset; answer nil means the truth.
func serveTime(t *testing.T, offset time.Duration, answer func(int, packet) packet) *fake {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: conn.LocalAddr().String(), offset: offset, answer: answer}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	start := time.Now()
	go func() {
		defer close(done)
		question := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			now := start.Round(0).Add(time.Since(start) + offset)
			if out := f.reply(question[:n], now); out != nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	return f
}

func (f *fake) reply(question []byte, now time.Time) packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	p := make(packet, 48).flags(0, 4, 4).stratum(2).reference(now.Add(-time.Minute)).received(now).sent(now)
	copy(p[24:32], question[40:48]) // origin: what the client sent
	if f.answer == nil {
		return p
	}
	return f.answer(f.asked, p)
}
