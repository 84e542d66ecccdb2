//go:build !linux

package maint

import (
	"time"

	"github.com/runnel-io/runnel/pb"
)

// kernel is a clock that is only read: this system's way to set it is not known
// here, and neither is the kernel's opinion of it.
type kernel struct{}

func newKernel() kernel { return kernel{} }

func (kernel) step(time.Duration) error  { return ErrUnsupported }
func (kernel) slew(time.Duration) error  { return ErrUnsupported }
func (kernel) vouch(time.Duration) error { return ErrUnsupported }
func (kernel) remaining() time.Duration  { return 0 }
func (kernel) synchronised() bool        { return false }
func (kernel) view() *pb.KernelClock     { return &pb.KernelClock{} }
func (kernel) daemon() string            { return "" }
