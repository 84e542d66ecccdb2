// Package timers starts jobs by the clock: it keeps a schedule of the fleet for
// each entry of a pipeline's schedule, and takes what they fire.
//
// The definitions of pipelines are the truth. Only the engine that leads works
// here; a fire that it has taken and not answered for goes to the next one, and
// the job of a tick has an id made of the schedule and the tick, so that there is
// one job a tick whoever takes the fire.
package timers
