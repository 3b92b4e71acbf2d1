// The hosts, of the columns that multirsh wrote, and when each was where.

const data = JSON.parse(document.getElementById("data").textContent);
const PARTS = ["connect", "login", "run"];

/**
 * One host. Times are seconds since the run began.
 * `parts`: [name, from, to] in their order; the last before `close` is what the host ended in.
 */
function hostAt(index) {
  const column = data.hosts;
  const starts = column.starts[index];
  const times = column.times[index];
  const begun = starts.length ? starts[starts.length - 1] : null;
  const host = {
    index,
    name: column.name[index],
    outcome: data.outcomes[column.outcome[index]],
    rank: column.outcome[index],
    ending: data.words[column.ending[index]],
    message: data.words[column.message[index]],
    closedBy: data.words[column.closedBy[index]],
    port: column.port[index],
    bytes: column.bytes[index],
    group: column.group[index],
    attempts: starts.length,
    first: starts.length ? starts[0] : null,
    begun,
    times,
    parts: [],
    result: null,
    end: starts.length ? data.seconds : null,
  };
  if (begun === null) return host;
  if (host.first > 0) host.parts.push(["wait", 0, host.first]);
  if (begun > host.first) host.parts.push(["earlier", host.first, begun]);
  if (times === null) {
    host.parts.push(["unknown", begun, data.seconds]);
    return host;
  }
  host.result = begun + times[4];
  host.end = Math.max(times[5], host.result);
  let at = begun;
  for (let part = 0; part < PARTS.length; part++) {
    const is_last = times[part] === null || part === PARTS.length - 1;
    const to = is_last ? host.result : Math.min(at + times[part], host.result);
    host.parts.push([PARTS[part], at, to]);
    at = to;
    if (is_last) break;
  }
  if (times[3] !== null) host.parts.push(["close", host.result, host.result + times[3]]);
  return host;
}

const hosts = data.hosts.name.map((_, index) => hostAt(index));
const runSeconds = Math.max(data.seconds, 1e-3);

/** A count over time: [seconds, value] after each change, of [from, to] spans. */
function countOver(spans) {
  const changes = [];
  for (const [from, to] of spans) {
    changes.push([from, 1], [Math.max(to, from), -1]);
  }
  changes.sort((one, other) => one[0] - other[0] || other[1] - one[1]);
  const steps = [[0, 0]];
  let value = 0;
  for (const [at, by] of changes) {
    value += by;
    const last = steps[steps.length - 1];
    if (last[0] === at) last[1] = value;
    else steps.push([at, value]);
  }
  return steps;
}

/** When a host's connection was open here, or null: until it was closed, not until the result. */
function openSpan(host) {
  if (host.port === null || host.times === null || host.times[0] === null) return null;
  return [host.begun + host.times[0], host.times[3] === null ? host.end : host.result + host.times[3]];
}

function portSpan(host) {
  if (host.port === null) return null;
  const open = openSpan(host);
  return [host.begun, open ? open[1] : host.end];
}
