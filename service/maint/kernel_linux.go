package maint

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/pb"
)

// kernel is the kernel's clock, seen and set through adjtimex(2).
type kernel struct {
	// adjtimex is replaced in tests, which must not set the clock that everything
	// else on the machine goes by.
	adjtimex func(*unix.Timex) (int, error)
}

func newKernel() kernel { return kernel{adjtimex: unix.Adjtimex} }

// step moves the clock at once. It is relative and one system call, so that no
// time is lost between reading the clock and writing it, and in microseconds,
// because asking for nanoseconds would change the unit for everybody.
func (k kernel) step(by time.Duration) error {
	return k.change(unix.Timex{Modes: unix.ADJ_SETOFFSET, Time: unix.NsecToTimeval(int64(by))})
}

// slew lets the clock run 500 ppm faster or slower until by is made up, as
// adjtime(3) does. What was left of an earlier slew is forgotten.
func (k kernel) slew(by time.Duration) error {
	change := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	put(&change.Offset, by.Microseconds())
	return k.change(change)
}

// remaining is what the kernel has still to slew.
func (k kernel) remaining() time.Duration {
	left := unix.Timex{Modes: unix.ADJ_OFFSET_SS_READ}
	if _, err := k.adjtimex(&left); err != nil {
		return 0
	}
	return time.Duration(left.Offset) * time.Microsecond
}

// vouch tells the kernel that its clock was verified, which a step had made it
// doubt. The kernel lets its error grow from here and takes the clock for
// unsynchronised again some hours later, if nobody comes back.
func (k kernel) vouch(worst time.Duration) error {
	var now unix.Timex
	if _, err := k.adjtimex(&now); err != nil {
		return err
	}
	change := unix.Timex{
		Modes:  unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		Status: now.Status &^ unix.STA_UNSYNC,
	}
	put(&change.Maxerror, worst.Microseconds())
	put(&change.Esterror, worst.Microseconds())
	return k.change(change)
}

func (k kernel) change(to unix.Timex) error {
	_, err := k.adjtimex(&to)
	if errors.Is(err, unix.EPERM) {
		return ErrNoPermission
	}
	return err
}

// put writes a field whose size is the machine's word.
func put[T int32 | int64](field *T, value int64) { *field = T(value) }

func (k kernel) synchronised() bool {
	state, err := k.adjtimex(new(unix.Timex))
	return err == nil && state != unix.TIME_ERROR
}

// view is what the kernel says of its clock.
func (k kernel) view() *pb.KernelClock {
	var t unix.Timex
	state, err := k.adjtimex(&t)
	if err != nil {
		return &pb.KernelClock{}
	}
	v := &pb.KernelClock{
		State:          stateNames[state],
		EstimatedError: float64(t.Esterror) / 1e3,
		MaxError:       float64(t.Maxerror) / 1e3,
	}
	if t.Status&unix.STA_PLL != 0 {
		v.Mode = "pll"
		if t.Status&unix.STA_FLL != 0 {
			v.Mode = "fll"
		}
	}
	return v
}

var stateNames = map[int]string{
	unix.TIME_OK:    "synchronised",
	unix.TIME_INS:   "leap second to be inserted",
	unix.TIME_DEL:   "leap second to be deleted",
	unix.TIME_OOP:   "leap second in progress",
	unix.TIME_WAIT:  "leap second has occurred",
	unix.TIME_ERROR: "unsynchronised",
}

// daemons are the programs that keep a clock, by the 15 bytes of their names
// that the kernel keeps.
var daemons = map[string]string{
	"chronyd":         "chronyd",
	"ntpd":            "ntpd", // ISC's, NTPsec's, OpenNTPD's and BusyBox's
	"systemd-timesyn": "systemd-timesyncd",
}

// daemon names the program that keeps this clock, or "". Only processes that can
// be seen from here count: not those of the host outside a container.
func (kernel) daemon() string {
	proc, err := os.Open("/proc")
	if err != nil {
		return ""
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, pid := range names {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue // it has ended
		}
		name := daemons[strings.TrimSuffix(string(comm), "\n")]
		if name == "" {
			continue
		}
		if line, known := commandLines.of(pid); !known || keepsClock(line) {
			return name
		}
	}
	return ""
}

// keepsClock reads a daemon's command line, NUL between words. A zombie has
// none, and `chronyd -x` serves time without touching the clock.
func keepsClock(commandLine string) bool {
	words := strings.Split(strings.TrimRight(commandLine, "\x00"), "\x00")
	if words[0] == "" {
		return false
	}
	for _, word := range words[1:] {
		if word == "-x" && strings.Contains(words[0], "chronyd") {
			return false
		}
	}
	return true
}
