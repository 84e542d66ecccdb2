// Package pipeline reads pipeline definitions and decides what a job does next.
//
// A pipeline is a graph of tasks, written in a pipelines.yml. A job is one
// execution of a pipeline; its tasks are ordinary runs of the fleet, so that
// their output is in JetStream like any other run's. How many jobs of a pipeline
// run at a time, and what becomes of those that have to wait, is the pipeline's
// own setting.
//
// What decides is pure: Parse and Load read definitions, Head is the queue of
// one pipeline, Graph is the state of one job, and Variables renders a task's
// script. None of them knows NATS, a clock or a goroutine.
package pipeline
