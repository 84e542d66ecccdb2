// lack says which lines to fetch so that those from one to another are there: a few more than that,
// most of them in the direction in which one goes, and none that is there. null where none is missing.
export function lack({ from, to, first, next, most, up, has }) {
  let a = Math.max(from, first), b = Math.min(to, next - 1)
  while (a <= b && has(a)) a++
  if (a > b) return null
  while (has(b)) b--
  let spare = most - (b - a + 1)
  if (spare <= 0) return { from: up ? b - most + 1 : a, limit: most }
  let before = has(b + 1) || b === next - 1 ? spare : up ? spare - (spare >> 3) : spare >> 3
  for (; before > 0 && a > first && !has(a - 1); before--) { a--; spare-- }
  for (; spare > 0 && b < next - 1 && !has(b + 1); spare--) b++
  return { from: a, limit: b - a + 1 }
}
