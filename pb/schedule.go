package pb

import "google.golang.org/protobuf/reflect/protoreflect"

// maxPage is how many records a page may have.
const maxPage = 1000

// Validate: see Request. What a schedule itself says is read by package schedule.
func (r *ScheduleRequest) Validate() error {
	if err := validateEnvelope(r); err != nil {
		return err
	}
	action := r.GetSpec().GetSchedule()
	if action == nil {
		return invalid("spec.schedule is missing")
	}
	asked := 0
	action.ProtoReflect().Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool {
		asked++
		return true
	})
	if asked != 1 {
		return invalid("spec.schedule: exactly one of list, show, add, change, remove, pause, resume, run and history is expected")
	}
	for _, part := range []struct {
		asked bool
		name  string
		value string
	}{
		{action.Show != nil, "show", action.GetShow().GetName()},
		{action.Add != nil, "add", action.GetAdd().GetName()},
		{action.Change != nil, "change", action.GetChange().GetName()},
		{action.Remove != nil, "remove", action.GetRemove().GetName()},
		{action.Pause != nil, "pause", action.GetPause().GetName()},
		{action.Resume != nil, "resume", action.GetResume().GetName()},
		{action.Run != nil, "run", action.GetRun().GetName()},
		{action.History != nil, "history", action.GetHistory().GetName()},
	} {
		if part.asked && part.value == "" {
			return invalid("spec.schedule.%s.name is missing", part.name)
		}
	}
	for of, n := range map[string]int64{"list": action.GetList().GetLimit(), "history": action.GetHistory().GetLimit()} {
		if n < 0 || n > maxPage {
			return invalid("spec.schedule.%s.limit: %d must be from 0 to %d", of, n, maxPage)
		}
	}
	return nil
}
