// What a search has found: lines, and how often each has it, in the order of the log.
export class Hits {
  constructor() {
    this.lines = []
    this.upto = []  // matches up to and with that line
  }
  add(line, times = 1) {
    this.lines.push(line)
    this.upto.push(this.size + times)
  }
  get size() { return this.upto.length ? this.upto[this.upto.length - 1] : 0 }

  // at gives the line of a match, and which one of that line it is.
  at(i) {
    const k = firstOf(this.upto, x => x > i)
    return { line: this.lines[k], nth: i - (k ? this.upto[k - 1] : 0) }
  }

  // from gives the first match in a line or below it; the first of all where there is none.
  from(line) {
    const k = firstOf(this.lines, x => x >= line)
    return k && k < this.lines.length ? this.upto[k - 1] : 0
  }
}

// firstOf is where something begins to hold in a sorted list; its length where it never does.
export function firstOf(list, holds) {
  let low = 0, high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (holds(list[middle])) high = middle
    else low = middle + 1
  }
  return low
}
