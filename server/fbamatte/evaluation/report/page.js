"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const KEYS = { p: "plate", i: "trimap", t: "truth", a: "alpha", f: "foreground", b: "background", c: "comp", e: "error" };
const state = { view: "comp", before: "plate", model: data.models[0], sort: data.sort, worstFirst: true, open: -1 };
let cards = [];

function figure(item, model, key) {
  const found = (item.figures[model] || {})[key];
  return found === undefined ? null : found;
}

function text(key, value) {
  const { scale, digits } = data.figures.find((f) => f.key === key);
  if (value === null) return "–";
  return digits < 0 ? (value * scale).toExponential(1) : (value * scale).toFixed(digits);
}

function source(item, view) {
  const own = item.answers[state.model] || {};
  return own[view] || item.given[view] || "";
}

function label(key) { return data.figures.find((f) => f.key === key).title.replace(/ \(.*\)/, ""); }

function figuresLine(item, keys) {
  return keys.filter((key) => figure(item, state.model, key) !== null)
    .map((key) => `${label(key)} ${text(key, figure(item, state.model, key))}`).join("\u2003");
}

function sorted() {
  const value = (item) => figure(item, state.model, state.sort);
  const sign = state.worstFirst ? -1 : 1;
  return [...data.items].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a - b);
  });
}

function describe(item, view) { return `${data.titles[view]} of ${item.name}, ${state.model}`; }

function paint(image, item) {
  const url = source(item, state.view);
  image.alt = describe(item, state.view) + (url ? "" : ": not there");
  image.style.visibility = url ? "visible" : "hidden";
  if (url) image.src = url;
}

function card(item, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.dataset.item = item.name;
  const well = button.appendChild(document.createElement("span"));
  well.className = "well";
  paint(well.appendChild(document.createElement("img")), item);
  for (const [kind, content] of [["name", item.name], ["figures", figuresLine(item, [...new Set([state.sort, "sad", "mse"])])]]) {
    const line = button.appendChild(document.createElement("span"));
    line.className = kind;
    line.textContent = content;
  }
  button.addEventListener("click", () => open(index));
  return button;
}

function render() {
  const focused = document.activeElement.closest?.(".card")?.dataset.item;
  const items = sorted();
  cards = items.map(card);
  byId("grid").replaceChildren(...cards);
  cards.find((one) => one.dataset.item === focused)?.focus();
  byId("order").textContent = state.worstFirst ? "Worst first" : "Best first";
  byId("order").setAttribute("aria-pressed", String(state.worstFirst));
  byId("shown").textContent = data.note;
  for (const input of document.querySelectorAll("#bar input")) input.checked = state[input.name] === input.value;
  if (state.open >= 0) show();
}

function open(index) {
  state.open = index;
  show();
  if (!byId("viewer").open) byId("viewer").showModal();
  byId("stage").focus();
}

function show() {
  const items = sorted();
  const item = items[state.open];
  byId("viewer-title").textContent = `${item.name}\u2003${state.open + 1} of ${items.length}`;
  byId("viewer-figures").textContent = figuresLine(item, data.figures.map((f) => f.key));
  paint(byId("large"), item);
  for (const button of document.querySelectorAll("dialog [data-view]"))
    button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  for (const button of document.querySelectorAll("dialog [data-model]"))
    button.setAttribute("aria-pressed", String(button.dataset.model === state.model));
}

function step(by) {
  state.open = (state.open + by + data.items.length) % data.items.length;
  show();
}

function setView(view) {
  if (view !== state.view) [state.before, state.view] = [state.view, view];
  else [state.before, state.view] = [state.view, state.before];
  render();
}

function setModel(model) {
  const name = state.open >= 0 ? sorted()[state.open].name : "";
  state.model = model;
  if (name) state.open = sorted().findIndex((item) => item.name === name);
  render();
}

function zoom() {
  const stage = byId("stage");
  const image = byId("large");
  // Always nearer than before, and on whole pixels' edges where the picture is small.
  const times = Math.max(2, Math.ceil((1.5 * image.clientHeight) / Math.max(image.naturalHeight, 1)));
  stage.style.setProperty("--width", `${times * image.naturalWidth}px`);
  stage.classList.toggle("zoomed");
}

function moveFocus(key) {
  const at = cards.indexOf(document.activeElement);
  if (at < 0) return false;
  const columns = getComputedStyle(byId("grid")).gridTemplateColumns.split(" ").length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  cards[Math.min(Math.max(at + by, 0), cards.length - 1)].focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const key = event.key.toLowerCase();
  const viewing = byId("viewer").open;
  const arrows = { arrowleft: -1, arrowright: 1 }[key];
  if (KEYS[key] && data.views.includes(KEYS[key])) setView(KEYS[key]);
  else if (key === "m") setModel(data.models[(data.models.indexOf(state.model) + 1) % data.models.length]);
  else if (viewing && key === "z") zoom();
  else if (viewing && arrows && !byId("stage").classList.contains("zoomed")) step(arrows);
  else if (!viewing && event.key.startsWith("Arrow") && moveFocus(event.key)) { /* moved */ }
  else return;
  event.preventDefault();
});

function pill(name, value, title) {
  const wrapper = document.createElement("label");
  wrapper.className = "pill";
  const input = wrapper.appendChild(document.createElement("input"));
  Object.assign(input, { type: "radio", name, value });
  input.addEventListener("change", () => (name === "view" ? setView(value) : setModel(value)));
  wrapper.appendChild(document.createElement("span")).textContent = title;
  return wrapper;
}

function choice(kind, value, title, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset[kind] = value;
  button.textContent = title;
  button.addEventListener("click", act);
  return button;
}

for (const view of data.views) {
  byId("views").append(pill("view", view, data.titles[view]));
  byId("viewer-views").append(choice("view", view, data.titles[view], () => setView(view)));
}
for (const model of data.models) {
  byId("models").append(pill("model", model, model));
  byId("viewer-models").append(choice("model", model, model, () => setModel(model)));
}
for (const one of data.figures) byId("sort").append(new Option(one.title, one.key, false, one.key === state.sort));
byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; render(); });
byId("order").addEventListener("click", () => { state.worstFirst = !state.worstFirst; render(); });
byId("bar").addEventListener("submit", (event) => event.preventDefault());
byId("close").addEventListener("click", () => byId("viewer").close());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("stage").addEventListener("click", zoom);
byId("viewer").addEventListener("close", () => {
  const at = state.open;
  state.open = -1;
  byId("stage").classList.remove("zoomed");
  cards[at]?.focus();
});

for (const button of document.querySelectorAll("#rows thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = document.querySelector("#rows tbody");
    const value = (row) => row.children[column]?.dataset.value ?? "";
    const compare = (a, b) => (column < 2 ? a.localeCompare(b, undefined, { numeric: true }) : Number(a) - Number(b));
    const lines = [...body.children].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return (down ? -1 : 1) * compare(a, b);
    });
    body.replaceChildren(...lines);
  });
}
render();
