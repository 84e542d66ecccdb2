// Package pb holds the contracts: what goes over the wire and into KV.
//
// The .proto files say what every field means. The generated Go types are used
// everywhere, so a pb.Run is the record in KV, the reply on the wire and the
// JSON of the web; nothing copies it into a struct of its own. Beside them the
// package has only what follows from the request alone: its JSON form, its
// Validate, and the pure rules for scripts and params.
//
// Regenerate with "task generate".
package pb

// APIVersion is the only version of the envelope.
const APIVersion = "v1"

// Kind is the only kind of the envelope.
const Kind = "runner"

// Reasons why a run ended.
const (
	ReasonExit        = "exit"
	ReasonSignal      = "signal"
	ReasonTimeout     = "timeout"
	ReasonOOM         = "oom"
	ReasonCPULimit    = "cpu-limit"
	ReasonOutputLimit = "output-limit"
	ReasonAborted     = "aborted"
	ReasonLost        = "lost"
	ReasonRejected    = "rejected"
	ReasonExpired     = "expired"
	ReasonCompile     = "compile"
	ReasonSkipped     = "skipped"
)
