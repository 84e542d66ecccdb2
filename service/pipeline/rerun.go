package pipeline

import (
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
)

// rerun makes a new job of one that has ended.
func (t *term) rerun(id string, r *pb.RerunJob) (*pb.Job, error) {
	oldID, err := jobID(r.GetId())
	if err != nil {
		return nil, err
	}
	old, err := t.readJob(oldID)
	if err != nil {
		return nil, err
	}
	if !old.job.GetCompleted() {
		return nil, conflict("job %s has not ended: cancel it, or wait", oldID)
	}
	in, err := t.readInput(oldID)
	if err != nil {
		return nil, err
	}
	job := &pb.Job{
		Pipeline: old.job.GetPipeline(), Tasks: jobTasks(in.Definition), VariablesJson: old.job.GetVariablesJson(), User: r.GetUser(),
		QueuePartition: old.job.GetQueuePartition(), RerunOf: oldID, ContinueAfterFailure: old.job.GetContinueAfterFailure(),
	}
	if job.Id, err = newJobID(id); err != nil {
		return nil, err
	}
	again, err := tasksAgain(in.Definition, old.job, r)
	if err != nil {
		return nil, err
	}
	for i, task := range job.Tasks {
		if was := old.job.Task(task.GetName()); was != nil && !again[task.GetName()] {
			kept := proto.CloneOf(was)
			kept.Kept, kept.Number = true, task.GetNumber()
			job.Tasks[i] = kept
		}
	}
	return t.accept(job, in)
}

// tasksAgain are the tasks that a rerun executes: all of them, those that did
// not end well, or one and what depends on it. What depends on one that is
// executed is as well.
func tasksAgain(p *definition.Pipeline, old *pb.Job, r *pb.RerunJob) (map[string]bool, error) {
	again := map[string]bool{}
	if r.GetFrom() != "" && p.Tasks[r.GetFrom()] == nil {
		return nil, pb.Invalid("cannot run again from %q: it is not a task of pipeline %q", r.GetFrom(), old.GetPipeline())
	}
	if from := p.Tasks[r.GetFrom()]; from != nil && from.When == "" {
		for _, dep := range from.DependsOn {
			if was := old.Task(dep); was == nil || !endedWell(was) {
				return nil, conflict("cannot run again from %q: %q, which it depends on, has not ended well; run again from that, or what failed", r.GetFrom(), dep)
			}
		}
	}
	for _, name := range p.Order() {
		was := old.Task(name)
		switch {
		case r.GetFrom() != "":
			again[name] = name == r.GetFrom() || was == nil || !graph.Status(was.GetStatus()).Final()
		case r.GetFailed():
			again[name] = was == nil || !endedWell(was)
		default:
			again[name] = true
		}
		for _, dep := range p.Tasks[name].DependsOn {
			again[name] = again[name] || again[dep]
		}
	}
	if r.GetFailed() && len(again) > 0 && !anyTrue(again) {
		return nil, conflict("every task of job %s has ended well: nothing is to be run again", old.GetId())
	}
	return again, nil
}

func endedWell(t *pb.JobTask) bool {
	return t.GetStatus() == string(graph.TaskDone) || t.GetStatus() == string(graph.TaskError) && t.GetAllowFailure()
}

func anyTrue(all map[string]bool) bool {
	for _, v := range all {
		if v {
			return true
		}
	}
	return false
}
