package service_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/tests/rig"
)

// imports are ten common things of each language that come with it, and a line that uses one.
var imports = map[string]string{
	"bash": "set -e\nfor tool in awk cut grep head sed sort tail tr uniq wc; do command -v $tool >/dev/null; done; printf 'fine\\n' | sed 's/x/y/'",
	"python3": "import collections, datetime, hashlib, heapq, itertools, json, math, re, subprocess, urllib.request, ssl, sqlite3, multiprocessing, decimal, socket\n" +
		"print(json.loads('\"fine\"'))",
	"node": "for (const m of ['assert','buffer','crypto','events','fs','http','os','path','stream','url','util','worker_threads','zlib']) require(m)\nconsole.log('fine')",
	"c": "#include <assert.h>\n#include <ctype.h>\n#include <errno.h>\n#include <limits.h>\n#include <math.h>\n#include <pthread.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <time.h>\n#include <unistd.h>\n" +
		"int main(int c, char **v){ return puts(sqrt(c) > 0 ? \"fine\" : \"no\") < 0; }",
	"c++": "#include <algorithm>\n#include <bitset>\n#include <chrono>\n#include <deque>\n#include <functional>\n#include <iostream>\n#include <map>\n#include <memory>\n#include <queue>\n#include <regex>\n#include <set>\n#include <string>\n#include <thread>\n#include <unordered_map>\n#include <vector>\n" +
		"int main(){ std::vector<std::string> v{\"fine\"}; std::cout << v[0] << std::endl; }",
	"go": "package main\nimport (\n\"archive/zip\"; \"compress/gzip\"; \"container/heap\"; \"container/ring\"; \"crypto/sha256\"; \"database/sql\"; \"encoding/csv\"; \"encoding/hex\"; \"encoding/xml\"; \"fmt\"; \"go/parser\"; \"hash/crc32\"; \"html/template\"; \"image/png\"; \"iter\"; \"log/slog\"; \"math/big\"; \"math/cmplx\"; \"net/netip\"; \"os/signal\"; \"runtime/debug\"; \"testing/quick\"; \"text/tabwriter\"; \"unicode/utf16\"\n)\n" +
		"var _, _, _, _, _, _, _, _, _ = zip.Store, gzip.NewWriter, heap.Init, ring.New, sha256.New, sql.Open, csv.NewReader, hex.Dump, xml.Marshal\n" +
		"var _, _, _, _, _, _, _, _, _ = parser.ParseFile, crc32.NewIEEE, template.New, png.Decode, slog.Info, big.NewInt, cmplx.Sqrt, netip.ParseAddr, signal.Notify\n" +
		"var _, _, _, _ = debug.Stack, quick.Check, tabwriter.NewWriter, utf16.Encode\nvar _ iter.Seq[int]\nfunc main(){ fmt.Println(\"fine\") }",
	"rust": "#![allow(unused_imports)]\nuse std::{cmp, collections::HashMap, env, fmt, fs, io::Read, iter, net, path, process, rc::Rc, sync::mpsc, thread, time};\nfn main(){ let m: HashMap<&str, &str> = [(\"a\", \"fine\")].into(); println!(\"{}\", m[\"a\"]); }",
	"java": "import java.io.*; import java.math.*; import java.net.http.*; import java.nio.file.*; import java.security.*; import java.sql.*; import java.text.*; import java.time.*; import java.util.concurrent.*; import java.util.function.*; import java.util.regex.*; import java.util.stream.*; import java.util.zip.*;\n" +
		"public class Main { public static void main(String[] a) throws Exception { MessageDigest.getInstance(\"SHA-256\"); HttpClient.newHttpClient(); System.out.println(Stream.of(\"fine\").collect(Collectors.joining())); } }",
	"ruby": "%w[bigdecimal date digest erb fileutils json net/http open3 optparse securerandom set socket stringio tempfile time uri yaml zlib].each { |m| begin; require m; rescue LoadError; raise unless m == 'bigdecimal'; end }\nputs 'fine'",
	"php":  "<?php foreach (['preg_match','json_encode','hash','date','array_map','str_repeat','random_int','usort','sprintf','file_get_contents'] as $f) if (!function_exists($f)) exit(1); echo \"fine\\n\";",
	"perl": "use strict; use warnings; use Data::Dumper; use File::Temp; use Getopt::Long; use List::Util; use POSIX; use Scalar::Util; use Socket; use Storable; use Time::HiRes; use IO::File; use Digest::SHA; print \"fine\\n\"",
	"lua":  "for _, m in ipairs{'string','table','math','io','os','coroutine','package','debug','utf8','_G'} do assert(require(m)) end print('fine')",
}

// wholeLibrary makes Go's program use all of that library, which takes a minute to compile.
var wholeLibrary = os.Getenv("RUNNEL_LONG") != ""

// A strict run has what comes with its language: the read-only root, the closed network and the
// compiler's cache, which nobody may write to, keep none of it away.
func (f *fleet) testImports(name string) {
	source := imports[name]
	if name == "go" && !wholeLibrary {
		source = "package main\nimport (\"encoding/json\"; \"fmt\"; \"math/big\"; \"os/exec\"; \"regexp\"; \"text/template\")\n" +
			"var _, _, _, _, _ = json.Marshal, big.NewInt, exec.Command, regexp.Compile, template.New\nfunc main(){ fmt.Println(\"fine\") }"
	}
	got := f.run(codeTask(name, source, ""))
	if got.stdout != "fine\n" || got.end.Reason != "exit" || got.end.ExitCode != 0 {
		f.t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
	}
}

// slowLanguage is one whose warm-up goes on until the file go-on is in its directory.
func slowLanguage(t *testing.T) (row lang.Row, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "runnel-test-slow-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const compiler = `#!/bin/sh
case $1 in
--version) echo slow 1.0 ;;
--warm) until [ -e "${0%/*}/go-on" ]; do sleep 0.05; done ;;
*) cp "$2" "$1" && chmod +x "$1" ;;
esac
`
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/slow", []byte(compiler), 0o755)); err != nil {
		t.Fatal(err)
	}
	return lang.Row{
		Name: "slow", Programs: []string{dir + "/slow"}, Probe: `"$1" --version; echo "$1"; dirname "$1"`, Source: "main.slow",
		Compile: []string{"{program}", "{out}/main", "{sources}"}, Run: []string{"{out}/main"}, WarmUp: [][]string{{"{program}", "--warm"}},
	}, dir
}

// The runner compiles a standard library in its own time: no timeout ends a run for it, and the card
// says what it is at.
func TestWarmUpIsTheRunnersOwn(t *testing.T) {
	row, dir := slowLanguage(t)
	f := codeRunner(t, service.Config{Languages: []lang.Row{row}})
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask("slow", "#!/bin/sh\necho hello $1\n", `,"timeout":"3s","argv":["x"]`)+`}}`).ok(t)
	rig.Eventually(t, "the card says what is being prepared", func() bool {
		return strings.Contains(fmt.Sprint(f.card("web1")["preparing"]), "compiling its standard library")
	})
	time.Sleep(4 * time.Second) // more than the run's own time
	if state := f.kv(reply.text("run", "id"))["state"]; state != "PENDING" {
		t.Errorf("meanwhile the run is %v", state)
	}
	if err := os.WriteFile(dir+"/go-on", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := f.over(reply); got.end.State != "COMPLETE" || got.end.Reason != "exit" || got.stdout != "hello x\n" {
		t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
	}
}
