// Package records knows what engines store: definitions, queues, inputs and jobs.
// It finds jobs by an index, and follows all of it for programs that are no engine.
package records
