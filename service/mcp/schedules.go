package mcp

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addSchedules() {
	add(s, tool{
		name: "list_schedules", title: "List schedules", need: NeedRead,
		about: "Commands that run at their times: when each is due, and how it went. With a name, that one and what became of its last ticks.",
	}, doListSchedules)
	add(s, tool{
		name: "save_schedule", title: "Save a schedule", need: NeedRun, changes: true, destroys: true,
		about: "Have a command run at its times: by a cron pattern, at an interval, or once. Without all, one runner of a pool runs each tick.",
	}, doSaveSchedule)
	add(s, tool{
		name: "change_schedule", title: "Change a schedule", need: NeedRun, changes: true, destroys: true,
		about: "Pause, resume or remove a schedule, or have its command run now.",
	}, doChangeSchedule)
}

type listSchedulesIn struct {
	Name  string `json:"name,omitempty" jsonschema:"only this one, with its history"`
	Limit int    `json:"limit,omitempty" jsonschema:"at most so many schedules, or records of one, 1 to 100; default 20"`
}

type listSchedulesOut struct {
	Schedules []scheduleInfo `json:"schedules"`
	History   []listedRun    `json:"history,omitempty" jsonschema:"what became of its ticks, newest first"`
	Cut       string         `json:"cut,omitempty" jsonschema:"what was left out"`
}

type scheduleInfo struct {
	Name     string   `json:"name"`
	When     string   `json:"when"`
	Where    string   `json:"where"`
	Next     []string `json:"next,omitempty" jsonschema:"its next ticks"`
	Paused   bool     `json:"paused,omitempty"`
	PausedBy string   `json:"paused_by,omitempty"`
	Over     bool     `json:"over,omitempty" jsonschema:"no tick of it can come any more"`
	By       string   `json:"by,omitempty" jsonschema:"who made it"`
	Pipeline string   `json:"pipeline,omitempty" jsonschema:"whose jobs it starts; it is changed there"`
	LastRun  string   `json:"last_run,omitempty" jsonschema:"the newest record of its ticks"`
	LastWas  string   `json:"last_was,omitempty"`
}

// doListSchedules is the tool list_schedules.
func doListSchedules(ctx context.Context, c *call, in listSchedulesIn) (out listSchedulesOut, err error) {
	out.Schedules = []scheduleInfo{}
	limit, err := listLimit(in.Limit)
	if err != nil {
		return out, err
	}
	if in.Name == "" {
		all, err := c.server.client.ShownSchedules(ctx)
		for _, one := range firstOf(all, limit) {
			out.Schedules = append(out.Schedules, scheduleInfoOf(one))
		}
		if n := len(all) - len(out.Schedules); n > 0 {
			out.Cut = fmt.Sprintf("%d more schedules", n)
		}
		return out, err
	}
	one, err := c.server.client.ShownSchedule(ctx, in.Name)
	if err != nil {
		return out, err
	}
	out.Schedules = append(out.Schedules, scheduleInfoOf(one))
	runs, err := c.server.client.ScheduleRuns(ctx, in.Name, limit)
	for _, run := range runs {
		out.History = append(out.History, listed(run))
	}
	return out, err
}

func scheduleInfoOf(m *pb.Schedule) scheduleInfo {
	info := scheduleInfo{
		Name: m.GetName(), When: whenText(m), Where: whereText(m), Paused: m.GetPaused() != nil, PausedBy: clip.Short(m.GetPaused().GetBy(), 100),
		Over: m.GetOver(), By: clip.Short(m.GetBy(), 100), Pipeline: m.GetPipeline(), LastRun: m.GetLast().GetId(),
	}
	if m.GetLast() != nil {
		info.LastWas = m.GetLast().GetState().String()
	}
	for _, tick := range m.GetNext() {
		info.Next = append(info.Next, timeText(tick))
	}
	return info
}

func whenText(m *pb.Schedule) string {
	switch {
	case m.GetCron() != "":
		return strings.TrimSpace(m.GetCron() + " " + m.GetTz())
	case m.GetEvery() != "":
		return "every " + m.GetEvery()
	case m.GetAt() != nil:
		return "at " + timeText(m.GetAt())
	}
	return ""
}

func whereText(m *pb.Schedule) string {
	switch {
	case !m.GetAll() && m.GetPool() == "":
		return "pool default"
	case !m.GetAll():
		return "pool " + m.GetPool()
	case len(m.GetOn()) > 0:
		return "on " + clip.Short(strings.Join(m.GetOn(), ", "), 300)
	case m.GetWhere() != "":
		return "all where " + clip.Short(m.GetWhere(), 300)
	case m.GetPool() != "":
		return "all of pool " + m.GetPool()
	}
	return "all"
}

type saveScheduleIn struct {
	Name string `json:"name" jsonschema:"up to 31 letters, digits, - and _"`
	Cron string `json:"cron,omitempty" jsonschema:"a pattern of five fields: minute, hour, day, month, weekday; give one of cron, every and at"`
	Zone string `json:"tz,omitempty" jsonschema:"the pattern's time zone, such as Europe/Berlin; default UTC"`

	Every   string `json:"every,omitempty" jsonschema:"an interval, such as 5m"`
	At      string `json:"at,omitempty" jsonschema:"once, at a time such as 2006-01-02T15:04:05Z"`
	Until   string `json:"until,omitempty" jsonschema:"no tick after this time"`
	Overlap string `json:"overlap,omitempty" jsonschema:"while the last run goes on: skip (the default), allow or replace"`
	Pool    string `json:"pool,omitempty" jsonschema:"one runner of this pool, or with all every one of it"`
	On      string `json:"on,omitempty" jsonschema:"the runner of this name"`
	Where   string `json:"where,omitempty" jsonschema:"every runner of which this is true"`
	All     bool   `json:"all,omitempty" jsonschema:"every runner"`
	Replace bool   `json:"replace,omitempty" jsonschema:"write over the schedule of that name"`
	Program
}

// doSaveSchedule is the tool save_schedule.
func doSaveSchedule(ctx context.Context, c *call, in saveScheduleIn) (out scheduleInfo, err error) {
	task, err := in.task()
	if err != nil {
		return out, err
	}
	c.claim(ctx, task)
	m := &pb.Schedule{
		Name: in.Name, Cron: in.Cron, Tz: in.Zone, Every: in.Every, Overlap: in.Overlap, Pool: in.Pool, Where: in.Where, All: in.All,
		Task: task, By: c.server.user(ctx),
	}
	if in.On != "" {
		m.On = []string{in.On}
	}
	for _, t := range []struct {
		name, text string
		to         **timestamppb.Timestamp
	}{{"at", in.At, &m.At}, {"until", in.Until, &m.Until}} {
		at, err := timeOf(t.name, t.text)
		if err != nil {
			return out, err
		}
		if at != nil {
			*t.to = timestamppb.New(*at)
		}
	}
	def := client.ScheduleOf(m)
	if _, getErr := c.server.client.GetSchedule(ctx, in.Name); in.Replace && getErr == nil {
		def, err = c.server.client.ChangeSchedule(ctx, def)
	} else {
		def, err = c.server.client.PutSchedule(ctx, def)
	}
	if err != nil {
		return out, err
	}
	return scheduleInfoOf(def.Message(time.Now())), nil
}

type changeScheduleIn struct {
	Name   string `json:"name"`
	Action string `json:"action" jsonschema:"pause, resume, run or remove"`
}

type changeScheduleOut struct {
	Done string `json:"done"`
	ID   string `json:"id,omitempty" jsonschema:"with run: of the work or, where it is for all, of the group of runs"`
}

// doChangeSchedule is the tool change_schedule.
func doChangeSchedule(ctx context.Context, c *call, in changeScheduleIn) (out changeScheduleOut, err error) {
	switch in.Action {
	case "pause":
		_, err = c.server.client.PauseSchedule(ctx, in.Name, c.server.user(ctx))
		out.Done = in.Name + " is paused"
	case "resume":
		_, err = c.server.client.ResumeSchedule(ctx, in.Name)
		out.Done = in.Name + " is resumed"
	case "run":
		out.ID, err = c.server.client.FireSchedule(ctx, in.Name)
		out.Done = in.Name + " runs now"
	case "remove":
		err = c.server.client.RemoveSchedule(ctx, in.Name)
		out.Done = in.Name + " is removed; what it has started goes on"
	default:
		return out, fmt.Errorf("cannot use action %q: it is pause, resume, run or remove", clip.Short(in.Action, 100))
	}
	return out, err
}
