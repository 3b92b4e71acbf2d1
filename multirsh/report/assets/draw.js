// What the two drawings share: colours of the page's style, the axis of time, words for times.

const RIGHT = 14;
let gutter = 60; // wider where rows are named
let colors = {};

const NAMES = [
  ...data.outcomes, "wait", "earlier", "connect", "login", "close", "flight", "open", "ports", "text", "faint",
  "line", "card", "accent",
];

function readColors() {
  const style = getComputedStyle(document.documentElement);
  colors = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** The canvas's context in CSS pixels, as large as it is shown; cleared. */
function surface(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height };
}

function xOf(seconds, width) {
  return gutter + ((seconds - view.from) / (view.to - view.from)) * (width - gutter - RIGHT);
}

function secondsAt(x, width) {
  const share = (x - gutter) / (width - gutter - RIGHT);
  return view.from + Math.min(Math.max(share, 0), 1) * (view.to - view.from);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

function tickStep(span, most) {
  const least = span / most;
  for (let unit = 1e-4; unit < 1; unit *= 10) {
    for (const step of [1, 2, 5]) {
      if (step * unit >= least) return step * unit;
    }
  }
  return STEPS.find((step) => step >= least) || 86400;
}

function axis(context, width, top, bottom) {
  const step = tickStep(view.to - view.from, Math.max(2, (width - gutter) / 110));
  context.textAlign = "center";
  for (let tick = Math.ceil(view.from / step); tick * step <= view.to; tick++) {
    const x = Math.round(xOf(tick * step, width)) + 0.5;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
    context.fillStyle = colors.faint;
    context.fillText(clock(tick * step, step), x, top - 9);
  }
}

function clock(seconds, step) {
  if (step < 1) return `${seconds.toFixed(Math.ceil(-Math.log10(step) - 1e-9))} s`;
  if (whole() < 120) return `${Math.round(seconds)} s`;
  const rounded = Math.round(seconds);
  const minutes = Math.floor(rounded / 60);
  const rest = String(rounded % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

function duration(seconds) {
  if (seconds === null) return "";
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return clock(seconds, 60).includes(":") ? `${clock(seconds, 60)} min` : `${Math.round(seconds)} s`;
}

function bytes(count) {
  let number = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (number < 999.5 || unit === "GB") return `${unit === "B" || number >= 9.95 ? Math.round(number) : number.toFixed(1)} ${unit}`;
    number /= 1000;
  }
}

const many = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function key(list, entries) {
  list.replaceChildren(
    ...entries.map(([name, words]) => {
      const item = element("li");
      const swatch = element("i", "", "swatch");
      swatch.style.background = `var(--${name})`;
      item.append(swatch, words);
      return item;
    }),
  );
}

const tip = document.getElementById("tip");

function showTip(event, title, lines) {
  tip.replaceChildren(element("b", title), lines.join("\n"));
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - 12 - width : event.clientX + 16;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}
