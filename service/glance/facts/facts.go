// Package facts reads what there is to know of this machine's size and load: CPUs,
// memory, storage, system, address. In a cgroup that has less than the host, it is
// the cgroup's.
package facts

// Facts of the system. What can't be had stays zero and is named in Missing.
type Facts struct {
	MilliCPU      int64 // logical CPUs × 1000, or the cgroup's share
	BusyMilliCPU  int64
	Memory        int64 // bytes
	MemoryUsed    int64
	Storage       int64
	StorageUsed   int64
	Host, OS      string
	Load          float64
	UptimeSeconds int64
	Missing       []Missing
}

// Missing says what can't be had, and why.
type Missing struct {
	What string
	Err  error
}

// Miss notes what can't be had, if there is an error.
func (f *Facts) Miss(what string, err error) {
	if err != nil {
		f.Missing = append(f.Missing, Missing{what, err})
	}
}
