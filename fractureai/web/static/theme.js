// Runs before the page is drawn, so that a chosen theme does not flash. Not a module for that reason alone.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's choice holds.
  }
})();
