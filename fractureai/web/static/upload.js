// The upload page: what was chosen or dropped, checked before it is sent, sent with progress for every file, paused,
// gone on with, also after a reload.

import { Choice, refused, sending, sent, waiting } from "./choice.js";
import { dropArea } from "./drop.js";
import { count, size } from "./files.js";
import { FileList } from "./list.js";
import * as memory from "./memory.js";
import { BatchUpload, Gone, arrivedOf, pageOf } from "./send.js";
import { Speed, timeLeft } from "./speed.js";

const form = document.querySelector("[data-upload]");
const part = (name) => form.querySelector(`[data-${name}]`);
const say = (text) => (part("say").textContent = text);
const limits = {
  files: Number(form.dataset.maxFiles),
  uploadFiles: Number(form.dataset.maxUploadFiles),
  fileBytes: Number(form.dataset.maxFileBytes),
};
const title = document.title;
const speed = new Speed();
const choice = new Choice(limits);
const list = new FileList(part("list"), document.querySelector("[data-file-template]"), pressed);

let phase = "choosing"; // "choosing", "sending", "paused" or "finished"
let onlyTrouble = false;
let stop = null;
let kept = null; // an upload of before, from the browser's memory
let batch = null; // the upload that is running or paused

// What a file's button may do.
const ACTIONS = { choosing: ["Remove", "Try again"], sending: ["Try again"], paused: ["Try again"], finished: [] };

const grouping = () => form.elements.grouping.value;
const together = () => grouping() === "study";
const sorting = () => ({
  grouping: grouping(),
  ...(grouping() === "pattern" ? { pattern: form.elements.pattern.value.trim() } : {}),
});

// What is shown

function refresh() {
  if (phase === "choosing") choice.markSurplus(...(together() ? [limits.files, "One study"] : [limits.uploadFiles]));
  form.elements.pattern.disabled = grouping() !== "pattern"; // what is hidden must not hold up the form
  const { items, good } = choice;
  const trouble = items.length - good.length;
  if (!trouble) onlyTrouble = false;
  const shown = {
    drop: phase === "choosing",
    pattern: grouping() === "pattern",
    grouping: phase === "choosing",
    labelling: phase === "choosing",
    queue: items.length > 0,
    only: trouble > 0,
    clear: phase === "choosing",
    send: phase === "choosing" || phase === "paused",
    pause: phase === "sending",
    "give-up": phase === "paused",
    total: phase === "sending" || phase === "paused",
    resume: phase === "choosing" && kept !== null,
    rest: phase === "finished",
  };
  for (const [name, isShown] of Object.entries(shown)) part(name).hidden = !isShown;
  part("queue-title").textContent = count(items.length);
  part("only").textContent = onlyTrouble ? "Show all" : `Show the ${trouble} with a problem`;
  part("send").disabled = good.length === 0;
  part("send").textContent = sendText(good.filter((item) => !item.arrived).length);
  part("pause").textContent = "Pause";
  list.show(onlyTrouble ? items.filter((item) => item.trouble) : items, ACTIONS[phase]);
}

function sendText(number) {
  if (phase === "paused" || kept) return number ? `Go on with ${count(number)}` : "Go on";
  return number > 1 ? `Analyse ${count(number)}` : "Analyse";
}

function setPhase(next) {
  phase = next;
  if (phase !== "sending") document.title = title;
  const focused = document.activeElement;
  refresh();
  // What was pressed may be gone now; the keyboard goes on at what took its place.
  if (form.contains(focused) && !focused.checkVisibility?.())
    ["send", "pause", "rest-link"].map(part).find((button) => button.checkVisibility() && !button.disabled)?.focus();
}

let progressDue = null;

/** Bytes on their way are told together, a few times a second. */
function progress() {
  progressDue ??= setTimeout(() => {
    progressDue = null;
    const { files, arrived, bytes, sentBytes } = choice.totals;
    speed.add(sentBytes);
    const percent = bytes ? (100 * sentBytes) / bytes : 100;
    const facts = [`${arrived} of ${count(files)}`, `${size(sentBytes)} of ${size(bytes)}`];
    if (phase === "paused") facts.push("paused");
    else if (speed.rate) facts.push(`${size(speed.rate)} a second`, timeLeft(bytes - sentBytes, speed.rate));
    part("total-bar").value = percent;
    if (phase === "sending") list.follow(choice.good.find((item) => !item.arrived));
    const line = facts.filter(Boolean).map((fact) => Object.assign(document.createElement("span"), { textContent: fact }));
    part("total-text").replaceChildren(...line);
    if (phase === "sending") document.title = `${Math.floor(percent)} % sent · ${title}`;
  }, 200);
}

function show(item) {
  list.update(item);
  progress();
}

const events = {
  begun: (upload) => {
    part("batch-link").href = form.dataset.batchPage.replace("0".repeat(32), upload.batch_id);
    part("batch-note").hidden = false;
  },
  sending: (item) => show(sending(item)),
  watch: (item, bytes) => {
    item.sentBytes = Math.min(bytes, item.size);
    show(item);
  },
  arrived: (item) => show(sent(item)),
  refused: (item, problem) => {
    show(refused(item, problem.message));
    refresh();
  },
  waiting: (problem, seconds) => {
    speed.forget();
    part("line").textContent = `${problem.message} Trying again in ${count(Math.ceil(seconds), "second")}; nothing is lost.`;
    part("line").hidden = false;
  },
  flowing: () => (part("line").hidden = true),
};

// What is sent

async function add(files) {
  part("alert").hidden = true;
  await choice.add(files, kept);
  refresh();
  say(`${count(choice.items.length)} chosen.`);
}

async function send(label) {
  batch ??= new BatchUpload(form.dataset.uploadsUrl, { label, sorting: sorting(), events, kept });
  refresh();
  return batch.run(choice.good, stop.signal);
}

async function start() {
  part("alert").hidden = part("line").hidden = true;
  stop = new AbortController();
  speed.forget();
  setPhase("sending");
  progress();
  say("Sending.");
  try {
    await finish(await send(form.elements.label.value));
  } catch (error) {
    stop.abort(); // whatever else is still on its way
    if (error instanceof Gone) await anew();
    else halt(error);
  }
}

async function finish(answer) {
  const one = together() || choice.good.length === 1;
  kept = batch = null;
  say("Everything was received.");
  const left = choice.left.length;
  if (!left) {
    phase = "finished";
    return location.assign(one ? await pageOf(answer) : answer.page_url);
  }
  part("rest-link").href = answer.page_url;
  part("rest-text").textContent = `${count(left)} did not go with it; the reason stands at each.`;
  onlyTrouble = true;
  return setPhase("finished");
}

/** Stopped, or refused as a whole. */
function halt(error) {
  const wanted = error.name === "AbortError";
  say(wanted ? "Stopped." : "");
  part("line").hidden = true;
  if (!wanted) {
    const item = choice.blame(error.file, error.message);
    part("alert").textContent = item ? `${item.name}: ${error.message}` : error.message;
    part("alert").hidden = false;
  }
  if (batch) choice.halt();
  else choice.reset();
  setPhase(batch ? "paused" : "choosing");
  progress();
}

/** The server knows the upload no more, its key or its store is new: everything has to be sent once more. */
async function anew() {
  await forget();
  await start();
}

async function forget() {
  const upload = batch?.upload ?? kept?.upload;
  kept = batch = null;
  if (upload) await memory.forget(upload.batch_id);
  choice.reset();
  part("batch-note").hidden = true;
  setPhase("choosing");
}

// An upload of before

async function remember() {
  const found = await memory.pending();
  if (!found || (await memory.isHeld(found.upload.batch_id))) return;
  const known = await arrivedOf(found.upload);
  if (known?.state === "complete") {
    // Only the answer was lost.
    part("received-link").href = known.page_url;
    part("received").hidden = false;
  }
  if (known && known.state !== "open") return memory.forget(found.upload.batch_id);
  kept = found;
  memory.merge(kept.files, known?.files ?? []);
  const { label, begun_at } = kept.upload;
  form.elements.grouping.value = kept.upload.grouping ?? "file";
  form.elements.pattern.value = kept.upload.pattern ?? form.elements.pattern.value;
  const arrived = kept.files.filter((entry) => entry.receipt).length;
  const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(begun_at);
  part("resume-text").textContent =
    `${label ? `“${label}”: ` : ""}${arrived} of ${count(kept.files.length)} arrived, begun ${when}. ` +
    "Choose the same files or the same folder again: what arrived is not sent twice.";
  part("complete").hidden = arrived === 0;
  part("complete").textContent = `Finish with the ${count(arrived)} that arrived`;
  form.elements.label.value ||= label;
  await choice.recognise(kept);
  refresh();
}

// What is pressed

function pressed(item) {
  if (item.action === "Try again") {
    show(waiting(item));
    refresh();
    batch?.again?.(item);
    return;
  }
  const place = list.placeOf(item);
  choice.remove(item);
  refresh();
  if (!list.focus(place)) part("files").focus();
}

const presses = {
  clear: () => {
    choice.items = [];
    refresh();
    part("files").focus();
  },
  only: () => {
    onlyTrouble = !onlyTrouble;
    refresh();
  },
  pause: () => stop.abort(),
  "give-up": forget,
  forget,
  complete: () => {
    choice.items = [];
    batch = new BatchUpload(form.dataset.uploadsUrl, {
      label: form.elements.label.value,
      sorting: sorting(),
      events,
      kept,
    });
    start();
  },
  "send-rest": () => {
    choice.keepLeft();
    part("batch-note").hidden = true;
    setPhase("choosing");
  },
};
for (const [name, act] of Object.entries(presses)) part(name).addEventListener("click", act);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (phase === "choosing" || phase === "paused") start();
});
for (const name of ["files", "folder"])
  part(name).addEventListener("change", (event) => {
    add([...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    event.target.value = "";
  });
for (const input of form.querySelectorAll("[name=grouping]")) input.addEventListener("change", refresh);
dropArea(part("drop"), {
  open: () => phase === "choosing",
  take: add,
  reading: (number) => {
    part("reading").hidden = number === null;
    part("reading").textContent = `Reading the folder: ${count(number ?? 0)} so far`;
  },
});
window.addEventListener("beforeunload", (event) => {
  if (phase === "sending") event.preventDefault();
});
part("files").removeAttribute("required");
remember();
