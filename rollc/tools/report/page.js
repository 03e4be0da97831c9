"use strict";
const all = (what, where = document) => [...where.querySelectorAll(what)];
const words = (line, key) => (line.dataset[key] ? line.dataset[key].split(" ") : []);
const [first, second] = all("section.stages .body"); // the second has copies of all panes
second.append(...all(".pane", first).map((pane) => pane.cloneNode(true)));
let lines = [];
function gather() { lines = all(".l, .box[data-name]"); }
gather();
for (const box of all(".box[data-name]")) { // the values that a box has, and their lines of the spec
  const title = box.querySelector("title"), text = title ? title.textContent : "";
  const valueOf = (name) => name.replace(/^~+/, "").split(/['^:]/)[0].replace(/(\.\d+)+$/, "");
  const names = box.classList.contains("parameters")
    ? text.split("\n").map((row) => row.split(":")[0]) : [valueOf(box.dataset.name)];
  box.dataset.n = names.filter(Boolean).join(" ");
  const origins = [...text.matchAll(/\blines? (\d+)/g)].map((found) => found[1]);
  if (origins.length) box.dataset.l = [...new Set(origins)].join(" ");
  if (box.dataset.n) { box.setAttribute("tabindex", "0"); box.setAttribute("role", "button"); }
}
const isSeen = (line) => line.getClientRects().length > 0;
let pinned = null;

// What comes from the same line of the spec lights up, and what is of the same value more so: a
// value of a cell is of the cell too.  Where the value is only read there is a mark.
const isPart = (one, other) => one === other || one.startsWith(other + ".");
function light(line) {
  const origins = new Set(line ? words(line, "l") : []), names = line ? words(line, "n") : [];
  for (const other of lines) {
    const isOf = (name) => names.some((own) => isPart(name, own) || isPart(own, name));
    const same = words(other, "n").some(isOf), reads = words(other, "r").some(isOf);
    const near = words(other, "l").some((origin) => origins.has(origin));
    other.classList.toggle("same", same || other === line && line !== null);
    other.classList.toggle("near", near && !same);
    other.classList.toggle("reads", reads && !same);
  }
}

// Each pane that is seen, but for the one that was pointed at, goes to its first line that is lit.
function follow(line) {
  for (const body of all(".body")) {
    if (body.contains(line)) continue;
    const lit = all(".l.same, .l.near", body).filter(isSeen);
    const first = lit.find((each) => each.classList.contains("same")) || lit[0];
    if (first) body.scrollTop += first.getBoundingClientRect().top - body.getBoundingClientRect().top - 60;
  }
}

function pin(line) {
  pinned = line === pinned ? null : line;
  light(pinned);
  if (pinned) follow(pinned);
}

const lineOf = (event) => event.target.closest(".l[data-l], .l[data-n], .box[data-n]");
document.addEventListener("mouseover", (event) => { if (!pinned) light(lineOf(event)); });
document.addEventListener("click", (event) => { const line = lineOf(event); if (line) pin(line); });

// The two panes.
function show(section, key) {
  for (const pane of all(".pane", section)) pane.hidden = pane.dataset.key !== key;
  const select = section.querySelector("select");
  if (select.value !== key) select.value = key;
  if (pinned) { light(pinned); follow(pinned); }
}
for (const section of all("section.stages")) {
  const select = section.querySelector("select");
  select.addEventListener("change", () => show(section, select.value));
  show(section, select.value);
}

// Assembly is unpacked when it is asked for; an instruction is of what its line of the kernel is of.
const kernel = all('.pane[data-key="kernel"] .l', first);
const unpacked = new Map();
async function unpack(packed) {
  if (!unpacked.has(packed)) {
    const bytes = Uint8Array.from(atob(packed), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    unpacked.set(packed, (await new Response(stream).text()).split("\n"));
  }
  return unpacked.get(packed);
}
async function unfold(fold) {
  if (!fold.open || fold.querySelector("pre")) return;
  const pre = fold.appendChild(document.createElement("pre"));
  const rows = await unpack(fold.parentElement.dataset.packed);
  for (const row of rows.slice(fold.dataset.from, fold.dataset.stop)) {
    const at = row.indexOf(" "), line = kernel[row.slice(0, at) - 1];
    const span = pre.appendChild(document.createElement("span"));
    span.className = "l";
    span.textContent = row.slice(at + 1);
    if (line) { Object.assign(span.dataset, line.dataset); span.tabIndex = 0; }
  }
  gather();
  light(pinned);
}
for (const fold of all("details[data-from]")) fold.addEventListener("toggle", () => unfold(fold));

// The steps that the graph is unrolled over.
for (const slider of all("input[type=range]")) {
  const pane = slider.closest(".pane");
  const move = () => {
    for (const part of all("[data-steps]", pane)) part.hidden = part.dataset.steps !== slider.value;
    pane.querySelector("output").textContent = slider.value;
  };
  slider.addEventListener("input", move);
  move();
}

// Search, in all that is seen.
const search = document.getElementById("search"), count = document.getElementById("count");
let found = [], at = -1;
function find() {
  const wanted = search.value.trim().toLowerCase();
  found = [];
  for (const line of lines) {
    const hit = wanted !== "" && isSeen(line) && line.textContent.toLowerCase().includes(wanted);
    line.classList.toggle("found", hit);
    if (hit) found.push(line);
  }
  at = -1;
  count.textContent = wanted === "" ? "" : `${found.length} lines`;
}
function next(way) {
  if (!found.length) return;
  at = (at + way + found.length) % found.length;
  found[at].scrollIntoView({ block: "center" });
  found[at].focus();
}
search.addEventListener("input", find);
search.addEventListener("keydown", (event) => { if (event.key === "Enter") next(event.shiftKey ? -1 : 1); });

// Keys: / searches, Escape lets go, arrows go through a text, Enter pins.
document.addEventListener("keydown", (event) => {
  const line = document.activeElement.closest ? document.activeElement.closest(".l, .box") : null;
  if (event.key === "Escape") { pinned = null; light(null); document.activeElement.blur(); return; }
  if (event.target.matches("input, select")) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
  if (event.key === "n" || event.key === "N") next(event.key === "n" ? 1 : -1);
  if (line && line.closest("pre") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const own = all(".l[tabindex]", line.closest("pre"));
    const to = own[own.indexOf(line) + (event.key === "ArrowDown" ? 1 : -1)];
    if (to) { to.focus(); if (!pinned) light(to); }
  }
  if (line && event.key === "Enter") pin(line);
});

// Pictures move, and grow with the wheel.
for (const box of all(".picture")) {
  const svg = box.querySelector("svg");
  let x = 0, y = 0, scale = 1, from = null;
  const place = () => { svg.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    const factor = Math.exp(-event.deltaY / 400), own = box.getBoundingClientRect();
    const px = event.clientX - own.left, py = event.clientY - own.top;
    x = px - (px - x) * factor; y = py - (py - y) * factor; scale *= factor;
    place();
  }, { passive: false });
  box.addEventListener("pointerdown", (event) => { from = [event.clientX - x, event.clientY - y]; });
  box.addEventListener("pointermove", (event) => {
    if (from && event.buttons) { x = event.clientX - from[0]; y = event.clientY - from[1]; place(); }
  });
  box.addEventListener("dblclick", () => { x = y = 0; scale = 1; place(); });
}
