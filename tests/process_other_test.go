//go:build !linux

package tests

// Processes that are killed and stopped at random are tested on Linux.
const asProcess = "RUNNEL_TEST_PROCESS"

func beProcess(string) int { return 2 }
