// Sending: file by file, a few at a time, for as long as it takes.
//
// What happens to a file is told by events: sending(item), watch(item, bytes), arrived(item), refused(item, error);
// and of the line: waiting(error, seconds), flowing().

import { fit } from "./files.js";
import * as memory from "./memory.js";
import { Refused, pause, request } from "./request.js";

const AT_ONCE = 4;
const ATTEMPTS_A_FILE = 4;
const MAX_WAIT_S = 30;
const JSON_BODY = { "Content-Type": "application/json" };

/** The upload takes no more files: the server knows it no longer, or it was completed before. Begin anew. */
export class Gone extends Error {}

const OVER = ["not_found", "bad_receipt", "already_complete"];

const SORTED_MS = 15_000;

/** The page of the one study a batch has become; the batch's own if it became something else, or that takes long. */
export async function pageOf(answer) {
  const patience = AbortSignal.timeout(SORTED_MS);
  try {
    for (;;) {
      const batch = await request("GET", answer.status_url, { signal: patience });
      const studies = Object.values(batch.counts).reduce((sum, number) => sum + number, 0);
      if (batch.state !== "open") {
        if (studies !== 1 || batch.rejected_uploads.length) return answer.page_url;
        const { studies: [study] } = await request("GET", `${answer.status_url}/studies`, { signal: patience });
        return study.page_url;
      }
      await pause(0.2, patience);
    }
  } catch {
    return answer.page_url;
  }
}

/** What the server has of an upload; its state is "gone" if it knows it no more, and null comes if it cannot be asked. */
export async function arrivedOf(upload) {
  try {
    return await request("GET", upload.upload_url, { headers: { "Upload-Token": upload.token } });
  } catch (error) {
    return OVER.includes(error.code) ? { state: "gone" } : null;
  }
}

/** Holds every lane while the service cannot be reached, with growing patience and without ever giving up. */
class Line {
  constructor(signal, events) {
    this.signal = signal;
    this.events = events;
    this.failures = 0;
    this.hold = null;
  }

  async use(act) {
    for (;;) {
      try {
        const answer = await act();
        if (this.failures) this.events.flowing();
        this.failures = 0;
        return answer;
      } catch (error) {
        if (!error.forAll) throw error;
        await (this.hold ??= this.#wait(error));
      }
    }
  }

  async #wait(error) {
    const seconds = error.retryAfter || Math.min(2 ** this.failures, MAX_WAIT_S);
    this.failures += 1;
    this.events.waiting(error, seconds);
    try {
      await pause(seconds, this.signal);
    } finally {
      this.hold = null;
    }
  }
}

/** One upload file by file: it can be stopped at any time and run again, also after a reload. */
export class BatchUpload {
  constructor(url, { label, sorting, events, kept = null }) {
    this.url = url;
    this.label = label;
    this.sorting = sorting;
    this.events = events;
    this.again = null;
    this.upload = kept?.upload ?? null;
    this.receipts = new Map((kept?.files ?? []).filter((entry) => entry.receipt).map((e) => [e.number, e.receipt]));
    this.lastNumber = Math.max(0, ...(kept?.files ?? []).map((entry) => entry.number));
  }

  /** Send what has not arrived yet, then hand in the receipts. Returns the server's answer. */
  async run(items, signal) {
    const line = new Line(signal, this.events);
    if (!this.upload) {
      const begun = await line.use(() => request("POST", this.url, { signal }));
      this.upload = { ...begun, label: this.label, ...this.sorting, begun_at: Date.now() };
    }
    const waiting = items.filter((item) => !item.arrived);
    for (const item of waiting) {
      item.number ??= this.lastNumber += 1;
      // What lies under this number was changed since.
      this.receipts.delete(item.number);
    }
    await memory.begin(this.upload, waiting);
    this.events.begun(this.upload);
    return memory.holding(this.upload.batch_id, () => this.#send(waiting, line, signal));
  }

  async #send(waiting, line, signal) {
    const lane = async () => {
      while (waiting.length) await this.#one(waiting.shift(), line, signal);
    };
    this.again = (item) => waiting.push(item);
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    this.again = null;
    return this.complete(signal, line);
  }

  async complete(signal, line = new Line(signal, this.events)) {
    if (!this.receipts.size) throw new Error("No file was accepted.");
    const body = JSON.stringify({ label: this.label, ...this.sorting, receipts: [...this.receipts.values()] });
    const answer = await line.use(() => this.#asked("POST", this.upload.complete_url, { body, headers: JSON_BODY, signal }));
    await memory.forget(this.upload.batch_id);
    return answer;
  }

  async #one(item, line, signal) {
    for (let attempt = 1; ; attempt += 1) {
      this.events.sending(item);
      try {
        const answer = await line.use(() => this.#put(item, signal));
        this.receipts.set(item.number, answer.receipt);
        await memory.arrived(this.upload.batch_id, item, answer);
        this.events.arrived(item);
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (!error.later || attempt === ATTEMPTS_A_FILE) return this.events.refused(item, error);
        await pause(2 ** (attempt - 1), signal);
      }
    }
  }

  async #put(item, signal) {
    const headers = {
      "Upload-Token": this.upload.token,
      "Content-Type": "application/octet-stream",
      // Not in the address: those end in logs, and a file's name may be a patient's.
      "Content-Disposition": `attachment; filename*=UTF-8''${encoded(fit(item.name))}`,
    };
    const url = `${this.upload.files_url}${item.number}`;
    const watch = (loaded) => this.events.watch(item, loaded);
    try {
      return await this.#asked("PUT", url, { body: item.file, headers, signal, watch });
    } catch (error) {
      // A file that was moved or changed looks like a lost line, and would be tried for ever.
      if (error.status === 0 && !(await readable(item.file))) throw new Refused({ detail: UNREADABLE }, 422);
      throw error;
    }
  }

  async #asked(method, url, options) {
    try {
      return await request(method, url, options);
    } catch (error) {
      if (OVER.includes(error.code)) throw new Gone();
      throw error;
    }
  }
}

/** As RFC 8187 has it, which leaves fewer characters as they are than an address does. */
const encoded = (name) => encodeURIComponent(name).replace(/['()*]/g, (one) => `%${one.charCodeAt(0).toString(16)}`);

const UNREADABLE = "The file was moved or changed after it was chosen. Choose it again.";

async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
