// The area where files and folders are dropped.

import { filesOf } from "./files.js";

/** `take(files)` gets what was dropped while `open()`; `reading(number)` is told how far a walk through folders is. */
export function dropArea(area, { open, take, reading }) {
  for (const name of ["dragenter", "dragover"])
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.toggle("over", open());
    });
  for (const name of ["dragleave", "drop"]) area.addEventListener(name, () => area.classList.remove("over"));
  area.addEventListener("drop", async (event) => {
    event.preventDefault();
    if (!open()) return;
    const files = await filesOf(event.dataTransfer, reading);
    reading(null);
    take(files);
  });
  // A file that misses the area must not make the browser leave the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
}
