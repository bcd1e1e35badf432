// The batch's page: how fast the studies come, told from what this page has seen itself.

import { Speed, timeLeft } from "./speed.js";

const speed = new Speed(90);
const whole = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

function tell(root) {
  const place = root.querySelector("[data-pace]");
  if (!place) return;
  speed.add(Number(place.dataset.closed));
  const open = Number(place.dataset.total) - Number(place.dataset.closed);
  if (!open || !speed.rate) return;
  const facts = [`${whole.format(60 * speed.rate)} studies a minute`, timeLeft(open, speed.rate)];
  place.replaceChildren(...facts.map((fact) => Object.assign(document.createElement("span"), { textContent: fact })));
}

tell(document);
document.addEventListener("live:swapped", (event) => tell(event.detail));
