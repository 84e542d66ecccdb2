package lang

// shipped is what every runner knows how to compile and run. The operator's
// rows come before these, and one of the same name replaces it.
var shipped = []Row{
	{
		Name: "bash", Aliases: []string{"sh", "shell"}, Programs: []string{"bash"},
		Source: "main.sh", Run: []string{"{program}", "{source}"},
	},
	{
		Name: "python3", Aliases: []string{"python", "py"}, Programs: []string{"python3", "python3.[0-9]", "python3.[0-9][0-9]"},
		// The program itself, where what is in the PATH only chooses one.
		Probe:  `"$1" -c 'import platform, sys; print(platform.python_version(), sys.executable, sys.base_prefix, sep="\n")'`,
		Source: "main.py", Run: []string{"{program}", "-u", "{source}"},
		Env: map[string]string{"PYTHONDONTWRITEBYTECODE": "1"},
	},
	{
		Name: "node", Aliases: []string{"nodejs", "javascript", "js"}, Programs: []string{"node", "nodejs"},
		Probe:  `"$1" -p 'const p = process; [p.version, p.execPath, require("path").dirname(require("path").dirname(p.execPath))].join("\n")'`,
		Source: "main.js", Run: []string{"{program}", "{source}"},
	},
	{
		Name: "c", Programs: []string{"gcc", "cc", "clang"},
		Source: "main.c", Compile: []string{"{program}", "-O2", "-o", "{out}/main", "{sources}", "-lm"}, Run: []string{"{out}/main"},
	},
	{
		Name: "c++", Aliases: []string{"cpp", "cxx"}, Programs: []string{"g++", "c++", "clang++"},
		Source: "main.cpp", Compile: []string{"{program}", "-O2", "-o", "{out}/main", "{sources}"}, Run: []string{"{out}/main"},
	},
	{
		Name: "go", Aliases: []string{"golang"}, Programs: []string{"go"},
		Probe:  `"$1" version; root=$("$1" env GOROOT); echo "$root/bin/go"; echo "$root"`,
		Source: "main.go", Compile: []string{"{program}", "build", "-trimpath", "-o", "{out}/main", "{sources}"}, Run: []string{"{out}/main"},
		Env: map[string]string{
			"GOCACHE": "{cache}", "GOTMPDIR": "{dir}", "GOPATH": "/tmp/go", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOTELEMETRY": "off", "GOFLAGS": "", "GOENV": "off", "CGO_ENABLED": "0",
			// Without it a package whose index is not in the cache, which can't be written to, "is not in std".
			"GODEBUG": "goindex=0",
		},
		WarmUp: warmGo,
	},
	{
		Name: "rust", Aliases: []string{"rs"}, Programs: []string{"rustc"},
		Probe:  `root=$("$1" --print sysroot) && "$1" --version && echo "$root/bin/rustc" && echo "$root"`,
		Source: "main.rs", Compile: []string{"{program}", "-O", "--edition=2021", "-o", "{out}/main", "{source}"}, Run: []string{"{out}/main"},
	},
	{
		Name: "java", Programs: []string{"javac"},
		Probe:  `"$1" -version 2>&1 && p=$(readlink -f "$1") && echo "$p" && dirname "$(dirname "$p")"`,
		Source: "Main.java", Compile: []string{"{program}", "-encoding", "UTF-8", "-d", "{out}", "{sources}"},
		Run: []string{"{home}/bin/java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "{out}", "{stem}"},
	},
	{
		Name: "ruby", Aliases: []string{"rb"}, Programs: []string{"ruby"},
		Source: "main.rb", Run: []string{"{program}", "{source}"},
	},
	{
		Name: "php", Programs: []string{"php"},
		Source: "main.php", Run: []string{"{program}", "{source}"},
	},
	{
		Name: "perl", Aliases: []string{"pl"}, Programs: []string{"perl"},
		Probe:  `"$1" -e 'printf "%vd\n", $^V'`,
		Source: "main.pl", Run: []string{"{program}", "{source}"},
	},
	{
		Name: "lua", Programs: []string{"lua", "lua5.[0-9]", "luajit"},
		Probe:  `"$1" -v 2>&1`,
		Source: "main.lua", Run: []string{"{program}", "{source}"},
	},
}

// warmGo compiles what small programs use, and then all of the standard library.
var warmGo = [][]string{
	{
		"{program}", "build", "-trimpath", "-v", "bufio", "bytes", "cmp", "container/heap", "container/list", "context", "encoding/binary",
		"encoding/json", "errors", "flag", "fmt", "io", "log", "maps", "math", "math/big", "math/bits", "math/rand", "os", "os/exec", "path/filepath",
		"regexp", "slices", "sort", "strconv", "strings", "sync", "sync/atomic", "text/template", "time", "unicode", "unicode/utf8",
	},
	{"{program}", "build", "-trimpath", "-v", "-p", "1", "std"},
}
