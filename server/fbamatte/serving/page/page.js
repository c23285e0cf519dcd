"use strict";

const STAGES = ["receiving", "queued", "decoding", "loading", "preparing", "estimating", "finishing", "encoding", "sending"];
const EVERY_MS = 2000;

// Text only ever enters as text: labels come from callers.
function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function bytes(count) {
  if (!count) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(count) / 10), units.length - 1);
  const value = count / 2 ** (10 * power);
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

function duration(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 90) return `${seconds.toFixed(seconds < 9.95 ? 2 : 1)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`;
}

function bar(parts, total) {
  const line = element("div", "bar");
  for (const [share, className, title] of parts) {
    const piece = element("i", className);
    piece.style.width = `${total ? Math.min(100, 100 * share / total) : 0}%`;
    if (title) piece.title = title;
    line.append(piece);
  }
  return line;
}

function stageBar(seconds) {
  const line = element("div", "bar");
  const total = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  STAGES.forEach((stage, index) => {
    if (!seconds[stage]) return;
    const piece = element("i");
    piece.style.width = `${100 * seconds[stage] / total}%`;
    piece.style.background = `var(--stage-${index})`;
    piece.title = `${stage} ${duration(seconds[stage])}`;
    line.append(piece);
  });
  return line;
}

function meter(name, parts, total, text) {
  return element("div", "meter", element("span", "", name), bar(parts, total), element("b", "", text));
}

function device(item) {
  const [used, total] = item.memory;
  const queued = item.interactive + item.batch;
  return element("article", "card",
    element("h3", "", item.name),
    element("div", "title", item.title === item.name ? " " : item.title),
    meter("Memory", [[used, ""]], total, total ? `${bytes(used)} of ${bytes(total)}` : "–"),
    meter("Queue", [[item.interactive, "interactive", `${item.interactive} interactive`], [item.batch, "", `${item.batch} batch`]],
      item.capacity, `${queued} of ${item.capacity}`),
    meter("At work", [[item.running, "interactive"]], Math.max(4, item.running), String(item.running)),
    element("div", "loaded", item.models.length ? `Loaded: ${item.models.join(", ")}` : "No model loaded"));
}

function model(item) {
  const name = element("td", "", element("span", "name", item.name), element("small", "", item.title));
  const licence = element("td", "", element("span", item.commercial ? "tag" : "tag restricted", item.licence),
    element("small", "", item.commercial ? "commercial work allowed" : "not for commercial work"));
  const where = item.loaded.length ? `on ${item.loaded.join(", ")}` : "on demand";
  return element("tr", "", name, licence, element("td", "", where, element("small", "", item.default ? "default" : " ")));
}

function stage([name, count, mean], longest) {
  const row = element("div", "stage", element("span", "", name), bar([[mean, ""]], longest), element("span", "", duration(mean)));
  row.querySelector("i").style.background = `var(--stage-${STAGES.indexOf(name)})`;
  row.title = `${count} times`;
  return row;
}

function frame(item) {
  const picture = element("div", "picture");
  if (item.picture) {
    const image = element("img");
    image.src = item.picture;
    image.alt = `matte of ${item.label}`;
    picture.append(image);
  } else {
    picture.append(item.outcome === "OK" ? "" : item.outcome.replaceAll("_", " ").toLowerCase());
  }
  const total = Object.values(item.seconds).reduce((sum, value) => sum + value, 0);
  const label = element("div", "label", item.label);
  label.title = [item.label, item.message, item.id, item.caller].filter(Boolean).join("\n");
  const size = item.size[0] ? `${item.size[0]}×${item.size[1]}` : item.model;
  const node = element("li", "frame", picture, label,
    element("small", "", element("span", "", `${size} · ${item.device || "not begun"}`), element("span", "", duration(total))),
    stageBar(item.seconds));
  node.dataset.number = item.number;
  return node;
}

function fill(id, nodes, empty) {
  const target = document.getElementById(id);
  target.replaceChildren(...(nodes.length || !empty ? nodes : [element("p", "empty", empty)]));
}

function facts(status) {
  const pairs = [
    ["Done", String(status.done)], ["Failed", String(status.failed)],
    ["Streams", `${status.streams[0]} of ${status.streams[1]}`],
    ["Reserved", bytes(status.payload_memory[0] + status.work_memory[0])],
    ["Up", duration(status.uptime)], ["Version", status.version],
  ];
  fill("facts", pairs.map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value))));
}

function state(text) {
  const node = document.getElementById("state");
  node.className = `state ${text}`;
  node.textContent = text === "away" ? "not answering" : text;
}

// Frames are kept as they are: a picture that is drawn anew flickers.
function frames(recent) {
  const list = document.getElementById("frames");
  const known = new Map([...list.querySelectorAll("[data-number]")].map((node) => [node.dataset.number, node]));
  fill("frames", recent.map((item) => known.get(String(item.number)) || frame(item)), "None yet.");
}

async function refresh() {
  try {
    const status = await (await fetch("/status.json")).json();
    state(status.state);
    facts(status);
    fill("devices", status.devices.map(device));
    fill("models", status.models.map(model));
    const longest = Math.max(...status.stages.map(([, , mean]) => mean), 0);
    fill("stages", status.stages.map((item) => stage(item, longest)), "Nothing measured yet.");
    frames(status.recent);
  } catch {
    state("away");
  }
  document.body.dataset.loaded = "yes";
  setTimeout(refresh, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

refresh();
