// A row of the table, and the table.

/** A row in which less is better, required to be at least `atLeast` times better than the peer. */
export function faster({ ours, theirs, atLeast, ...row }) {
  const ratio = theirs / ours;
  return { ...row, ours, theirs, ratio, required: `>= ${number(atLeast)}x`, ok: ratio >= atLeast };
}

/** A row in which less is better, allowed to be at most `atMost` times the peer. */
export function within({ ours, theirs, atMost, ...row }) {
  const ratio = ours / theirs;
  return { ...row, ours, theirs, ratio, required: `<= ${number(atMost)}x`, ok: ratio <= atMost };
}

/** A row in which more is better, required to be at least `atLeast` times the peer. */
export function more({ ours, theirs, atLeast, ...row }) {
  const ratio = ours / theirs;
  return { ...row, ours, theirs, ratio, required: `>= ${number(atLeast)}x`, ok: ratio >= atLeast };
}

/** A row with a fixed bound. */
export function bound({ ours, most, unit, ...row }) {
  return { ...row, ours, unit, ratio: null, required: `<= ${number(most)} ${unit}`, ok: ours <= most };
}

/** The rows as text: a line of figures, then the method. */
export function table(rows) {
  const head = ['measured', 'ours', 'against', 'theirs', 'ratio', 'required', ''];
  const cells = rows.map(({ what, ours, theirs, unit, peer, ratio, required, ok }) => [
    what,
    `${number(ours)} ${unit}`,
    peer ?? '',
    theirs === undefined ? '' : `${number(theirs)} ${unit}`,
    ratio === null ? '' : `${number(ratio)}x`,
    required,
    ok ? 'ok' : 'MISSED',
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd();
  const lines = [line(head), line(widths.map((width) => '-'.repeat(width)))];
  rows.forEach(({ method }, i) => lines.push(line(cells[i]), `    ${method}`));
  return lines.join('\n');
}

/** Three digits that count, thousands separated. */
export function number(value) {
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 3 });
}
