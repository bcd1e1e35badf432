// Lists of studies: keys to walk them, a short address, and the way through the list for the study's page.

import { shortcuts } from "./keys.js";

const links = () => [...document.querySelectorAll("[data-studies] th a")];

function step(by) {
  const all = links();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)];
  next.focus();
  next.closest("tr").scrollIntoView({ block: "nearest" });
}

const press = (selector) => document.querySelector(selector)?.click();

shortcuts({
  j: () => step(1),
  k: () => step(-1),
  n: () => press("[data-next]"),
  "/": () => document.querySelector("[data-search]")?.focus(),
});

document.querySelector("[data-search]")?.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.blur();
});

// Which studies were listed, in order: a study's page leads on to the next one.
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-studies] a")) return;
  try {
    const listed = links().map((link) => link.pathname);
    sessionStorage.setItem("listed", JSON.stringify({ from: location.pathname + location.search, listed }));
  } catch {
    // Without it the study's page has no way on, and all else works.
  }
});

const ask = document.querySelector("[data-ask]");
if (ask) {
  const zone = Object.assign(document.createElement("input"), { type: "hidden", name: "zone" });
  zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
  ask.querySelector("[name=zone]")?.remove();
  ask.append(zone);
  ask.addEventListener("change", (event) => event.target.matches("select") && ask.requestSubmit());
  ask.addEventListener("submit", () => {
    const days = [...ask.querySelectorAll("[type=date]")].some((input) => input.value);
    for (const input of ask.querySelectorAll("input, select"))
      input.disabled = !input.value || (input === zone && !days);
  });
  addEventListener("pageshow", () => {
    for (const input of ask.querySelectorAll("input, select")) input.disabled = false;
  });
}
