// A strict reader of Prometheus's text exposition format 0.0.4, as far as counters and histograms need it.
import assert from 'node:assert/strict';

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}]*)\})? (\S+)$/;

/** Reads one text: a map from a metric's name to `{ type, help, samples: [{ name, labels, value }] }`. */
export function readExposition(text) {
  assert.ok(text.endsWith('\n'), 'the last line ends with a line feed');
  const metrics = new Map();
  let current;
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (\S.*)$/.exec(line);
    if (comment?.[1] === 'HELP') {
      current = begin(metrics, comment[2], comment[3]);
    } else if (comment?.[1] === 'TYPE') {
      assert.equal(comment[2], current?.name, 'TYPE follows the HELP of the same metric');
      assert.deepEqual([current.type, current.samples.length], [undefined, 0], line);
      assert.match(comment[3], /^(counter|histogram)$/);
      current.type = comment[3];
    } else {
      assert.ok(current?.type, `a sample before its TYPE: ${line}`);
      current.samples.push(sample(current, line));
    }
  }
  for (const metric of metrics.values()) check(metric);
  return metrics;
}

function begin(metrics, name, help) {
  assert.match(name, NAME);
  assert.ok(!metrics.has(name), `${name} twice`);
  assert.doesNotMatch(help, /\\(?![\\n])/);
  const metric = { name, help, type: undefined, samples: [] };
  metrics.set(name, metric);
  return metric;
}

function sample(metric, line) {
  const [, name, labels, value] = SAMPLE.exec(line) ?? assert.fail(`not a sample: ${line}`);
  const suffix = metric.type === 'histogram' ? '(_bucket|_sum|_count)' : '';
  assert.match(name, new RegExp(`^${metric.name}${suffix}$`));
  return { name, labels: readLabels(labels), value: number(value) };
}

function readLabels(text) {
  if (text === undefined) return {};
  return Object.fromEntries(text.split(',').map((label) => {
    const [, name, value] = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"$/.exec(label) ?? assert.fail(`not a label: ${label}`);
    return [name, value];
  }));
}

/** What Go's ParseFloat takes, without hexadecimal. */
function number(text) {
  if (text === '+Inf') return Infinity;
  assert.match(text, /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i);
  return Number(text);
}

function check({ name, type, samples }) {
  if (type === 'counter') {
    assert.match(name, /_total$/);
    assert.equal(samples.length, 1);
    assert.deepEqual(samples[0].labels, {});
    assert.ok(samples[0].value >= 0 && Number.isInteger(samples[0].value));
    return;
  }
  const buckets = samples.filter((one) => one.name === `${name}_bucket`);
  assert.deepEqual(samples.map((one) => one.name), [...buckets.map((one) => one.name), `${name}_sum`, `${name}_count`]);
  let before = { le: -Infinity, value: 0 };
  for (const { labels, value } of buckets) {
    assert.deepEqual(Object.keys(labels), ['le']);
    const le = number(labels.le);
    assert.ok(le > before.le && value >= before.value, `${name}: buckets ascend`);
    before = { le, value };
  }
  assert.equal(before.le, Infinity, `${name}: the last bucket takes everything`);
  assert.equal(samples.at(-1).value, before.value);
}
