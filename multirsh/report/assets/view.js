// What of the run is looked at: which hosts, in which order, which time. Others draw it.

const view = {
  hidden: new Set(),
  query: "",
  order: "start",
  from: 0,
  to: runSeconds,
  rows: 0, // 0 is all that fit, 100 the highest rows
  isAligned: false, // whether every host's time begins with its own first attempt
  selected: null,
  shown: [],
};

const last = (value) => (value === null ? Infinity : value);
const ORDERS = {
  start: (one, other) => last(one.first) - last(other.first) || last(one.end) - last(other.end),
  end: (one, other) => last(one.end) - last(other.end),
  longest: (one, other) => took(other) - took(one),
  outcome: (one, other) => other.rank - one.rank || last(one.first) - last(other.first),
  selection: (one, other) => one.index - other.index,
};

function took(host) {
  return host.begun === null ? -1 : (host.result === null ? host.end : host.result) - host.first;
}

/** Whether something of a host but its waiting is in the time that is looked at. */
function isAtWork(host) {
  if (view.from <= 0 && view.to >= whole()) return true;
  return host.first !== null && host.first - originOf(host) <= view.to && host.end - originOf(host) >= view.from;
}

function choose() {
  const words = view.query.toLowerCase().split(/[\s,]+/).filter(Boolean);
  view.shown = hosts.filter((host) => {
    if (view.hidden.has(host.outcome)) return false;
    if (!isAtWork(host)) return false;
    const name = host.name.toLowerCase();
    return !words.length || words.some((word) => name.includes(word));
  });
  const order = ORDERS[view.order];
  view.shown.sort((one, other) => order(one, other) || one.index - other.index);
}

const longest = hosts.reduce((most, host) => Math.max(most, host.first === null ? 0 : host.end - host.first), 1e-3);

/** How much time there is to look at. */
const whole = () => (view.isAligned ? longest : runSeconds);

/** What is taken off a host's times. */
const originOf = (host) => (view.isAligned ? host.first : 0);

const LEAST_SPAN = 1e-3;

function lookAt(from, to) {
  const span = Math.min(Math.max(to - from, LEAST_SPAN), whole());
  view.from = Math.min(Math.max(from, 0), whole() - span);
  view.to = view.from + span;
  update();
}

/** Draw again, at most once a frame. */
let isAsked = false;
const painters = [];
function redraw() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    for (const paint of painters) paint();
  });
}
