"use strict";
const root = document.documentElement, hint = document.getElementById("hint");
root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

// Tables: where one does not fit, each row becomes a card, so that no column is out of sight.
const tables = [...document.querySelectorAll(".fit > table")];
function fitTables() {
  for (const table of tables) table.classList.remove("cards");
  const wide = tables.filter(table => table.offsetWidth > table.parentElement.clientWidth + 1);
  for (const table of wide) table.classList.add("cards");
}
fitTables();

// Images: pixels are decoded when an image is shown, not before.
const albums = [...document.querySelectorAll(".slides")].map(box => {
  const steps = [...box.querySelectorAll(".steps")], thumbs = [...box.querySelectorAll(".thumbs button")];
  let now = 0;
  const go = to => {
    now = (to + steps.length) % steps.length;
    for (const image of steps[now].querySelectorAll("img[data-src]")) { image.src = image.dataset.src; image.removeAttribute("data-src"); }
    steps.forEach((step, index) => { step.hidden = index !== now; });
    thumbs.forEach((thumb, index) => thumb.setAttribute("aria-current", index === now));
    const strip = thumbs[now].parentElement;
    strip.scrollLeft = thumbs[now].offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
    box.querySelector(".name").textContent = steps[now].dataset.name;
    box.querySelector(".note").textContent = steps[now].dataset.note;
  };
  thumbs.forEach((thumb, index) => thumb.addEventListener("click", () => go(index)));
  box.querySelector(".previous").addEventListener("click", () => go(now - 1));
  box.querySelector(".next").addEventListener("click", () => go(now + 1));
  return { box, move: by => go(now + by), start: () => { if (!thumbs[now].hasAttribute("aria-current")) go(now); } };
});
const inSight = box => { const place = box.getBoundingClientRect(); return Math.min(place.bottom, innerHeight) - Math.max(place.top, 0); };
// The arrow keys lead through the images that are in sight, whatever has the focus.
addEventListener("keydown", event => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const seen = albums.filter(own => inSight(own.box) > 0).sort((a, b) => inSight(b.box) - inSight(a.box))[0];
  if (seen) { seen.move(by); event.preventDefault(); }
});
// The first image of an album is decoded when the album comes near.
const watcher = new IntersectionObserver(seen => { for (const one of seen) if (one.isIntersecting) { watcher.unobserve(one.target); albums.find(own => own.box === one.target).start(); } }, { rootMargin: "1200px" });
for (const own of albums) watcher.observe(own.box);

// Details under the pointer: of stages, and of boxes in images, the smallest box that it is in.
let frame = null;
function tell(text, event) {
  hint.hidden = !text;
  if (!text) return;
  hint.textContent = text;
  hint.style.left = `${Math.min(event.clientX + 14, innerWidth - hint.offsetWidth - 8)}px`;
  hint.style.top = `${event.clientY + 18 + hint.offsetHeight > innerHeight ? event.clientY - hint.offsetHeight - 10 : event.clientY + 18}px`;
}
function spotAt(shot, event) {
  const image = shot.querySelector("img"), place = image.getBoundingClientRect();
  // object-fit leaves room at the right or below
  const scale = Math.min(place.width / image.naturalWidth, place.height / image.naturalHeight) || 1;
  const wide = image.naturalWidth * scale, high = image.naturalHeight * scale;
  const x = (event.clientX - place.left) / wide, y = (event.clientY - place.top) / high;
  shot.spots ??= JSON.parse(shot.dataset.spots);
  const area = spot => (spot[2] - spot[0]) * (spot[3] - spot[1]);
  const under = shot.spots.filter(spot => x >= spot[0] && x <= spot[2] && y >= spot[1] && y <= spot[3]).sort((a, b) => area(a) - area(b));
  return under.length ? { spot: under[0], others: under.length - 1, wide, high } : null;
}
// A tap does not move the pointer.
for (const kind of ["pointermove", "pointerdown"]) addEventListener(kind, event => {
  const on = event.target.closest?.("[data-tip], .shot[data-spots]");
  frame?.remove();
  frame = null;
  if (!on) return tell("");
  if (on.dataset.tip) return tell(on.dataset.tip, event);
  const found = spotAt(on, event);
  if (!found) return tell("");
  const [x1, y1, x2, y2, text] = found.spot;
  frame = Object.assign(document.createElement("div"), { className: "frame" });
  Object.assign(frame.style, { left: `${x1 * found.wide}px`, top: `${y1 * found.high}px`, width: `${(x2 - x1) * found.wide}px`, height: `${(y2 - y1) * found.high}px` });
  on.append(frame);
  tell(found.others ? `${text}\nand ${found.others} more here` : text, event);
});
for (const node of document.querySelectorAll(".graph .node")) {
  const edges = [...document.querySelectorAll(".graph .edge")].filter(edge => [edge.dataset.from, edge.dataset.to].includes(node.dataset.name));
  node.addEventListener("pointerenter", () => edges.forEach(edge => edge.classList.add("near")));
  node.addEventListener("pointerleave", () => edges.forEach(edge => edge.classList.remove("near")));
}

// Charts: one after another, the nearest to the window first, once the page is there to read.
const charts = [...document.querySelectorAll("div.chart")].map(place => ({ place, spec: place.nextElementSibling.textContent }));
// The letters of the longest name in a legend.
function longest(spec) {
  let most = 0;
  JSON.stringify(spec, (key, value) => {
    const names = ["color", "strokeDash", "shape"].includes(key) && value?.scale?.domain;
    if (Array.isArray(names)) most = Math.max(most, ...names.map(own => String(own).length));
    return value;
  });
  return most;
}
function looks(dark, width, name) {
  const text = dark ? "#e6e9ec" : "#1c2024", line = dark ? "#343b43" : "#d8dde3", room = Math.max(200, 7 * name), columns = Math.max(1, Math.floor((width - 40) / (room + 50)));
  return {
    background: "transparent", font: "system-ui, sans-serif",
    axis: { labelColor: text, titleColor: text, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 12, labelLimit: width < 500 ? 110 : 180 },
    axisQuantitative: { labelOverlap: true, labelSeparation: 8, labelFlush: false },
    legend: { orient: "bottom", columns, labelColor: text, titleColor: text, labelLimit: columns > 1 ? room : width - 100, labelFontSize: columns > 1 || 7 * name < width - 100 ? 12 : 10 },
    header: { labelColor: text, titleColor: text }, title: { color: text }, text: { color: text }, view: { stroke: "transparent" },
  };
}
let round = 0;
async function draw() {
  const theme = root.dataset.theme, own = ++round, left = [...charts];
  while (left.length) {
    const far = chart => { const place = chart.place.getBoundingClientRect(); return Math.max(place.top - innerHeight, -place.bottom, 0); };
    left.sort((a, b) => far(a) - far(b));
    const { place, spec } = left.shift(), parsed = JSON.parse(spec), dark = theme === "dark";
    place.dataset.width = place.clientWidth;
    await vegaEmbed(place, { ...parsed, config: { ...parsed.config, ...looks(dark, place.clientWidth, longest(parsed)) } }, { actions: false, renderer: "svg", tooltip: { theme } });
    await new Promise(resume => setTimeout(resume));
    if (own !== round) return; // the theme or the width has changed since
  }
  for (const one of albums) one.start();
  root.dataset.drawn = theme;
}
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; draw(); });
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { fitTables(); if (charts.some(own => Math.abs(own.place.clientWidth - own.place.dataset.width) > 8)) draw(); }, 150); });
requestAnimationFrame(() => setTimeout(() => {
  const script = document.createElement("script");
  script.textContent = document.getElementById("vega").textContent;
  document.head.append(script);
  draw();
}));
