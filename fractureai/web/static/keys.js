// Single keys as shortcuts, for those who want them: never while somebody types, and they can be switched off
// (WCAG 2.2, success criterion 2.1.4).

const NAME = "keys";
const dialog = document.querySelector("[data-help]");
const box = dialog?.querySelector("[data-keys-on]");

function wanted() {
  try {
    return localStorage.getItem(NAME) !== "off";
  } catch {
    return true;
  }
}

function remember() {
  try {
    localStorage.setItem(NAME, box.checked ? "on" : "off");
  } catch {
    // It holds for this page then.
  }
}

const types = (element) => element.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");

/** `acts`: key to function. "?" opens the help of the page. */
export function shortcuts(acts) {
  if (box) {
    box.checked = wanted();
    box.addEventListener("change", remember);
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-help-open]")) dialog.showModal();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (types(event.target) || document.querySelector("dialog[open]") || (box && !box.checked)) return;
    const act = event.key === "?" && dialog ? () => dialog.showModal() : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
