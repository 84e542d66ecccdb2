package roles

import "github.com/runnel-io/runnel/subjects"

// queueStream and queueBucket are those of the durable queue.
func (l *list) queueStream() string { return l.space.QueueStream() }
func (l *list) queueBucket() string { return subjects.BucketStream(l.space.QueueBucket()) }

// readQueue is what it takes to see what waits.
func (l *list) readQueue() {
	stream, bucket := l.queueStream(), l.queueBucket()
	l.ask(api+"STREAM.INFO."+stream, "find the queue")
	l.ask(api+"STREAM.INFO."+bucket, "find the queue")
	l.ask(api+"CONSUMER.LIST."+stream, "count what waits")
	l.ask(api+"STREAM.MSG.GET."+stream, "read what waits")
	l.ask(api+"DIRECT.GET."+stream, "read what waits")
	l.ask(api+"DIRECT.GET."+bucket+"."+l.queueKey(">"), "see what is paused, and conflicts")
}

func (l *list) queueKey(key string) string { return subjects.KeySubject(l.space.QueueBucket(), key) }

// putWork is what it takes to put work into the queue of a pool.
func (l *list) putWork(pool string) {
	l.ask(l.space.Work(pool, "*", "*"), "put work into the pool's queue")
	l.ask(l.space.QueueTell(pool), "tell the pool's runners that there is a queue")
}

// useQueue is the whole of a client's use: put, look, pause, retry.
func (l *list) useQueue() {
	l.putWork("*")
	l.ask(l.queueKey(">"), "pause pools, and try failed work again")
	l.ask(api+"STREAM.MSG.GET."+l.queueBucket(), "read from the leader what is paused, and what has failed")
}

// readSchedules is what it takes to see schedules.
func (l *list) readSchedules() {
	stream := l.space.ScheduleStream()
	l.ask(api+"STREAM.INFO."+stream, "find the schedules")
	l.ask(api+"STREAM.MSG.GET."+stream, "read a schedule")
	l.ask(api+"DIRECT.GET."+stream, "list the schedules")
}

// useSchedules is the whole of a client's use: add, change, pause, run and remove.
func (l *list) useSchedules() {
	bucket := l.space.ScheduleBucket()
	last := subjects.BucketStream(bucket)
	l.readSchedules()
	l.ask(l.space.ScheduleDef("*"), "add, change and pause schedules")
	l.ask(l.space.ScheduleGap("*"), "add the tick that the wall clock skips")
	l.ask(l.space.Fired(true, "*", "*"), "run a schedule for all now")
	l.ask(l.space.ScheduleTell(), "tell the runners that there are schedules")
	l.ask(api+"STREAM.INFO."+last, "find what schedules have done last")
	l.ask(api+"STREAM.MSG.GET."+last, "read what a schedule has done last")
	l.ask(subjects.KeySubject(bucket, ">"), "forget what a removed schedule has done last")
}

// scheduler has the queue and schedules, and nothing else.
func (l *list) scheduler() {
	l.request(subjects.Query, subjects.Any, "wait for work")
	l.readRecords()
	l.readCards()
	l.listen()
	l.readQueue()
	l.useQueue()
	l.removeWork()
	l.request(subjects.Schedule, subjects.Any, "have a runner do it")
	l.useSchedules()
}

// removeWork is what it takes to remove work that waits.
func (l *list) removeWork() {
	l.ask(api+"STREAM.MSG.DELETE."+l.queueStream(), "remove work that waits")
	l.ask(subjects.KeySubject(l.space.RunsBucket(), "*"), "record that removed work never starts")
}
