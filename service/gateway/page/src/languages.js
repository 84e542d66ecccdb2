// The languages that runners come with, as people call them, and a first program in each.
export const known = {
  bash: ['Bash', 'main.sh', 'read -r name\necho "Hello, ${name:-world}"\n'],
  python3: ['Python', 'main.py', 'import sys\n\nname = sys.stdin.readline().strip() or "world"\nprint(f"Hello, {name}")\n'],
  node: ['Node.js', 'main.js', "const name = require('fs').readFileSync(0, 'utf8').trim() || 'world'\nconsole.log(`Hello, ${name}`)\n"],
  c: ['C', 'main.c', '#include <stdio.h>\n\nint main(void) {\n    char name[64] = "world";\n    scanf("%63s", name);\n    printf("Hello, %s\\n", name);\n    return 0;\n}\n'],
  'c++': ['C++', 'main.cpp', '#include <iostream>\n#include <string>\n\nint main() {\n    std::string name = "world";\n    std::cin >> name;\n    std::cout << "Hello, " << name << "\\n";\n}\n'],
  go: ['Go', 'main.go', 'package main\n\nimport "fmt"\n\nfunc main() {\n\tname := "world"\n\tfmt.Scan(&name)\n\tfmt.Println("Hello,", name)\n}\n'],
  rust: ['Rust', 'main.rs', 'use std::io;\n\nfn main() {\n    let mut name = String::new();\n    io::stdin().read_line(&mut name).unwrap();\n    let name = if name.trim().is_empty() { "world" } else { name.trim() };\n    println!("Hello, {name}");\n}\n'],
  java: ['Java', 'Main.java', 'import java.util.Scanner;\n\nclass Main {\n    public static void main(String[] args) {\n        Scanner in = new Scanner(System.in);\n        String name = in.hasNextLine() ? in.nextLine() : "world";\n        System.out.println("Hello, " + name);\n    }\n}\n'],
  ruby: ['Ruby', 'main.rb', 'name = ($stdin.gets || "world").strip\nputs "Hello, #{name}"\n'],
  php: ['PHP', 'main.php', '<?php\n$name = trim(fgets(STDIN) ?: "world");\necho "Hello, $name\\n";\n'],
  perl: ['Perl', 'main.pl', 'my $name = <STDIN> // "world";\nchomp $name;\nprint "Hello, $name\\n";\n'],
  lua: ['Lua', 'main.lua', 'local name = io.read("l") or "world"\nprint("Hello, " .. name)\n'],
}
export const nameOf = l => known[l]?.[0] || l
export const sourceOf = l => known[l]?.[1] || 'main'
export const firstOf = l => known[l]?.[2] || ''

// What online runners have: [{ name, versions, runners }], by name.
export function languagesOf(runners) {
  const all = new Map()
  for (const r of runners) {
    if (!r.online) continue
    for (const line of r.card.languages || []) {
      const [name, ...versions] = line.split(/\s+/)
      if (!all.has(name)) all.set(name, { name, versions: new Set(), runners: 0 })
      const l = all.get(name)
      l.runners++
      for (const v of versions) l.versions.add(v)
    }
  }
  return [...all.values()].map(l => ({ ...l, versions: [...l.versions].sort((a, b) => b.localeCompare(a, 'en', { numeric: true })) })).sort((a, b) => nameOf(a.name).localeCompare(nameOf(b.name), 'en'))
}
