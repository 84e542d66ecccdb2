package glance

// SetProc makes g read processes and tables from another folder than /proc.
func SetProc(g *Glancer, dir string) { g.proc = dir }

var (
	DirAfter = dirAfter
	DirNext  = dirNext
)
