// The outputs: found by what is in them or by whose they are, and shown by outcome.

const groups = Array.from(document.querySelectorAll(".group"), (node, number) => ({
  node,
  number,
  outcome: node.dataset.outcome,
  hosts: [],
  text: null,
}));
for (const host of hosts) {
  if (host.group !== null) groups[host.group].hosts.push(host.name.toLowerCase());
}
const findOutput = document.getElementById("find-output");
const found = document.getElementById("found");
const MOST_MARKS = 2000;

function textOf(group) {
  if (group.text === null) {
    group.text = Array.from(group.node.querySelectorAll("pre"), (pre) => pre.textContent).join("\n").toLowerCase();
  }
  return group.text;
}

function searchOutputs() {
  if (!findOutput) return;
  const word = findOutput.value.toLowerCase();
  let count = 0;
  for (const group of groups) {
    const fits = !word || group.hosts.some((name) => name.includes(word)) || textOf(group).includes(word);
    group.node.hidden = !fits || view.hidden.has(group.outcome);
    if (!group.node.hidden) count++;
    if (word && !group.node.hidden && count <= 5) group.node.open = true;
  }
  found.textContent = word || view.hidden.size ? `${count.toLocaleString("en")} of ${many(groups.length, "output")}` : many(groups.length, "output");
  mark(word);
}

/** Colour what was found, where the browser can without changing the page. */
function mark(word) {
  if (!window.CSS || !CSS.highlights) return;
  CSS.highlights.delete("found");
  if (!word) return;
  const ranges = [];
  for (const group of groups) {
    if (group.node.hidden || !textOf(group).includes(word)) continue;
    for (const pre of group.node.querySelectorAll("pre")) {
      const node = pre.firstChild;
      const text = node ? node.data.toLowerCase() : "";
      // Some letters change their length by lower case; then places would not be those of the page.
      if (!node || text.length !== node.data.length) continue;
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        ranges.push(range);
        if (ranges.length >= MOST_MARKS) break;
      }
    }
    if (ranges.length >= MOST_MARKS) break;
  }
  if (ranges.length) CSS.highlights.set("found", new Highlight(...ranges));
}

function showGroup(number) {
  const { node } = groups[number];
  node.hidden = false;
  node.open = true;
  node.scrollIntoView({ block: "start" });
}

if (findOutput) {
  let waiting = 0;
  findOutput.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(searchOutputs, 120);
  });
  const setAll = (open) => {
    for (const group of groups) {
      if (!group.node.hidden) group.node.open = open;
    }
  };
  document.getElementById("open-all").addEventListener("click", () => setAll(true));
  document.getElementById("close-all").addEventListener("click", () => setAll(false));
}
