package glance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel/pb"
)

// facts of the system; what can't be had stays zero and is named in missing.
type facts struct {
	milliCPU      int64 // logical CPUs × 1000, or the cgroup's share
	busyMilliCPU  int64
	memory        int64 // bytes
	memoryUsed    int64
	storage       int64
	storageUsed   int64
	host, os      string
	load          float64
	uptimeSeconds int64
	missing       []string
}

func (f *facts) miss(what string, err error) {
	if err != nil {
		f.missing = append(f.missing, fmt.Sprintf("%s: %s", what, plain(cause(err))))
	}
}

// factKinds is how many things miss may name.
const factKinds = 5

// sys describes the system; room is for the processes.
func (g *Glancer) sys(ctx context.Context, q *pb.SysQuery, room int, reply *pb.SysReply) error {
	if _, err := firstPlace(q); err != nil {
		return err
	}
	f := g.facts()
	if len(f.missing) >= factKinds {
		return errors.New("cannot describe the system: " + strings.Join(f.missing, "; "))
	}
	reply.Resource = &pb.Resource{
		Allocatable: &pb.Quantity{MilliCpu: f.milliCPU, Memory: f.memory, Storage: f.storage},
		Requested:   &pb.Quantity{MilliCpu: f.busyMilliCPU, Memory: f.memoryUsed, Storage: f.storageUsed},
	}
	reply.Stats = &pb.Stats{
		Cpu:     &pb.Usage{Total: cpusInWords(f.milliCPU), Used: percent(f.busyMilliCPU, f.milliCPU)},
		Memory:  &pb.Usage{Total: bytesInWords(f.memory), Used: bytesInWords(f.memoryUsed)},
		Storage: &pb.Usage{Total: bytesInWords(f.storage), Used: bytesInWords(f.storageUsed)},
		Host:    f.host,
		Os:      valid(f.os),
		Load:    f.load,
		Uptime:  f.uptimeSeconds,
	}
	if q.Processes == nil || q.GetProcesses() {
		missing, err := g.processes(ctx, q, room, reply)
		f.missing = append(f.missing, missing...)
		f.miss("processes", err)
	}
	reply.Error = strings.Join(f.missing, "; ")
	return nil
}

// facts of now, of the cgroup where it has less than the host.
func (g *Glancer) facts() facts {
	f := readFacts(g.proc)
	f.milliCPU, f.busyMilliCPU = g.sampler.busy()
	if f.milliCPU == 0 {
		f.miss("cpu", errors.New("cannot be read"))
	}
	return f
}

func cpusInWords(milli int64) string {
	return strconv.FormatFloat(math.Round(float64(milli)/100)/10, 'f', -1, 64) + " CPU"
}

func percent(part, whole int64) string {
	return strconv.FormatInt((part*100+whole/2)/cmp.Or(whole, 1), 10) + "%"
}

// bytesInWords is whole GiB; what is less than one, in the largest unit that
// doesn't make it nothing.
func bytesInWords(bytes int64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{30, "GB"}, {20, "MB"}, {10, "KB"}} {
		if n := bytes >> unit.shift; n > 0 {
			return strconv.FormatInt(n, 10) + " " + unit.name
		}
	}
	if bytes > 0 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	return "0 GB"
}
