// Hosts in flight, connections and local ports over time, above the timeline and of the same time.

const chart = document.getElementById("chart");
const known = (spans) => spans.filter((span) => span !== null);
const SERIES = [
  ["flight", "hosts in flight", countOver(known(hosts.map((host) => host.begun === null ? null : [host.first, host.result === null ? host.end : host.result])))],
  ["ports", "local ports held", countOver(known(hosts.map(portSpan)))],
  ["open", "connections open", countOver(known(hosts.map(openSpan)))],
].filter(([, , steps]) => steps.length > 1);
const highest = Math.max(1, ...SERIES.map(([, , steps]) => steps.reduce((most, [, value]) => Math.max(most, value), 0)));

function paintChart() {
  if (view.isAligned) return;
  const { context, height } = surface(chart);
  const width = timelineCanvas.clientWidth; // without the room of its scroll bar: one time is one place in both
  const top = 20;
  const bottom = height - 4;
  axis(context, width, top, bottom);
  const yOf = (value) => bottom - (value / (highest * 1.08)) * (bottom - top);
  paintScale(context, width, yOf);
  context.save();
  context.beginPath();
  context.rect(gutter, top - 2, width - gutter - RIGHT, bottom - top + 4);
  context.clip();
  for (const [name, , steps] of SERIES) {
    trace(context, steps, width, yOf);
    context.strokeStyle = colors[name];
    context.lineWidth = 1.6;
    context.setLineDash(name === "ports" ? [5, 3] : []);
    context.stroke();
    if (name === "open") {
      context.lineTo(xOf(Math.max(runSeconds, view.to), width), yOf(0));
      context.lineTo(xOf(0, width), yOf(0));
      context.globalAlpha = 0.16;
      context.fillStyle = colors[name];
      context.fill();
      context.globalAlpha = 1;
    }
  }
  context.restore();
}

function paintScale(context, width, yOf) {
  context.textAlign = "right";
  const step = Math.max(1, tickStep(highest, 4));
  for (let value = 0; value <= highest; value += step) {
    const y = Math.round(yOf(value)) + 0.5;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(gutter, y);
    context.lineTo(width - RIGHT, y);
    context.stroke();
    context.fillStyle = colors.faint;
    context.fillText(value.toLocaleString("en"), gutter - 12, y);
  }
}

/** A path by steps; of all that falls into one pixel, only its highest and its last are drawn. */
function trace(context, steps, width, yOf) {
  context.beginPath();
  context.moveTo(xOf(0, width), yOf(0));
  let at = -Infinity;
  let most = 0;
  let value = 0;
  for (const [seconds, next] of steps) {
    const x = Math.round(xOf(seconds, width) * 2) / 2;
    if (x !== at) {
      context.lineTo(at, yOf(most));
      context.lineTo(at, yOf(value));
      context.lineTo(x, yOf(value));
      at = x;
      most = next;
    }
    most = Math.max(most, next);
    value = next;
  }
  context.lineTo(at, yOf(most));
  context.lineTo(at, yOf(value));
  context.lineTo(xOf(runSeconds, width), yOf(value));
}

function valueAt(steps, seconds) {
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (steps[middle][0] <= seconds) low = middle;
    else high = middle - 1;
  }
  return steps[low][1];
}

painters.push(paintChart);
zoomable(chart, chart);
chart.addEventListener("pointermove", (event) => {
  const box = chart.getBoundingClientRect();
  const seconds = secondsAt(event.clientX - box.left, timelineCanvas.clientWidth);
  const lines = SERIES.map(([, words, steps]) => `${valueAt(steps, seconds).toLocaleString("en")} ${words}`);
  showTip(event, duration(seconds) || "0", lines);
});
chart.addEventListener("pointerleave", () => {
  tip.hidden = true;
});
