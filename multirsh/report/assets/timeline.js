// A row for each host. All rows fit at first, however many they are; then several share a pixel.

const timeline = document.getElementById("timeline");
const timelineCanvas = timeline.querySelector("canvas");
const spacer = timeline.querySelector(".spacer");
const cursor = timeline.querySelector(".cursor");
const brush = timeline.querySelector(".brush");
const AXIS = 22;
const HIGHEST_ROW = 22;
const NAMED_ROW = 11;
const NUMBERS_WIDTH = 60;

function rowHeight() {
  const fit = Math.min((timelineCanvas.clientHeight - AXIS) / Math.max(view.shown.length, 1), HIGHEST_ROW);
  return fit * Math.pow(Math.max(HIGHEST_ROW / fit, 1), view.rows / 100);
}

const WIDEST_NAMES = 260;
const longestName = hosts.reduce((longest, host) => (host.name.length > longest.length ? host.name : longest), "");

painters.push(() => {
  const { context } = surface(timelineCanvas);
  const names = Math.min(context.measureText(longestName).width + 24, WIDEST_NAMES);
  gutter = rowHeight() >= NAMED_ROW ? names : NUMBERS_WIDTH;
});

function paintTimeline() {
  const { context, width, height } = surface(timelineCanvas);
  const row = rowHeight();
  const full = Math.ceil(row * view.shown.length + AXIS);
  spacer.style.height = `${Math.max(0, full - height)}px`;
  axis(context, width, AXIS - 2, height);
  context.save();
  context.beginPath();
  context.rect(0, AXIS, width, height - AXIS);
  context.clip();
  const top = timeline.scrollTop;
  const first = Math.max(0, Math.floor(top / row));
  const end = Math.min(view.shown.length, Math.ceil((top + height - AXIS) / row));
  for (let place = first; place < end; place++) {
    paintRow(context, view.shown[place], AXIS + place * row - top, row, width);
  }
  // Troubles once more, and never thinner than the eye can see: where rows share pixels, they would fade.
  if (row < 2) {
    for (let place = first; place < end; place++) {
      const host = view.shown[place];
      if (host.outcome !== "ok") paintMark(context, host, AXIS + place * row - top, width);
    }
  }
  paintNames(context, first, end, row, top);
  context.restore();
  placeCursor();
}

function paintRow(context, host, y, row, width) {
  const gap = row > 5 ? 1 : 0;
  const ending = host.parts.findLast(([name]) => name !== "close");
  for (const part of host.parts) {
    const name = part[0];
    if (name === "wait" && view.isAligned) continue;
    const from = part[1] - originOf(host);
    const to = part[2] - originOf(host);
    if (to < view.from || from > view.to) continue;
    const left = Math.max(xOf(from, width), gutter);
    const right = Math.min(xOf(to, width), width - RIGHT);
    context.fillStyle = colors[part === ending && name !== "wait" ? host.outcome : name];
    context.fillRect(left, y + gap / 2, Math.max(right - left, name === "wait" ? 0 : 0.7), row - gap);
  }
}

function paintMark(context, host, y, width) {
  context.fillStyle = colors[host.outcome];
  context.fillRect(gutter - 7, y, 5, 1.5);
  const ending = host.parts.findLast(([name]) => name !== "close");
  if (!ending) return;
  const from = ending[1] - originOf(host);
  const to = ending[2] - originOf(host);
  if (to < view.from || from > view.to) return;
  const left = Math.max(xOf(from, width), gutter);
  const right = Math.min(xOf(to, width), width - RIGHT);
  context.fillRect(left, y, Math.max(right - left, 2), 1.5);
}

function paintNames(context, first, end, row, top) {
  context.fillStyle = colors.faint;
  context.textAlign = "right";
  if (row >= NAMED_ROW) {
    for (let place = first; place < end; place++) {
      const host = view.shown[place];
      context.fillStyle = host.outcome === "ok" ? colors.faint : colors[host.outcome];
      context.fillText(shortened(context, host.name), gutter - 10, AXIS + (place + 0.5) * row - top);
    }
    return;
  }
  const step = tickStep(Math.max((end - first), 1), 8);
  for (let tick = Math.ceil(first / step); tick * step < end; tick++) {
    const place = Math.max(tick * step, 1);
    if (step >= 1) context.fillText(place.toLocaleString("en"), gutter - 12, AXIS + (place - 0.5) * row - top + 5);
  }
}

function shortened(context, name) {
  if (context.measureText(name).width <= gutter - 16) return name;
  let kept = name.length;
  while (kept > 1 && context.measureText(`${name.slice(0, kept)}…`).width > gutter - 16) kept--;
  return `${name.slice(0, kept)}…`;
}

function hostUnder(event) {
  const y = event.clientY - timeline.getBoundingClientRect().top - 1 - AXIS;
  if (y < 0) return null;
  return view.shown[Math.floor((y + timeline.scrollTop) / rowHeight())] || null;
}

function placeCursor() {
  const place = view.selected ? view.shown.indexOf(view.selected) : -1;
  cursor.hidden = place < 0;
  if (place < 0) return;
  const row = rowHeight();
  cursor.style.top = `${AXIS + place * row + Math.min(0, row - 3) / 2}px`;
  cursor.style.height = `${Math.max(row, 3)}px`;
}

function reveal() {
  const place = view.shown.indexOf(view.selected);
  const row = rowHeight();
  const room = timeline.clientHeight - AXIS;
  if (place * row < timeline.scrollTop) timeline.scrollTop = place * row;
  else if ((place + 1) * row > timeline.scrollTop + room) timeline.scrollTop = (place + 1) * row - room;
}

painters.push(paintTimeline);
timeline.addEventListener("scroll", redraw);

/** Pointer and wheel over a drawing: zoom into what is dragged over, and by Ctrl and the wheel. */
function zoomable(area, canvas) {
  let pressed = null;
  const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
  area.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && at(event) < timelineCanvas.clientWidth) pressed = at(event);
  });
  addEventListener("pointermove", (event) => {
    if (pressed === null) return;
    const left = Math.max(Math.min(pressed, at(event)), gutter);
    const right = Math.min(Math.max(pressed, at(event)), timelineCanvas.clientWidth - RIGHT);
    brush.hidden = right - left < 4;
    brush.style.left = `${left}px`;
    brush.style.width = `${Math.max(right - left, 0)}px`;
    brush.style.top = `${timeline.scrollTop}px`;
    brush.style.height = `${timeline.clientHeight}px`;
  });
  addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const [one, other] = [pressed, at(event)];
    pressed = null;
    brush.hidden = true;
    if (Math.abs(one - other) >= 4) {
      const width = timelineCanvas.clientWidth;
      lookAt(secondsAt(Math.min(one, other), width), secondsAt(Math.max(one, other), width));
    } else if (area === timeline && area.contains(event.target)) {
      const host = hostUnder(event);
      if (host) selectHost(host);
    }
  });
  area.addEventListener("dblclick", () => {
    lookAt(0, whole());
  });
  area.addEventListener(
    "wheel",
    (event) => {
      const span = view.to - view.from;
      if (event.ctrlKey || event.metaKey) {
        const middle = secondsAt(at(event), timelineCanvas.clientWidth);
        const wanted = span * Math.exp(event.deltaY * 0.002);
        lookAt(middle - ((middle - view.from) / span) * wanted, middle + ((view.to - middle) / span) * wanted);
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        const by = ((event.deltaX || event.deltaY) / timelineCanvas.clientWidth) * span;
        lookAt(view.from + by, view.to + by);
      } else return;
      event.preventDefault();
    },
    { passive: false },
  );
}

zoomable(timeline, timelineCanvas);
timeline.addEventListener("pointermove", (event) => {
  const host = hostUnder(event);
  if (!host || event.buttons) tip.hidden = true;
  else showTip(event, host.name, hostLines(host));
});
timeline.addEventListener("pointerleave", () => {
  tip.hidden = true;
});
timeline.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity }[event.key];
  if (!by || !view.shown.length) return;
  event.preventDefault();
  const place = view.selected ? view.shown.indexOf(view.selected) : -1;
  selectHost(view.shown[Math.min(Math.max(place + by, 0), view.shown.length - 1)]);
  reveal();
});
