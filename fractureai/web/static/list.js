// The list of chosen files. Ten thousand of them are a tall box of which only the rows in sight exist.

const BESIDE = 6;
const SHORT_REM = 3.6;
const TALL_REM = 5.4;

export class FileList {
  #rows = new Map();
  #dirty = new Set();
  #items = [];
  #tops = [0];
  #actions = [];
  #due = false;
  #held = false;

  /** `act(item)` is called when a row's button is pressed. */
  constructor(room, template, act) {
    this.room = room;
    this.list = room.querySelector("ul");
    this.template = template;
    this.act = act;
    room.addEventListener("scroll", () => this.#later());
    for (const name of ["wheel", "pointerdown", "keydown"]) room.addEventListener(name, () => (this.#held = true));
    new ResizeObserver(() => this.#later()).observe(room);
  }

  /** Show these items, in this order; `actions` are what their buttons may do now. */
  show(items, actions) {
    this.#items = items;
    this.#actions = actions;
    this.#dirty = new Set(items);
    this.#measure();
    this.#later();
  }

  /** The item has changed. */
  update(item) {
    this.#dirty.add(item);
    this.#later();
  }

  /** Bring the keyboard to the row at this place, or as near as there is one. */
  focus(place) {
    const item = this.#items[Math.min(place, this.#items.length - 1)];
    if (!item) return false;
    this.#draw();
    const button = this.#rows.get(item)?.querySelector("button");
    button?.focus();
    return Boolean(button);
  }

  /** Keep the item in sight, unless somebody has moved the list. */
  follow(item) {
    const place = item ? this.placeOf(item) : -1;
    if (!this.#held && place > 0) this.room.scrollTop = this.#tops[place - 1];
  }

  placeOf(item) {
    return this.#items.indexOf(item);
  }

  #measure() {
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    let top = 0;
    this.#tops = [0, ...this.#items.map((item) => (top += Math.round((item.trouble ? TALL_REM : SHORT_REM) * rem)))];
    this.list.style.height = `${top}px`;
  }

  #later() {
    if (this.#due) return;
    this.#due = true;
    // A hidden tab draws no frames, and needs none.
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#due = false;
    const from = Math.max(0, this.#at(this.room.scrollTop) - BESIDE);
    const to = Math.min(this.#items.length, this.#at(this.room.scrollTop + this.room.clientHeight) + BESIDE);
    const seen = new Set(this.#items.slice(from, to));
    for (const [item, row] of this.#rows) {
      // A row that holds the keyboard's focus stays, wherever it is.
      if (seen.has(item) || (row.contains(document.activeElement) && this.#items.includes(item))) continue;
      row.remove();
      this.#rows.delete(item);
    }
    for (let place = from; place < to; place += 1) this.#place(this.#items[place], place);
    this.#dirty.clear();
  }

  #place(item, place) {
    let row = this.#rows.get(item);
    if (!row) {
      row = this.template.content.cloneNode(true).querySelector("li");
      const cut = item.name.lastIndexOf("/") + 1;
      row.querySelector(".file-name").textContent = item.name.slice(cut);
      row.querySelector(".file-folder").textContent = item.name.slice(0, cut);
      row.title = item.name;
      row.querySelector("button").addEventListener("click", () => this.act(item));
      this.#rows.set(item, row);
      const next = [...this.list.children].find((other) => Number(other.dataset.place) > place);
      this.list.insertBefore(row, next ?? null);
      this.#dirty.add(item);
    }
    row.dataset.place = place;
    row.style.top = `${this.#tops[place]}px`;
    row.style.height = `${this.#tops[place + 1] - this.#tops[place]}px`;
    row.setAttribute("aria-posinset", place + 1);
    row.setAttribute("aria-setsize", this.#items.length);
    if (this.#dirty.has(item)) fill(row, item, this.#actions);
  }

  /** Which row is at this height. */
  #at(height) {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tops[middle + 1] <= height) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function fill(row, item, actions) {
  const note = row.querySelector(".file-note");
  const bar = row.querySelector("progress");
  const button = row.querySelector("button");
  row.className = item.trouble ? "bad" : (item.state ?? "");
  note.textContent = note.title = item.trouble ?? item.note;
  bar.hidden = item.state !== "sending";
  bar.value = item.size ? (100 * (item.sentBytes ?? 0)) / item.size : 100;
  bar.setAttribute("aria-label", `Sent of ${item.name}`);
  button.hidden = !actions.includes(item.action);
  button.textContent = item.action ?? "";
  button.setAttribute("aria-label", `${item.action}: ${item.name}`);
}
