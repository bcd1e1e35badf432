// The study's images: how all of them are shown, one by one or side by side.

import { Film } from "./film.js";
import { shortcuts } from "./keys.js";

const USUAL = {
  opacity: 55,
  window: 255,
  level: 128,
  roi: true,
  invert: false,
  drag: "move",
  layout: matchMedia("(min-width: 70rem)").matches ? "side" : "single",
};
// What a reader sets once for all studies. Grey values are not among it: every image begins as it is.
const KEPT = ["opacity", "roi", "layout"];

let settings = { ...USUAL, ...kept() };
let viewer = null;

function kept() {
  try {
    return JSON.parse(localStorage.getItem("viewer")) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  try {
    localStorage.setItem("viewer", JSON.stringify(Object.fromEntries(KEPT.map((name) => [name, settings[name]]))));
  } catch {
    // It holds for this page then.
  }
}

class Viewer {
  constructor(views, bar) {
    this.views = views;
    this.bar = bar;
    this.panels = [...views.querySelectorAll("[data-view]")];
    this.tabs = [...views.querySelectorAll("[role=tab]")];
    this.films = [...views.querySelectorAll("[data-film-room]")].map((room) => new Film(room, (...drag) => this.drag(...drag)));
    this.chosen = 0;
    bar.hidden = false;
    bar.open = matchMedia("(min-width: 46rem)").matches;
    bar.addEventListener("input", (event) => this.set(event.target));
    bar.querySelector("[data-reset]").addEventListener("click", () => this.reset());
    this.listenToTabs();
    this.show();
  }

  set({ name, type, checked, value }) {
    if (!(name in settings)) return;
    settings[name] = type === "checkbox" ? checked : type === "range" ? Number(value) : value;
    this.show();
  }

  /** Drag over an image: across is the window's width, down its level. */
  drag(film, x, y) {
    if (settings.drag !== "window") return false;
    settings.window = within(settings.window + x, 2, 510);
    settings.level = within(settings.level + y, 0, 255);
    this.show();
    return true;
  }

  reset() {
    for (const film of this.films) film.reset();
    settings = { ...settings, window: USUAL.window, level: USUAL.level, invert: false };
    this.show();
  }

  show() {
    for (const input of this.bar.querySelectorAll("input")) {
      if (input.type === "radio") input.checked = input.value === settings[input.name];
      else if (input.type === "checkbox") input.checked = settings[input.name];
      else input.value = settings[input.name];
    }
    for (const output of this.bar.querySelectorAll("output"))
      output.value = `${Math.round(settings[output.dataset.of])}${output.dataset.unit ?? ""}`;
    this.views.style.setProperty("--attention", settings.opacity / 100);
    this.views.classList.toggle("no-roi", !settings.roi);
    this.views.classList.toggle("windowing", settings.drag === "window");
    this.#grey();
    this.#layOut();
    keep();
  }

  /** Grey values through window and level (DICOM PS3.3, C.11.2.1.2, on the 8 bits that are shown). */
  #grey() {
    const { window, level, invert } = settings;
    let slope = 255 / window;
    let intercept = 0.5 - (slope * level) / 255;
    const plain = Math.abs(slope - 1) < 1e-6 && Math.abs(intercept) < 0.003 && !invert;
    if (invert) [slope, intercept] = [-slope, 1 - intercept];
    for (const part of document.querySelectorAll("[data-grey] *")) {
      part.setAttribute("slope", slope);
      part.setAttribute("intercept", intercept);
    }
    for (const image of this.views.querySelectorAll("[data-pixels]")) image.style.filter = plain ? "" : "url(#grey)";
  }

  #layOut() {
    const side = settings.layout === "side" && this.panels.length > 1;
    this.views.classList.toggle("side", side);
    const list = this.views.querySelector("[role=tablist]");
    if (list) list.hidden = side;
    this.panels.forEach((panel, place) => {
      panel.hidden = !side && place !== this.chosen;
      if (this.panels.length < 2) return;
      panel.setAttribute("role", side ? "group" : "tabpanel");
    });
    this.tabs.forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === this.chosen));
      tab.tabIndex = place === this.chosen ? 0 : -1;
    });
  }

  choose(place, { focus = false } = {}) {
    if (!this.panels[place]) return;
    this.chosen = place;
    this.#layOut();
    if (settings.layout === "side") this.panels[place].scrollIntoView({ block: "nearest" });
    if (focus) this.tabs[place].focus();
  }

  listenToTabs() {
    const moves = { ArrowRight: 1, ArrowLeft: -1 };
    this.tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => this.choose(place));
      tab.addEventListener("keydown", (event) => {
        if (!(event.key in moves)) return;
        event.preventDefault();
        this.choose((place + moves[event.key] + this.tabs.length) % this.tabs.length, { focus: true });
      });
    });
  }

  /** The image that keys mean: the one with the focus, else the one in front. */
  get film() {
    const focused = this.films.find((film) => film.room.parentElement.contains(document.activeElement));
    return focused ?? this.films.find((film) => this.panels[this.chosen]?.contains(film.room)) ?? this.films[0];
  }

  turn(name, value) {
    settings[name] = value;
    this.show();
  }
}

const within = (value, least, most) => Math.min(Math.max(value, least), most);

function begin(root) {
  const views = root.querySelector("[data-views]");
  const bar = root.querySelector("[data-display]");
  if (views && bar) viewer = new Viewer(views, bar);
}

begin(document);
document.addEventListener("live:swapped", (event) => begin(event.detail));

const press = (selector) => document.querySelector(selector)?.click();
let opacity = USUAL.opacity;
shortcuts({
  "+": () => viewer?.film?.zoomIn(),
  "-": () => viewer?.film?.zoomOut(),
  0: () => viewer?.film?.reset(),
  a: () => {
    if (settings.opacity) opacity = settings.opacity;
    viewer?.turn("opacity", settings.opacity ? 0 : opacity);
  },
  b: () => viewer?.turn("roi", !settings.roi),
  i: () => viewer?.turn("invert", !settings.invert),
  w: () => viewer?.turn("drag", settings.drag === "window" ? "move" : "window"),
  s: () => viewer?.turn("layout", settings.layout === "side" ? "single" : "side"),
  r: () => viewer?.reset(),
  j: () => press("[data-after]"),
  k: () => press("[data-before]"),
  ...Object.fromEntries([..."123456789"].map((digit) => [digit, () => viewer?.choose(Number(digit) - 1)])),
});
