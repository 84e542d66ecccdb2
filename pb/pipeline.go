package pb

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxVariables is how large a job's variables may be, as JSON, in bytes.
const MaxVariables = 512 << 10

// Validate: see Request.
func (r *PipelineRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	action := r.GetSpec().GetPipeline()
	if action == nil {
		return invalid("spec.pipeline is missing")
	}
	var (
		asked []protoreflect.FieldDescriptor
		m     = action.ProtoReflect()
	)
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		asked = append(asked, f)
		return true
	})
	if len(asked) != 1 {
		return invalid("spec.pipeline: exactly one of schedule, list, jobs, job, cancel, rerun, apply and remove is expected")
	}
	return action.validateParts()
}

// validateParts names what the action lacks.
func (a *PipelineAction) validateParts() error {
	for _, part := range []struct {
		asked bool
		name  string
		value string
	}{
		{a.Schedule != nil, "schedule.pipeline", a.GetSchedule().GetPipeline()},
		{a.Job != nil, "job.id", a.GetJob().GetId()},
		{a.Cancel != nil, "cancel.id", a.GetCancel().GetId()},
		{a.Rerun != nil, "rerun.id", a.GetRerun().GetId()},
		{a.Remove != nil, "remove.name", a.GetRemove().GetName()},
		{a.Apply != nil, "apply.source", a.GetApply().GetSource()},
	} {
		if part.asked && part.value == "" {
			return invalid("spec.pipeline.%s is missing", part.name)
		}
	}
	if a.Rerun != nil && a.Rerun.GetFailed() && a.Rerun.GetFrom() != "" {
		return invalid("spec.pipeline.rerun: failed and from don't go together")
	}
	if a.Jobs != nil && a.Jobs.GetLimit() < 0 {
		return invalid("spec.pipeline.jobs.limit: %d is negative", a.Jobs.GetLimit())
	}
	if a.Schedule != nil && a.Schedule.Variables != nil && a.Schedule.VariablesJson != "" {
		return invalid("spec.pipeline.schedule: variables and variablesJson don't go together")
	}
	return nil
}

// VariablesText is the job's variables as the text of a JSON object.
func (s *ScheduleJob) VariablesText() ([]byte, error) {
	if s.GetVariables() == nil {
		return []byte(s.GetVariablesJson()), nil
	}
	body, err := protojson.Marshal(s.GetVariables())
	if err != nil {
		return nil, invalid("spec.pipeline.schedule.variables: %s", tidy(err))
	}
	return body, nil
}

// JobOf reads a job's record.
func JobOf(body []byte) (*Job, error) {
	job := &Job{}
	if err := UnmarshalRecord(body, job); err != nil {
		return nil, err
	}
	return job, nil
}

// Task finds a task of the job by name, or nil.
func (j *Job) Task(name string) *JobTask {
	for _, t := range j.GetTasks() {
		if t.GetName() == name {
			return t
		}
	}
	return nil
}

// VariablesMap decodes the job's variables as JSON; what is no object gives none.
func (j *Job) VariablesMap() map[string]any {
	var values map[string]any
	if json.Unmarshal([]byte(j.GetVariablesJson()), &values) != nil {
		return nil
	}
	return values
}

// RunID is the id of a task's run: of its first attempt, or of a later one.
func (t *JobTask) RunID(job string, attempt int32) string {
	if attempt <= 1 {
		return fmt.Sprintf("%s-%d", job, t.GetNumber())
	}
	return fmt.Sprintf("%s-%d-a%d", job, t.GetNumber(), attempt)
}

// freeForm says whether a message's JSON is any object, not one of named fields.
func freeForm(m protoreflect.MessageDescriptor) bool {
	return m.FullName() == "google.protobuf.Struct"
}
