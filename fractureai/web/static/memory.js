// What an interrupted upload needs to go on after a reload: its address, and the receipt of every file that arrived.
// It is kept in this browser until the upload is complete, a week at most. Where the browser keeps nothing (private
// windows), uploads work all the same and begin anew after a reload.

const KEPT_MS = 7 * 24 * 3600 * 1000;

const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("fractureai-uploads", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("uploads", { keyPath: "batch_id" });
      request.result.createObjectStore("files", { keyPath: ["batch_id", "number"] });
    };
    request.onblocked = () => reject(new Error("blocked"));
    answered(request).then(resolve, reject);
  });
  return opened;
}

const allFiles = (batchId) => IDBKeyRange.bound([batchId, 0], [batchId, Infinity]);

/** Do it if the browser lets us; remembering is never worth failing for. */
async function attempt(act) {
  try {
    return await act(await open());
  } catch {
    return null;
  }
}

export const begin = (upload, items) =>
  attempt(async (db) => {
    const transaction = db.transaction(["uploads", "files"], "readwrite", { durability: "relaxed" });
    transaction.objectStore("uploads").put(upload);
    for (const item of items) transaction.objectStore("files").put(entry(upload.batch_id, item));
    await finished(transaction);
  });

export const arrived = (batchId, item, { receipt, sha256 }) =>
  attempt(async (db) => {
    const transaction = db.transaction("files", "readwrite", { durability: "relaxed" });
    transaction.objectStore("files").put({ ...entry(batchId, item), receipt, sha256 });
    await finished(transaction);
  });

/** The newest upload that was not completed, with its files; null if there is none. */
export const pending = () =>
  attempt(async (db) => {
    const uploads = await answered(db.transaction("uploads").objectStore("uploads").getAll());
    const old = uploads.filter((upload) => upload.begun_at < Date.now() - KEPT_MS);
    for (const upload of old) await forget(upload.batch_id);
    const [upload] = uploads.filter((one) => !old.includes(one)).sort((a, b) => b.begun_at - a.begun_at);
    if (!upload) return null;
    const files = await answered(db.transaction("files").objectStore("files").getAll(allFiles(upload.batch_id)));
    return { upload, files };
  });

export const forget = (batchId) =>
  attempt(async (db) => {
    const transaction = db.transaction(["uploads", "files"], "readwrite");
    transaction.objectStore("uploads").delete(batchId);
    transaction.objectStore("files").delete(allFiles(batchId));
    await finished(transaction);
  });

const lockOf = (batchId) => `fractureai-upload-${batchId}`;

/** Do it while every other window of this browser can see that the upload is being sent. */
export const holding = (batchId, act) =>
  navigator.locks ? navigator.locks.request(lockOf(batchId), { mode: "shared" }, act) : act();

/** Whether another window is sending it. */
export async function isHeld(batchId) {
  const { held } = (await navigator.locks?.query()) ?? { held: [] };
  return held.some((lock) => lock.name === lockOf(batchId));
}

const entry = (batchId, item) => ({
  batch_id: batchId,
  number: item.number,
  name: item.name,
  size: item.size,
  modified: item.file.lastModified,
});

/** Learn from the server what arrived without our having heard of it. */
export function merge(files, arrived) {
  const byNumber = new Map(arrived.map((one) => [one.number, one]));
  for (const file of files) {
    const known = byNumber.get(file.number);
    if (known?.size_bytes === file.size) Object.assign(file, { receipt: known.receipt, sha256: known.sha256 });
  }
}

/** Give chosen files the numbers they had, and tell which of them arrived before. */
export async function recognise(items, files) {
  const exact = new Map(files.map((one) => [`${one.name}\n${one.size}\n${one.modified}`, one]));
  const left = new Set(files);
  const unsure = [];
  for (const item of items) {
    const known = exact.get(item.identity);
    if (known) take(item, known, left, Boolean(known.receipt));
    else unsure.push(item);
  }
  const byName = new Map([...left].map((one) => [one.name, one]));
  for (const item of unsure) {
    const known = byName.get(item.name);
    // The same name in other clothes: the content decides. If it is new, it replaces the old under its number.
    if (known && left.has(known)) take(item, known, left, await sameContent(item.file, known));
  }
}

function take(item, known, left, hasArrived) {
  left.delete(known);
  item.number = known.number;
  item.arrived = hasArrived;
}

const HASHED_BYTES = 64 * 1024 * 1024;

async function sameContent(file, known) {
  // The browser hashes only whole files, and only on pages that came over HTTPS or from this machine.
  if (!known.receipt || file.size !== known.size || file.size > HASHED_BYTES || !globalThis.crypto?.subtle) return false;
  try {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === known.sha256;
  } catch {
    return false;
  }
}
