// All that is known of one host, in words.

const details = document.getElementById("host");
const PART_WORDS = {
  wait: "waited", earlier: "earlier attempts", connect: "connect", login: "login", run: "run", close: "close",
  unknown: "without an ending",
};

function hostLines(host) {
  const lines = [host.message ? `${host.ending}: ${host.message}` : host.ending];
  const parts = host.parts.map(([name, from, to]) => `${PART_WORDS[name]} ${duration(to - from)}`);
  if (parts.length) lines.push(parts.join(" · "));
  if (host.closedBy) lines.push(`closed by ${host.closedBy}, local port ${host.port}`);
  return lines;
}

function selectHost(host) {
  view.selected = host;
  placeCursor();
  const title = element("h3", host.name);
  const ending = element("span", host.ending);
  const away = element("button", "Close");
  title.className = host.outcome;
  away.type = "button";
  away.addEventListener("click", () => {
    view.selected = null;
    details.hidden = true;
    placeCursor();
  });
  title.append(ending, away);
  const facts = element("dl");
  const fact = (term, words) => {
    if (words === "" || words === null) return;
    const line = element("div");
    line.append(element("dt", term), element("dd", words));
    facts.append(line);
  };
  fact("why", host.message);
  fact("began at", host.first === null ? "" : duration(host.first) || "0 s");
  for (const [name, from, to] of host.parts) fact(PART_WORDS[name], duration(to - from));
  fact("attempts", host.attempts > 1 ? String(host.attempts) : "");
  fact("local port", host.port === null ? "" : String(host.port));
  fact("closed first by", host.closedBy);
  fact("stdout", bytes(host.bytes[0]));
  fact("stderr", bytes(host.bytes[1]));
  details.replaceChildren(title, facts);
  if (host.group !== null) {
    const go = element("button", "Show its output");
    go.type = "button";
    go.addEventListener("click", () => showGroup(host.group));
    title.insertBefore(go, away);
  }
  details.hidden = false;
}
