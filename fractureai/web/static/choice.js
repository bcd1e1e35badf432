// The files that were chosen, and what has become of each. No page here: `list.js` draws them, `upload.js` decides.
//
// An item: file, name, size, identity; note (what is said of it), trouble (why it is not sent), action (what its button
// does), state ("", "sending", "sent"), sentBytes, arrived; number (its place in the upload).

import { allowed, count, pictureOfViewer, size } from "./files.js";
import { recognise } from "./memory.js";

const byName = new Intl.Collator(undefined, { numeric: true });

export class Choice {
  items = [];

  constructor(limits) {
    this.limits = limits;
  }

  get good() {
    return this.items.filter((item) => !item.trouble);
  }

  /** Those that another upload may still bring. */
  get left() {
    return this.items.filter((item) => item.trouble && (item.surplus || item.action === "Try again"));
  }

  /** Take up files; `kept` is an upload of before, of which some may have arrived. */
  async add(files, kept) {
    const known = new Set(this.items.map((item) => item.identity));
    const fresh = [];
    const ofViewer = pictureOfViewer(files.map(({ name }) => name));
    for (const { file, name } of files) {
      const identity = `${name}\n${file?.size}\n${file?.lastModified}`;
      if (known.has(identity)) continue;
      known.add(identity);
      const trouble = ofViewer(name)
        ? "A picture of a disc’s viewer, not a radiograph; left out."
        : allowed(file, name, this.limits);
      fresh.push(unsent({ file, name, identity, size: file?.size ?? 0, trouble, action: "Remove" }));
    }
    this.items.push(...fresh.sort((one, other) => byName.compare(one.name, other.name)));
    if (kept) await this.recognise(kept);
  }

  /** Tell which of the files arrived with an upload of before. */
  async recognise(kept) {
    await recognise(this.good.filter((item) => !item.number), kept.files);
    for (const item of this.items) if (item.arrived) sent(item, "Sent before the interruption");
  }

  remove(item) {
    this.items = this.items.filter((other) => other !== item);
  }

  /** More than one upload takes: each file too many says so. */
  markSurplus(most, what = "One upload") {
    for (const item of this.items) if (item.surplus) item.trouble = item.surplus = undefined;
    for (const item of this.good.slice(most)) {
      item.surplus = true;
      item.trouble = `${what} takes at most ${count(most)}. This one can go with the next upload.`;
    }
  }

  /** What was on its way is not any more; what arrived stays so. */
  halt() {
    for (const item of this.items) if (item.state === "sending") unsent(item);
  }

  /** Nothing has been sent. */
  reset() {
    for (const item of this.good) unsent(Object.assign(item, { number: undefined, arrived: false, action: "Remove" }));
  }

  /** Keep what another upload may bring, and forget the rest. */
  keepLeft() {
    this.items = this.left;
    for (const item of this.items) item.trouble = item.surplus = undefined;
    this.reset();
  }

  /** The file is at fault, as the server sees it; undefined if no file of that name is here. */
  blame(name, sentence) {
    const item = this.items.find((other) => name && other.name.endsWith(name));
    if (item) item.trouble = sentence;
    return item;
  }

  get totals() {
    const going = this.good;
    return {
      files: going.length,
      arrived: going.filter((item) => item.arrived).length,
      bytes: going.reduce((sum, item) => sum + item.size, 0),
      sentBytes: going.reduce((sum, item) => sum + item.sentBytes, 0),
    };
  }
}

export const unsent = (item) => Object.assign(item, { state: "", note: size(item.size), sentBytes: 0 });

export const sending = (item) => Object.assign(item, { state: "sending", note: "Sending", sentBytes: 0 });

export const sent = (item, note = "Sent") =>
  Object.assign(item, { arrived: true, state: "sent", note, sentBytes: item.size, action: null });

export const refused = (item, sentence) =>
  Object.assign(unsent(item), { trouble: sentence, action: "Try again" });

export const waiting = (item) => Object.assign(item, { trouble: undefined, action: null, note: "Waiting" });
