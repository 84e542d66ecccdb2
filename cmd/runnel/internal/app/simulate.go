package app

import "fmt"

const (
	// ownDescriptors is what a process has open beside its simulated runners, and
	// while some of them start.
	ownDescriptors = 128
	// A runner has a data directory's lock and a cgroup or watch, and two connections
	// where its server is another process.
	descriptorsInside, descriptorsOutside = 2, 4
)

// CanSimulate says whether this process may open what n runners need: the limit is
// named before they are tried, and not met in the middle.
func CanSimulate(n int, serverInside bool) error {
	each := descriptorsOutside
	if serverInside {
		each = descriptorsInside
	}
	limit, known := descriptorLimit()
	need := uint64(n)*uint64(each) + ownDescriptors
	if !known || need <= limit {
		return nil
	}
	most := uint64(0)
	if limit > ownDescriptors {
		most = (limit - ownDescriptors) / uint64(each)
	}
	return fmt.Errorf("cannot simulate %d runners: they need %d open files, and this process may have %d, enough for %d (ulimit -n, or LimitNOFILE= of a unit)", n, need, limit, most)
}
