package service_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/tests/rig"
)

// A sample is what the same small program looks like in a language: it prints
// hello, its first argument, what it reads on standard input, and returns 3.
type sample struct {
	program  string // whether this host has it
	hello    string
	broken   string // does not compile; empty: there is no compiler
	crash    string // a runtime error
	forever  string
	hog      string // takes memory without end
	flood    string // prints without end
	uncaught string // part of what the crash says
}

var samples = map[string]sample{
	"bash": {
		program: "bash", hello: "echo hello $1; cat; exit 3", crash: "set -u; echo $nope", uncaught: "unbound variable",
		forever: "while :; do :; done", hog: "x=xxxxxxxx; while :; do x=$x$x; done", flood: "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done",
	},
	"python3": {
		program: "python3", hello: "import sys\nprint('hello', sys.argv[1])\nsys.stdout.write(sys.stdin.read())\nsys.exit(3)", crash: "def f(): raise ValueError('no')\nf()", uncaught: "ValueError: no",
		forever: "while True: pass", hog: "x=[]\nwhile True: x.append(bytearray(1<<24))", flood: "while True: print('y'*30)",
	},
	"node": {
		program: "node", hello: "const fs=require('fs'); console.log('hello', process.argv[2]); process.stdout.write(fs.readFileSync(0)); process.exitCode=3", crash: "throw new Error('no')", uncaught: "Error: no",
		forever: "for(;;){}", hog: "const x=[]; for(;;) x.push(Buffer.alloc(1<<24, 1))", flood: "const fs=require('fs'); for(;;) fs.writeSync(1, 'y'.repeat(30)+'\\n')",
	},
	"c": {
		program: "gcc", hello: "#include <stdio.h>\nint main(int c, char **v){ printf(\"hello %s\\n\", v[1]); int b; while((b=getchar())!=EOF) putchar(b); return 3; }", broken: "int main( { return 0; }",
		crash: "#include <stdlib.h>\nint main(){ abort(); }", forever: "int main(){ for(;;); }",
		hog: "#include <stdlib.h>\n#include <string.h>\nint main(){ for(;;) { char *p=malloc(1<<24); if(p) memset(p,1,1<<24); } }", flood: "#include <stdio.h>\nint main(){ for(;;) puts(\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"); }",
	},
	"c++": {
		program: "g++", hello: "#include <iostream>\nint main(int, char **v){ std::cout << \"hello \" << v[1] << \"\\n\" << std::cin.rdbuf(); return 3; }", broken: "int main() { return x; }",
		crash: "#include <stdexcept>\nint main(){ throw std::runtime_error(\"no\"); }", uncaught: "no", forever: "int main(){ volatile int i=0; for(;;) i=i+1; }",
		hog: "#include <vector>\nint main(){ std::vector<std::vector<char>> x; for(;;) x.emplace_back(1<<24, 1); }", flood: "#include <cstdio>\nint main(){ for(;;) std::puts(\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"); }",
	},
	"go": {
		program: "go", hello: "package main\nimport (\"fmt\";\"io\";\"os\")\nfunc main(){ fmt.Println(\"hello\", os.Args[1]); io.Copy(os.Stdout, os.Stdin); os.Exit(3) }", broken: "package main\nfunc main(){ x }",
		crash: "package main\nfunc main(){ panic(\"no\") }", uncaught: "panic: no", forever: "package main\nfunc main(){ for {} }",
		hog: "package main\nfunc main(){ var x [][]byte; for { b:=make([]byte,1<<24); for i:=range b { b[i]=1 }; x=append(x,b) } }", flood: "package main\nimport \"os\"\nfunc main(){ for { os.Stdout.WriteString(\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\\n\") } }",
	},
	"rust": {
		program: "rustc", hello: "use std::io::*;\nfn main(){ println!(\"hello {}\", std::env::args().nth(1).unwrap()); copy(&mut stdin(), &mut stdout()).unwrap(); std::process::exit(3) }", broken: "fn main(){ let x: i32 = \"no\"; }",
		crash: "fn main(){ panic!(\"no\") }", uncaught: "panicked", forever: "fn main(){ loop { std::hint::spin_loop() } }",
		hog: "fn main(){ let mut x = vec![]; loop { x.push(vec![1u8; 1<<24]); } }", flood: "fn main(){ loop { println!(\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\") } }",
	},
	"java": {
		program: "javac", hello: "public class Main { public static void main(String[] a) throws Exception { System.out.println(\"hello \" + a[0]); System.in.transferTo(System.out); System.out.flush(); System.exit(3); } }", broken: "public class Main { int x = \"no\"; }",
		crash: "public class Main { public static void main(String[] a) { throw new RuntimeException(\"no\"); } }", uncaught: "RuntimeException: no", forever: "public class Main { public static void main(String[] a) { for(;;); } }",
		hog: "import java.util.*; public class Main { public static void main(String[] a) { var x = new ArrayList<int[]>(); for(;;) x.add(new int[1<<20]); } }", flood: "public class Main { public static void main(String[] a) { for(;;) System.out.println(\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"); } }",
	},
	"ruby": {
		program: "ruby", hello: "puts \"hello #{ARGV[0]}\"\nprint STDIN.read\nexit 3", crash: "raise 'no'", uncaught: "no (RuntimeError)",
		forever: "loop {}", hog: "x=[]\nloop { x << 'y'*(1<<24) }", flood: "loop { puts 'y'*30 }",
	},
	"php": {
		program: "php", hello: "<?php echo \"hello $argv[1]\\n\"; echo stream_get_contents(STDIN); exit(3);", crash: "<?php throw new Exception('no');", uncaught: "no",
		forever: "<?php for(;;);", hog: "<?php ini_set('memory_limit','-1'); $x=[]; for(;;) $x[]=str_repeat('y',1<<24);", flood: "<?php for(;;) echo str_repeat('y',30).\"\\n\";",
	},
	"perl": {
		program: "perl", hello: "print \"hello $ARGV[0]\\n\"; print <STDIN>; exit 3", crash: "die 'no'", uncaught: "no at main.pl",
		forever: "1 while 1", hog: "my @x; push @x, 'y' x (1<<24) while 1", flood: "print 'y' x 30, \"\\n\" while 1",
	},
	"lua": {
		program: "lua", hello: "print('hello', arg[1]) io.write(io.read('a')) os.exit(3)", crash: "error('no')", uncaught: "no",
		forever: "while true do end", hog: "local x={} while true do x[#x+1]=string.rep('y',1<<24)..#x end", flood: "while true do print(string.rep('y',30)) end",
	},
}

// codeTask is a task in a language; more is added to it as it is.
func codeTask(language, source, more string) string {
	return fmt.Sprintf(`{"language":{"name":%q},"file":{"content":%q}%s}`, language, base64.StdEncoding.EncodeToString([]byte(source)), more)
}

// codeRunner is a fleet with one runner that can run languages strictly.
func codeRunner(t *testing.T, cfg service.Config) *fleet {
	t.Helper()
	f := newFleet(t)
	f.curious = true
	f.start(cfg)
	f.needIsolation("strict")
	return f
}

// Every language that is installed here does what it should, and tells how it
// ended; those that are not are refused in words.
func TestEveryLanguage(t *testing.T) {
	f := codeRunner(t, service.Config{})
	for name, s := range samples {
		t.Run(name, func(t *testing.T) {
			if (name == "go" || name == "java") && os.Getenv("RUNNEL_LONG") == "" {
				t.Skip("compiles for a minute: .ci/run long, tests/prove long")
			}
			g := f.in(t)
			if _, err := exec.LookPath(s.program); err != nil {
				g.refused(400, "this host has no", "runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask(name, s.hello, "")+`}}`)
				return
			}
			g.testLanguage(name, s)
		})
	}
	f.refused(400, "there is no language", "runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask("cobol", "x", "")+`}}`)
	f.refused(400, "no version", "runner.task.any", `{"kind":"runner","spec":{"task":`+strings.Replace(codeTask("bash", "x", ""), `"bash"`, `"bash","version":"1.0"`, 1)+`}}`)
}

func (f *fleet) testLanguage(name string, s sample) {
	t := f.t
	f.patience = 10 * time.Minute // whichever is the first Go waits for its library
	t.Run("hello", func(t *testing.T) {
		g := f.in(t)
		for range 2 { // the second one from the cache
			got := g.run(codeTask(name, s.hello, `,"argv":["a b"],"stdin":`+quote(base64.StdEncoding.EncodeToString([]byte("line one\nline two\n")))))
			if strings.ReplaceAll(got.stdout, "\t", " ") != "hello a b\nline one\nline two\n" || got.stderr != "" || got.end.ExitCode != 3 || got.end.Reason != "exit" {
				t.Fatalf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
			}
			compile, compiled := g.record(got.id)["compile"].(map[string]any)
			if compiled != (s.broken != "") || compiled && compile["reason"] != "exit" {
				t.Errorf("the record's compile is %v", compile)
			}
		}
	})
	t.Run("imports", func(t *testing.T) { f.in(t).testImports(name) })
	t.Run("compile error", func(t *testing.T) {
		if s.broken == "" {
			t.Skip("there is no compiler")
		}
		g := f.in(t)
		got := g.run(codeTask(name, s.broken, ""))
		compile, _ := g.record(got.id)["compile"].(map[string]any)
		if got.end.State != "COMPLETE" || got.end.Reason != "compile" || got.end.ExitCode == 0 || got.stdout+got.stderr == "" || compile["exitCode"] != float64(got.end.ExitCode) || compile["reason"] != "exit" {
			t.Errorf("got %q %q %+v, compile %v", got.stdout, got.stderr, got.end.End, compile)
		}
	})
	t.Run("no source", func(t *testing.T) {
		if s.broken == "" {
			t.Skip("there is no compiler")
		}
		g := f.in(t)
		got := g.run(codeTask(name, "\n", ""))
		if got.end.State != "COMPLETE" || got.end.Reason != "compile" || got.end.ExitCode == 0 {
			t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
		}
	})
	t.Run("runtime error", func(t *testing.T) {
		g := f.in(t)
		got := g.run(codeTask(name, s.crash, ""))
		if !strings.Contains(got.stdout+got.stderr, s.uncaught) || got.end.State != "COMPLETE" || got.end.ExitCode == 0 && got.end.Signal == "" {
			t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		g := f.in(t)
		got := g.run(codeTask(name, s.forever, `,"limits":{"wallTime":"500ms"},"grace":"100ms"`))
		if got.end.State != "TIMEDOUT" || got.end.Reason != "timeout" {
			t.Errorf("got %q %+v", got.stderr, got.end.End)
		}
	})
	t.Run("output flood", func(t *testing.T) {
		g := f.in(t)
		got := g.run(codeTask(name, s.flood, `,"limits":{"outputBytes":"64K","wallTime":"60s"}`))
		if got.end.State != "COMPLETE" || got.end.Reason != "output-limit" || len(got.stdout) != 64<<10 {
			t.Errorf("got %d bytes, %q, %+v", len(got.stdout), got.stderr, got.end.End)
		}
	})
	t.Run("memory", func(t *testing.T) {
		g := f.in(t)
		task := codeTask(name, s.hog, `,"limits":{"memoryMax":"256M"},"timeout":"60s"`)
		got := g.run(task)
		// A language with a memory of its own may see the end coming.
		if got.end.Reason != "oom" && (got.end.ExitCode == 0 || got.end.State != "COMPLETE") {
			t.Errorf("got %q %+v", got.stderr, got.end.End)
		}
	})
}

// Many at a time, each gets its own output.
func TestCodeAtOnce(t *testing.T) {
	f := codeRunner(t, service.Config{})
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i := range 200 {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			name, source := "bash", fmt.Sprintf("echo own %d > file; cat file - ; ls | wc -l", i)
			want := fmt.Sprintf("own %d\nin %d\n2\n", i, i)
			if i%10 == 0 {
				name, source = "c", fmt.Sprintf("#include <stdio.h>\nint main(){ puts(\"own %d\"); int b; while((b=getchar())!=EOF) putchar(b); puts(\"2\"); }", i)
			}
			got := f.run(codeTask(name, source, `,"stdin":`+quote(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "in %d\n", i)))))
			if got.stdout != want || got.end.ExitCode != 0 {
				t.Errorf("%d: got %q %q %+v", i, got.stdout, got.stderr, got.end.End)
			}
		})
	}
	wg.Wait()
}

// Files with encodings, in folders, with and without a first one.
func TestCodeFiles(t *testing.T) {
	f := codeRunner(t, service.Config{})
	for _, c := range []struct{ name, task, want string }{
		{"beside file.content", codeTask("bash", ". lib/part.sh; cat data", `,"files":[{"name":"lib/part.sh","content":"echo part"},{"name":"data","content":"AAH/","encoding":"base64"}]`), "part\n\x00\x01\xff"},
		{"the usual name", `{"language":{"name":"sh"},"files":[{"name":"a","content":"x"},{"name":"main.sh","content":"6563686f206d61696e","encoding":"hex"}]}`, "main\n"},
		{"the first one", `{"language":{"name":"bash"},"files":[{"name":"start","content":"echo start; ls"},{"name":"b","content":""}]}`, "start\nb\nstart\n"},
		{"two sources", codeTask("c", "int f(); int main(){ return f(); }", `,"files":[{"name":"f.c","content":"#include <stdio.h>\n#include \"f.h\"\nint f(){ puts(F); return 0; }"},{"name":"f.h","content":"#define F \"from f\""}]`), "from f\n"},
		{"writable and gone", codeTask("bash", "echo x > new && mkdir d && rm main.sh && ls", ""), "d\nnew\n"},
		{"params are the program's", codeTask("bash", "echo $A", `,"params":[{"name":"A","value":"b c"}]`), "b c\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := f.in(t)
			if got := g.run(c.task); got.stdout != c.want || got.end.ExitCode != 0 {
				t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
			}
		})
	}
	for text, task := range map[string]string{
		"files[0]: name":      codeTask("bash", "x", `,"files":[{"name":"../x"}]`),
		"files[1]: name":      codeTask("bash", "x", `,"files":[{"name":"x"},{"name":"/etc/x"}]`),
		"files[0]: content":   codeTask("bash", "x", `,"files":[{"name":"x","content":"*","encoding":"base64"}]`),
		"files[0]: encoding":  codeTask("bash", "x", `,"files":[{"name":"x","encoding":"rot13"}]`),
		"another file":        codeTask("bash", "x", `,"files":[{"name":"a/b"},{"name":"a"}]`),
		"file.content gets":   codeTask("bash", "x", `,"files":[{"name":"main.sh"}]`),
		"dir doesn't go with": codeTask("bash", "x", `,"dir":"/"`),
	} {
		f.refused(400, text, "runner.task.any", `{"kind":"runner","spec":{"task":`+task+`}}`)
	}
}

// languages of the card, as strangers see them.
func (f *fleet) languages() (names []string) {
	card := f.card("web1")
	for _, l := range card["languages"].([]any) {
		names = append(names, l.(string))
	}
	return names
}

func TestLanguagesInTheCard(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	rig.Eventually(t, "the card lists bash", func() bool {
		return strings.Contains(fmt.Sprint(f.card("web1")["languages"]), "bash 5")
	})
	text, err := json.Marshal(f.languages())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
}

// An operator's language may be anywhere, also where a run has a place of its own;
// and what a task asks for counts, whatever the language's row has.
func TestLanguageOfTheOperator(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "runnel-test-toy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const toy = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo toy 1.0; else . \"$1\"; fi\n"
	if err := os.WriteFile(dir+"/toy", []byte(toy), 0o755); err != nil {
		t.Fatal(err)
	}
	row := lang.Row{Name: "toy", Programs: []string{dir + "/toy"}, Source: "main.toy", Run: []string{"{program}", "./{source}"}}
	row.Limits.Run = limitsOf(t, limits.Text{limits.OpenFiles: "33"})
	f := codeRunner(t, service.Config{Languages: []lang.Row{row}})
	for _, level := range []string{"standard", "strict"} {
		for more, want := range map[string]string{"": "33\n", `,"limits":{"openFiles":50}`: "50\n", `,"limits":{"openFiles":20}`: "20\n"} {
			got := f.run(codeTask("toy", "ulimit -n", `,"isolation":"`+level+`"`+more))
			if got.stdout != want || got.end.State != "COMPLETE" {
				t.Errorf("%s %s: got %q %q %+v", level, more, got.stdout, got.stderr, got.end.End)
			}
		}
	}
}

// The compiler's bounds end the compiler, the program's the program, each whatever
// the other may take.
func TestCompilerHasBoundsOfItsOwn(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/var/tmp", "runnel-test-slow-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const compiler = `#!/bin/sh
case "$1" in
--version) echo toy 1.0 ;;
compile)
	read -r first <"$2"
	case $first in
	"# slow") sleep 1000 ;;
	"# busy") while :; do :; done ;;
	esac
	cp "$2" "$3" ;;
*) . "$1" ;;
esac
`
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/toy", []byte(compiler), 0o755)); err != nil {
		t.Fatal(err)
	}
	row := lang.Row{
		Name: "toy", Programs: []string{dir + "/toy"}, Source: "main.toy",
		Compile: []string{"{program}", "compile", "{source}", "{out}/main"}, Run: []string{"{program}", "{out}/main"},
	}
	f := codeRunner(t, service.Config{Languages: []lang.Row{row}})
	f.patience = 3 * time.Minute
	for _, c := range []struct {
		bound, source, more            string
		state, reason, compile, stdout string
	}{
		{`"compileWallTime":"300ms"`, "# slow\necho never", "", "COMPLETE", "compile", "timeout", ""},
		{`"compileCpuTime":"200ms"`, "# busy\necho never", "", "COMPLETE", "compile", "cpu-limit", ""},
		{`"compileWallTime":"2m","compileCpuTime":"2m"`, "echo on; sleep 1000", `,"limits":{"wallTime":"500ms"}`, "TIMEDOUT", "timeout", "exit", "on\n"},
		{`"compileWallTime":"2m"`, "echo whole", "", "COMPLETE", "exit", "exit", "whole\n"},
	} {
		got := f.run(strings.Replace(codeTask("toy", c.source, c.more), `"toy"`, `"toy",`+c.bound, 1))
		compile, _ := f.record(got.id)["compile"].(map[string]any)
		if got.end.State != c.state || got.end.Reason != c.reason || compile["reason"] != c.compile || got.stdout != c.stdout {
			t.Errorf("%s: %q %+v, compile %v", c.bound, got.stdout, got.end.End, compile)
		}
	}
	for _, field := range []string{"compileWallTime", "compileCpuTime"} {
		bad := strings.Replace(codeTask("toy", "x", ""), `"toy"`, `"toy","`+field+`":"soon"`, 1)
		f.refused(400, "spec.task.language."+field, "runner.task.any", `{"kind":"runner","spec":{"task":`+bad+`}}`)
	}
}

// A program that stops itself as a debugged one does has not ended.
func TestStoppedIsNotEnded(t *testing.T) {
	t.Parallel()
	f := codeRunner(t, service.Config{})
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler")
	}
	got := f.run(codeTask("c", `#include <sys/ptrace.h>
#include <signal.h>
int main(){ ptrace(PTRACE_TRACEME,0,0,0); raise(SIGUSR1); return 5; }`, `,"isolation":"standard","timeout":"2s","grace":"0s"`))
	if got.end.State != "TIMEDOUT" {
		t.Errorf("got %+v", got.end.End)
	}
}
