// Package fires makes runs of what schedules fire.
//
// What is fired for any runner of a pool is taken by one of them, whether it has
// a free slot or not, and put into the durable queue as work whose id is made of
// the schedule's name and the tick: a fire that is delivered twice, or taken by
// two, can't run twice. What is fired for all is read by each runner for itself,
// from as long ago as the schedule allows for, and run here.
//
// Whoever handles a fire compares its tick with the last one that is known: ticks
// in between were never fired, because the server was down or had no leader, and
// get one record that counts them.
package fires
