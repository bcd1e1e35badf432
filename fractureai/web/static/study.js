// Round a study: the way on through the list it was opened from, and a reader's name that need not be typed each time.

function trail() {
  const nav = document.querySelector("[data-trail]");
  let from = null;
  try {
    from = JSON.parse(sessionStorage.getItem("listed"));
  } catch {
    return;
  }
  const at = from?.listed.indexOf(location.pathname) ?? -1;
  if (at < 0 || !nav) return;
  document.querySelector("[data-list-link]").href = from.from;
  nav.querySelector("[data-place]").textContent = `${at + 1} of ${from.listed.length}`;
  for (const [name, place] of [["before", at - 1], ["after", at + 1]]) {
    const link = nav.querySelector(`[data-${name}]`);
    if (from.listed[place]) link.href = from.listed[place];
    else link.remove();
  }
  nav.hidden = false;
}

const NAME = "reader";

function reader(root) {
  const input = root.querySelector("[data-reader]");
  if (!input) return;
  try {
    input.value ||= localStorage.getItem(NAME) ?? "";
    input.form.addEventListener("submit", () => localStorage.setItem(NAME, input.value));
  } catch {
    // Then it is typed.
  }
}

trail();
reader(document);
document.addEventListener("live:swapped", (event) => reader(event.detail));
