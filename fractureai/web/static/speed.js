// How fast it goes and how long it still takes, for people: from the last seconds only, and never to the second.

export class Speed {
  #samples = [];

  constructor(spanSeconds = 12) {
    this.spanMs = spanSeconds * 1000;
  }

  /** `amount` is what has been done since the beginning. */
  add(amount, now = performance.now()) {
    const last = this.#samples.at(-1);
    if (last && now - last.now < 250) return;
    this.#samples.push({ amount, now });
    while (this.#samples.length > 2 && now - this.#samples[0].now > this.spanMs) this.#samples.shift();
  }

  forget() {
    this.#samples = [];
  }

  /** Amount a second; 0 while it cannot be told. */
  get rate() {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    return first && last.now - first.now > 900 ? Math.max(0, (1000 * (last.amount - first.amount)) / (last.now - first.now)) : 0;
  }
}

/** "about 3 minutes left"; nothing while the rate is unknown. */
export function timeLeft(amount, rate) {
  if (!rate || amount <= 0) return "";
  const seconds = amount / rate;
  if (seconds < 10) return "a few seconds left";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} seconds left`;
  if (seconds < 5400) return about(Math.ceil(seconds / 60), "minute");
  return about(Math.round(seconds / 3600), "hour");
}

const about = (count, unit) => `about ${count} ${unit}${count === 1 ? "" : "s"} left`;
