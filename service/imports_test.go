package service_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
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

// A strict run has what comes with its language: the read-only root, the closed network and the
// compiler's cache, which nobody may write to, keep none of it away.
func TestEveryLanguageImports(t *testing.T) {
	f := codeRunner(t, service.Config{})
	for name, source := range imports {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(samples[name].program); err != nil {
				t.Skipf("this host has no %s", name)
			}
			g := f.in(t)
			g.patience = 10 * time.Minute // the first Go waits for its library
			got := g.run(codeTask(name, source, ""))
			if got.stdout != "fine\n" || got.end.Reason != "exit" || got.end.ExitCode != 0 {
				t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
			}
		})
	}
}

// The runner compiles a standard library in its own time: no timeout ends a run for it, and the card
// says what it is at.
func TestWarmUpIsTheRunnersOwn(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("this host has no go")
	}
	f := codeRunner(t, service.Config{})
	f.patience = 10 * time.Minute
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask("go", samples["go"].hello, `,"timeout":"10s","argv":["x"]`)+`}}`).ok(t)
	rig.Eventually(t, "the card says what is being prepared", func() bool {
		return strings.Contains(fmt.Sprint(f.card("web1")["preparing"]), "compiling its standard library")
	})
	if state := f.kv(reply.text("run", "id"))["state"]; state != "PENDING" {
		t.Errorf("meanwhile the run is %v", state)
	}
	if got := f.over(reply); got.end.State != "COMPLETE" || got.end.Reason != "exit" || got.stdout != "hello x\n" {
		t.Errorf("got %q %q %+v", got.stdout, got.stderr, got.end.End)
	}
}
