//go:build !linux

package service_test

// Runners as processes that are killed and stopped are tested on Linux.
const asRunner = "RUNNEL_TEST_RUNNER"

func beRunner(string) int { return 2 }
