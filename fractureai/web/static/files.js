// Files out of a drop, folders included, and what can be told of a file before it is sent.

// As fractureai/domain/sizes.py writes them.
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
// Each letter may take nine bytes of a header. The service keeps less of it, and a hash of the rest.
const NAME_LENGTH = 600;

// By name only what no radiograph is called; what a file holds is the server's to judge.
const LEFT_OUT = [
  [/(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini)$|(^|\/)__MACOSX\//i, "A system file, left out."],
  [/(^|\/)DICOMDIR$/i, "The index of a disc, not an image; left out."],
  [/\.(exe|dll|inf|lnk|jar|class|css|js|html?)$/i, "Part of a disc’s viewer, not an image; left out."],
];

export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (Math.round(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} ${UNITS[unit]}`;
}

const grouped = new Intl.NumberFormat("en", { useGrouping: "min2" });

/** "1 file", "12,345 files". */
export const count = (number, one = "file") => `${grouped.format(number)} ${one}${number === 1 ? "" : "s"}`;

/** A path as it can be sent: whole letters only; when it is cut the end stays, for there the name is. */
export const fit = (name) => [...(name.toWellFormed?.() ?? name)].slice(-NAME_LENGTH).join("");

/** Why a file need not be sent at all; undefined if it may be. */
export function allowed(file, name, limits) {
  if (!file) return "This cannot be read from here. Check that it is there and that you may open it.";
  const known = LEFT_OUT.find(([pattern]) => pattern.test(name));
  if (known) return known[1];
  if (file.size === 0) return "The file is empty. Export it again; the copy may have been cut off.";
  if (file.size > limits.fileBytes)
    return `The file is ${size(file.size)}; the limit is ${size(limits.fileBytes)}. Send one image per file.`;
  return undefined;
}

const PICTURE = /\.(png|jpe?g|bmp|gif|tiff?|webp)$/i;
const INDEX = /(^|\/)DICOMDIR$/i;
// What a DICOM file on a disc is called: no ending, one of digits, or its own.
const DICOM = /(^|\/)[^/.]+$|\.(dcm|\d+)$/i;

/** Whether a name is that of a picture of a disc's viewer: below a folder with a DICOMDIR and DICOM files. */
export function pictureOfViewer(names) {
  const below = (folder, name) => name.startsWith(folder);
  const folders = names.filter((name) => INDEX.test(name)).map((name) => name.replace(/[^/]*$/, ""));
  const discs = folders.filter((folder) =>
    names.some((name) => below(folder, name) && DICOM.test(name) && !INDEX.test(name)),
  );
  return (name) => name.includes("/") && PICTURE.test(name) && discs.some((folder) => below(folder, name));
}

/** All files of a drop with their paths; folders are walked, and `found(number)` tells how far it is. */
export async function filesOf(transfer, found = () => {}) {
  // Entries must be taken before the first await: the browser empties the list after the event.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const files = [];
  const keep = (one) => files.push(one) % 250 || found(files.length);
  for (const entry of entries) await walk(entry, keep);
  return files;
}

async function walk(entry, keep) {
  const name = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isFile) keep({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name });
    else for (const inner of await inside(entry)) await walk(inner, keep);
  } catch {
    keep({ file: null, name });
  }
}

async function inside(folder) {
  const reader = folder.createReader();
  const entries = [];
  // A reader hands out a folder in portions of about a hundred; an empty one is the end.
  for (;;) {
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return entries;
    entries.push(...portion);
  }
}
