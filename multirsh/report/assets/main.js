// Everything is there: join it to the page's own tools, and draw.

function update() {
  choose();
  document.getElementById("shown").textContent =
    view.shown.length === hosts.length
      ? many(hosts.length, "host")
      : `${view.shown.length.toLocaleString("en")} of ${many(hosts.length, "host")}`;
  redraw();
}

function joinTools() {
  const find = document.getElementById("find-host");
  find.addEventListener("input", () => {
    view.query = find.value;
    timeline.scrollTop = 0;
    update();
  });
  const order = document.getElementById("order");
  order.addEventListener("change", () => {
    view.order = order.value;
    update();
  });
  const rows = document.getElementById("rows");
  rows.addEventListener("input", () => {
    const before = rowHeight();
    const middle = (timeline.scrollTop + timeline.clientHeight / 2) / before;
    view.rows = Number(rows.value);
    paintTimeline();
    timeline.scrollTop = middle * rowHeight() - timeline.clientHeight / 2;
    redraw();
  });
  const aligned = document.getElementById("aligned");
  aligned.addEventListener("change", () => {
    view.isAligned = aligned.checked;
    for (const node of [chart, document.getElementById("chart-key")]) node.hidden = view.isAligned;
    lookAt(0, whole());
  });
  document.getElementById("whole").addEventListener("click", () => {
    view.rows = 0;
    rows.value = "0";
    timeline.scrollTop = 0;
    lookAt(0, whole());
  });
}

function joinChips() {
  for (const chip of document.querySelectorAll(".chip")) {
    chip.title = "show or hide these hosts; with Alt or a double click, only these";
    const { outcome } = chip.dataset;
    const only = () => {
      for (const other of document.querySelectorAll(".chip")) {
        if (other === chip) view.hidden.delete(other.dataset.outcome);
        else view.hidden.add(other.dataset.outcome);
      }
    };
    const show = () => {
      for (const other of document.querySelectorAll(".chip")) {
        other.setAttribute("aria-pressed", String(!view.hidden.has(other.dataset.outcome)));
      }
      update();
      searchOutputs();
    };
    chip.addEventListener("click", (event) => {
      if (event.altKey) only();
      else if (!view.hidden.delete(outcome)) view.hidden.add(outcome);
      show();
    });
    chip.addEventListener("dblclick", () => {
      only();
      show();
    });
  }
}

for (const node of document.querySelectorAll(".tools[hidden], .plot[hidden]")) node.hidden = false;
readColors();
key(document.getElementById("chart-key"), SERIES.map(([name, words]) => [name, words]));
key(document.getElementById("timeline-key"), [
  ["wait", "waits for a place"],
  ...(hosts.some((host) => host.attempts > 1) ? [["earlier", "earlier attempts"]] : []),
  ["connect", "connects"],
  ["login", "logs in"],
  ["ok", "runs; what a host ended in has the colour of its outcome"],
  ["close", "closes"],
]);
joinTools();
joinChips();
update();
searchOutputs();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  redraw();
});
new ResizeObserver(redraw).observe(timeline);
