// Follows open work: asks its status politely, and when something is new fetches this page and swaps the live part.
// The page is rendered in one place only, on the server.

import { ready } from "./page.js";

const MAX_WAIT_S = 30;
const HELD_S = 20;

const say = (text) => {
  const place = document.querySelector("[data-live-say]");
  if (place && place.textContent !== text) place.textContent = text;
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Resolves at once, or when the page is looked at again: a hidden tab asks nothing. */
const seen = () =>
  document.hidden
    ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))
    : Promise.resolve();

async function swap() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  const old = document.querySelector("[data-live]");
  if (!fresh || !old) return null;
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const opened = [...old.querySelectorAll("details")].map((details) => details.open);
  old.replaceWith(document.adoptNode(fresh));
  [...fresh.querySelectorAll("details")].forEach((details, index) => (details.open = opened[index] ?? false));
  if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  document.title = page.title;
  ready(fresh);
  say(fresh.dataset.liveText);
  document.dispatchEvent(new CustomEvent("live:swapped", { detail: fresh }));
  return fresh;
}

/** What is asked: news since the last answer. The server may hold its answer back until there is some. */
function ask(live, tag) {
  if (!tag) return fetch(live.dataset.liveUrl, { cache: "no-store" });
  return fetch(`${live.dataset.liveUrl}?wait=${HELD_S}`, { headers: { "If-None-Match": `"${tag}"` }, cache: "no-store" });
}

async function follow(live) {
  let tag = live.dataset.liveTag;
  let wait = Number(live.dataset.liveEvery) || 0;
  while (live?.dataset.liveUrl) {
    await pause(wait);
    await seen();
    try {
      const begun = performance.now();
      const answer = await ask(live, tag);
      const isNews = answer.status !== 304;
      if (isNews && !answer.ok) throw new Error(`HTTP ${answer.status}`);
      if (isNews) {
        live = await swap();
        tag = live?.dataset.liveTag;
      }
      // An answer that was held back may be followed by the next question at once, but people read slower than that.
      const held = performance.now() - begun > 1000 * (HELD_S - 2);
      wait = held ? 0 : Number(live?.dataset.liveEvery || answer.headers.get("Retry-After")) || 1;
    } catch {
      // The network or the server is away for a while: ask less and less often, but do not give up.
      wait = Math.min(Math.max(2 * wait, 1), MAX_WAIT_S);
      say("The server does not answer at the moment. Still trying.");
    }
  }
}

const live = document.querySelector("[data-live][data-live-url]");
if (live) follow(live);
