package code

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

const program = `"language":"c","version":"*","files":[{"content":"x"}]`

func taskOf(t *testing.T, body string) (*pb.Task, string, error) {
	t.Helper()
	var q pistonRequest
	if err := json.Unmarshal([]byte(body), &q); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return q.task()
}

// What Piston refuses, in its words.
func TestRequestsThatPistonRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                                                                           "language is required as a string",
		`{"language":5,"version":"*"}`:                                                 "language is required as a string",
		`{"language":"","version":"*"}`:                                                "language is required as a string",
		`{"language":null,"version":"*"}`:                                              "language is required as a string",
		`{"language":"c"}`:                                                             "version is required as a string",
		`{"language":"c","version":3}`:                                                 "version is required as a string",
		`{"language":"c","version":"*"}`:                                               "files is required as an array",
		`{"language":"c","version":"*","files":{}}`:                                    "files is required as an array",
		`{"language":"c","version":"*","files":null}`:                                  "files is required as an array",
		`{"language":"c","version":"*","files":"x"}`:                                   "files is required as an array",
		`{"language":"c","version":"*","files":[]}`:                                    "files must include at least one file",
		`{"language":"c","version":"*","files":[{}]}`:                                  "files[0].content is required as a string",
		`{"language":"c","version":"*","files":[{"content":"x"},{"name":"b"}]}`:        "files[1].content is required as a string",
		`{"language":"c","version":"*","files":[{"content":5}]}`:                       "files[0].content is required as a string",
		`{"language":"c","version":"*","files":["x"]}`:                                 "files[0].content is required as a string",
		`{` + program + `,"stdin":5}`:                                                  "if specified, stdin is required to be a string",
		`{` + program + `,"args":"x"}`:                                                 "if specified, args is required to be an array of strings",
		`{` + program + `,"args":[5]}`:                                                 "if specified, args is required to be an array of strings",
		`{` + program + `,"run_timeout":"3000"}`:                                       "If specified, run_timeout must be a number",
		`{` + program + `,"compile_timeout":{}}`:                                       "If specified, compile_timeout must be a number",
		`{` + program + `,"run_memory_limit":true}`:                                    "If specified, run_memory_limit must be a number",
		`{` + program + `,"compile_cpu_time":[]}`:                                      "If specified, compile_cpu_time must be a number",
		`{` + program + `,"run_timeout":-1}`:                                           "run_timeout must be non-negative",
		`{` + program + `,"compile_cpu_time":-5}`:                                      "compile_cpu_time must be non-negative",
		`{"language":"c","version":"*","files":[{"content":"*","encoding":"base64"}]}`: "files[0].content is not base64: illegal base64 data at input byte 0",
		`{"language":"c","version":"*","files":[{"content":"5","encoding":"hex"}]}`:    "files[0].content is not hex: encoding/hex: odd length hex string",
	} {
		if _, _, err := taskOf(t, body); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// Each limit bounds its own step; what is not named is the runner's to say, but for
// the program's time.
func TestLimitsOfPiston(t *testing.T) {
	for limits, want := range map[string]string{
		``:                                     "run 3s - -, compile - - -",
		`,"run_timeout":0,"compile_timeout":0`: "run 3s - -, compile - - -",
		`,"run_timeout":null,"run_cpu_time":null`:                   "run 3s - -, compile - - -",
		`,"run_timeout":500`:                                        "run 500ms - -, compile - - -",
		`,"run_timeout":1500.5`:                                     "run 1.5005s - -, compile - - -",
		`,"compile_timeout":250`:                                    "run 3s - -, compile 250ms - -",
		`,"run_cpu_time":100,"compile_cpu_time":9`:                  "run 3s 100ms -, compile - 9ms -",
		`,"run_memory_limit":-1,"compile_memory_limit":-1`:          "run 3s - -, compile - - -",
		`,"run_memory_limit":1048576,"compile_memory_limit":5000.5`: "run 3s - 1048576, compile - - 5000",
		`,"run_timeout":1e300`:                                      "run 277777h46m40s - -, compile - - -",
		`,"run_timeout":0.2`:                                        "run 3s - -, compile - - -",
	} {
		task, _, err := taskOf(t, "{"+program+limits+"}")
		if err != nil {
			t.Errorf("%s: %v", limits, err)
			continue
		}
		of := func(texts ...string) string {
			for i := range texts {
				if texts[i] == "" {
					texts[i] = "-"
				}
			}
			return strings.Join(texts, " ")
		}
		memory, err := task.GetLanguage().CompileMemory()
		if err != nil {
			t.Fatal(err)
		}
		named, err := task.GetLimits().Named()
		if err != nil {
			t.Fatal(err)
		}
		got := "run " + of(task.GetLimits().GetWallTime(), task.GetLimits().GetCpuTime(), named["memoryMax"]) +
			", compile " + of(task.GetLanguage().GetCompileWallTime(), task.GetLanguage().GetCompileCpuTime(), memory)
		if got != want {
			t.Errorf("%s: %s, want %s", limits, got, want)
		}
		if task.GetTimeout() != "" {
			t.Errorf("%s: both steps together have %s", limits, task.GetTimeout())
		}
	}
}

// The first file without a name has the name that its language gives it.
func TestFilesOfPiston(t *testing.T) {
	task, language, err := taskOf(t, `{"language":"py","version":"3.x","args":["a",""],"stdin":"in","files":[{"content":"main"},{"content":"6869","encoding":"hex"},{"name":"d/x.py","content":"aGk","encoding":"base64"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{}
	for _, f := range task.GetFiles() {
		files = append(files, f.GetName()+" "+f.GetEncoding()+" "+f.GetContent())
	}
	if language != "py" || task.GetLanguage().GetVersion() != "3.x" || string(task.GetFile().GetContent()) != "main" || string(task.GetStdin()) != "in" ||
		fmt.Sprintf("%q", task.GetArgv()) != `["a" ""]` || strings.Join(files, ", ") != "file1.code base64 aGk=, d/x.py base64 aGk=" {
		t.Errorf("%s %v %v", language, task, files)
	}
	if task, _, err = taskOf(t, `{"language":"c","version":"*","args":"","stdin":null,"files":[{"name":"main.c","content":""}]}`); err != nil || task.GetFile() != nil || len(task.GetFiles()) != 1 || len(task.GetArgv()) != 0 {
		t.Errorf("%v, %v", task, err)
	}
}

// plain is a stage as code, signal, status and message.
func plain(s pistonStage) string {
	all := []string{"-", "-", "-", "-"}
	if s.Code != nil {
		all[0] = fmt.Sprint(*s.Code)
	}
	for i, text := range []*string{s.Signal, s.Status, s.Message} {
		if text != nil {
			all[i+1] = *text
		}
	}
	return strings.Join(all, "|")
}

func TestStagesOfPiston(t *testing.T) {
	cut := func(s lines.Stream) (o output) {
		if s == lines.Stderr {
			o.stderr.cut = true
		} else {
			o.stdout.cut = true
		}
		return o
	}
	for _, c := range []struct {
		run  *pb.Run
		out  output
		want string
	}{
		{&pb.Run{State: pb.State_COMPLETE, Reason: "exit"}, output{}, "0|-|-|-"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "exit", ExitCode: 3}, output{}, "3|-|RE|Exited with error status 3"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "signal", Signal: "SIGABRT"}, output{}, "-|SIGABRT|SG|Caught fatal signal 6"},
		{&pb.Run{State: pb.State_TIMEDOUT, Reason: "timeout", Signal: "SIGKILL"}, output{}, "-|SIGKILL|TO|Time limit exceeded (wall clock)"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "cpu-limit", Signal: "SIGXCPU"}, output{}, "-|SIGKILL|TO|Time limit exceeded"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "oom", Signal: "SIGKILL"}, output{}, "-|SIGKILL|SG|out of memory"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "output-limit"}, output{}, "-|SIGKILL|OL|stdout length exceeded"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "exit"}, cut(lines.Stdout), "-|SIGKILL|OL|stdout length exceeded"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "exit"}, cut(lines.Stderr), "-|SIGKILL|EL|stderr length exceeded"},
		{&pb.Run{State: pb.State_FAILED, Reason: "lost", Error: "its runner is gone"}, output{}, "-|-|XX|its runner is gone"},
		{&pb.Run{State: pb.State_ABORTED, Reason: "aborted"}, output{}, "-|-|XX|"},
		// It was not run: the compiler's result stands in its place.
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", ExitCode: 1, Compile: &pb.Step{ExitCode: 1, Reason: "exit"}}, output{}, "1|-|RE|Exited with error status 1"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", Compile: &pb.Step{Reason: "timeout", Signal: "SIGKILL"}}, output{}, "-|SIGKILL|TO|Time limit exceeded (wall clock)"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", Compile: &pb.Step{Reason: "cpu-limit"}}, output{}, "-|SIGKILL|TO|Time limit exceeded"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", Compile: &pb.Step{Reason: "oom", Signal: "SIGKILL"}}, output{}, "-|SIGKILL|SG|out of memory"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", Compile: &pb.Step{Reason: "output-limit"}}, output{}, "-|SIGKILL|OL|stdout length exceeded"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", Compile: &pb.Step{Reason: "signal", Signal: "SIGSEGV"}}, output{}, "-|SIGSEGV|SG|Caught fatal signal 11"},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "compile", ExitCode: 2}, output{}, "2|-|RE|Exited with error status 2"}, // of an older runner
	} {
		done := codeResult{record: c.run, run: c.out}
		if got := plain(done.runStage()); got != c.want {
			t.Errorf("%v: %s, want %s", c.run, got, c.want)
		}
	}
}

// Times are in milliseconds, memory in bytes.
func TestUsageOfPiston(t *testing.T) {
	began := timestamppb.Now()
	ended := timestamppb.New(began.AsTime().Add(1500e6))
	done := codeResult{record: &pb.Run{
		State: pb.State_COMPLETE, Reason: "exit", CpuTime: 0.25, PeakMemory: 4096, Started: began, Ended: ended,
		Compile: &pb.Step{CpuTime: 0.5, WallTime: 2, PeakMemory: 8192, Reason: "exit"},
	}}
	done.take(lines.Record{Text: []byte("out")})
	done.take(lines.Record{Text: []byte("err"), Stream: lines.Stderr, Open: true})
	done.take(lines.Record{Text: []byte("warning"), Step: "compile", Stream: lines.Stderr})
	done.take(lines.Record{End: &lines.End{}})
	done.take(lines.Record{Gap: &lines.Gap{Lines: 1}})
	run, compile := done.runStage(), done.compileStage()
	if run.CPUTime != 250 || run.WallTime != 1500 || run.Memory != 4096 || run.Stdout != "out\n" || run.Stderr != "err" || run.Output != "out\nerr" {
		t.Errorf("the run: %+v", run)
	}
	if compile.CPUTime != 500 || compile.WallTime != 2000 || compile.Memory != 8192 || compile.Stdout != "" || compile.Stderr != "warning\n" || *compile.Code != 0 {
		t.Errorf("the compiler: %+v", compile)
	}
}
