package facts

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// hostAddress is the address of the interface that the default route uses, IPv4
// before IPv6, "" without one. Tables are read and nothing is sent.
func hostAddress(proc string) string {
	v4, _ := os.ReadFile(proc + "/net/route") // not there: no route
	if name := defaultRoute4(string(v4)); name != "" {
		if a := addressOf(name, true); a != "" {
			return a
		}
	}
	v6, _ := os.ReadFile(proc + "/net/ipv6_route")
	if name := defaultRoute6(string(v6)); name != "" {
		return addressOf(name, false)
	}
	return ""
}

const (
	routeUp     = 0x1
	routeReject = 0x200
)

// defaultRoute4 gives the interface of the default route with the lowest
// metric: Iface Destination Gateway Flags RefCnt Use Metric Mask …
func defaultRoute4(table string) string {
	name, best := "", uint64(1<<63)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, err1 := strconv.ParseUint(f[3], 16, 32)
		metric, err2 := strconv.ParseUint(f[6], 10, 32)
		if err1 == nil && err2 == nil && flags&routeUp != 0 && flags&routeReject == 0 && metric < best {
			name, best = f[0], metric
		}
	}
	return name
}

// defaultRoute6: destination, its prefix length, source, its length, next hop,
// metric, references, use, flags, interface; all numbers in hex.
func defaultRoute6(table string) string {
	name, best := "", uint64(1<<63)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[1] != "00" || f[0] != strings.Repeat("0", hex.EncodedLen(net.IPv6len)) {
			continue
		}
		metric, err1 := strconv.ParseUint(f[5], 16, 32)
		flags, err2 := strconv.ParseUint(f[8], 16, 32)
		if err1 == nil && err2 == nil && flags&routeUp != 0 && flags&routeReject == 0 && f[9] != "lo" && metric < best {
			name, best = f[9], metric
		}
	}
	return name
}

// addressOf gives the interface's first address that others can use.
func addressOf(name string, wantV4 bool) string {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return ""
	}
	addrs, err := i.Addrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := prefix.Addr().Unmap(); ip.Is4() == wantV4 && ip.IsGlobalUnicast() {
			return ip.String()
		}
	}
	return ""
}
