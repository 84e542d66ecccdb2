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
	"github.com/runnel-io/runnel/service/glance/facts"
)

// factKinds is how many things may be missing.
const factKinds = 5

// sys describes the system; room is for the processes.
func (g *Glancer) sys(ctx context.Context, q *pb.SysQuery, room int, reply *pb.SysReply) error {
	if _, err := firstPlace(q); err != nil {
		return err
	}
	f := g.facts()
	missing := said(f.Missing)
	if len(missing) >= factKinds {
		return errors.New("cannot describe the system: " + strings.Join(missing, "; "))
	}
	reply.Resource = &pb.Resource{
		Allocatable: &pb.Quantity{MilliCpu: f.MilliCPU, Memory: f.Memory, Storage: f.Storage},
		Requested:   &pb.Quantity{MilliCpu: f.BusyMilliCPU, Memory: f.MemoryUsed, Storage: f.StorageUsed},
	}
	reply.Stats = &pb.Stats{
		Cpu:     &pb.Usage{Total: cpusInWords(f.MilliCPU), Used: percent(f.BusyMilliCPU, f.MilliCPU)},
		Memory:  &pb.Usage{Total: bytesInWords(f.Memory), Used: bytesInWords(f.MemoryUsed)},
		Storage: &pb.Usage{Total: bytesInWords(f.Storage), Used: bytesInWords(f.StorageUsed)},
		Host:    f.Host,
		Os:      valid(f.OS),
		Load:    f.Load,
		Uptime:  f.UptimeSeconds,
	}
	if q.Processes == nil || q.GetProcesses() {
		more, err := g.processes(ctx, q, room, reply)
		missing = miss(append(missing, more...), "processes", err)
	}
	reply.Error = strings.Join(missing, "; ")
	return nil
}

// facts of now, of the cgroup where it has less than the host.
func (g *Glancer) facts() facts.Facts {
	f := facts.Read(g.proc)
	f.MilliCPU, f.BusyMilliCPU = g.sampler.Busy()
	if f.MilliCPU == 0 {
		f.Miss("cpu", errors.New("cannot be read"))
	}
	return f
}

// said are the things that are missing, each with its cause.
func said(missing []facts.Missing) (texts []string) {
	for _, m := range missing {
		texts = miss(texts, m.What, m.Err)
	}
	return texts
}

// miss adds what can't be had, if there is an error.
func miss(missing []string, what string, err error) []string {
	if err == nil {
		return missing
	}
	return append(missing, fmt.Sprintf("%s: %s", what, plain(cause(err))))
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
