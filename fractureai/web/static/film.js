// One image on the light box: zoom and pan by wheel, pinch, drag, keys and buttons. The image is never changed, only
// how it lies in its room.

const STEP = 1.25;
const MOST = 8;

export class Film {
  #pointers = new Map();
  #pinch = null;

  /** `drag(film, dx, dy)` may take a drag for itself and say so by returning true. */
  constructor(room, drag) {
    this.room = room;
    this.film = room.querySelector("[data-film]");
    this.buttons = room.parentElement.querySelector("[data-film-buttons]");
    this.drag = drag;
    this.natural = { width: Number(this.film.dataset.width), height: Number(this.film.dataset.height) };
    this.zoom = 1;
    this.left = this.top = 0;
    room.style.setProperty("--shape", `${this.natural.width} / ${this.natural.height}`);
    room.classList.add("live");
    this.buttons.hidden = false;
    new ResizeObserver(() => this.#lay()).observe(room);
    this.#listen();
    this.#lay();
  }

  reset() {
    this.zoom = 1;
    this.#lay();
  }

  /** Enlarge round a point of the room, in px; round the middle if none is given. */
  zoomBy(factor, x = this.room.clientWidth / 2, y = this.room.clientHeight / 2) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), this.most);
    this.left = x - ((x - this.left) * zoom) / this.zoom;
    this.top = y - ((y - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
    this.#lay();
  }

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  moveBy(x, y) {
    this.left += x;
    this.top += y;
    this.#lay();
  }

  /** A large picture may be enlarged until each of its pixels covers four of the screen's. */
  get most() {
    return Math.max(MOST, 4 / this.fit);
  }

  /** Put the film where it belongs: whole in the middle, or covering the room when enlarged. */
  #lay() {
    const { clientWidth: width, clientHeight: height } = this.room;
    if (!width || !this.natural.width) return;
    this.fit = Math.min(width / this.natural.width, height / this.natural.height);
    const base = { width: this.natural.width * this.fit, height: this.natural.height * this.fit };
    this.left = inside(this.left, base.width * this.zoom, width);
    this.top = inside(this.top, base.height * this.zoom, height);
    Object.assign(this.film.style, { width: `${base.width}px`, height: `${base.height}px` });
    this.film.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.zoom})`;
    this.film.style.setProperty("--zoom", this.zoom);
    this.room.classList.toggle("zoomed", this.zoom > 1);
    this.buttons.querySelector("[data-zoom]").value = `${Math.round(100 * this.zoom)} %`;
  }

  #listen() {
    const { room } = this;
    const acts = { "zoom-in": () => this.zoomIn(), "zoom-out": () => this.zoomOut(), "zoom-fit": () => this.reset() };
    for (const [name, act] of Object.entries(acts)) this.buttons.querySelector(`[data-${name}]`).addEventListener("click", act);
    room.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    room.addEventListener("dblclick", (event) => {
      if (this.zoom > 1) this.reset();
      else this.zoomBy(2.5, ...this.#place(event));
    });
    room.addEventListener("keydown", (event) => this.#key(event));
    room.addEventListener("pointerdown", (event) => this.#down(event));
    room.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
      room.addEventListener(name, (event) => {
        this.#pointers.delete(event.pointerId);
        this.#pinch = null;
      });
  }

  /** The wheel belongs to the page until somebody has turned to the image, or holds Ctrl (which a pinch pad sends). */
  #wheel(event) {
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015) * (event.ctrlKey ? 4 : 1));
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === this.room;
    if (!wanted || (factor < 1 && this.zoom === 1)) return;
    event.preventDefault();
    this.zoomBy(factor, ...this.#place(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 160 : 40;
    const moves = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
    const move = this.zoom > 1 && moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.moveBy(...move);
  }

  #down(event) {
    if (event.button !== 0) return;
    this.room.focus({ preventScroll: true });
    this.#pointers.set(event.pointerId, event);
    // One finger on a whole image scrolls the page; anything else is ours.
    if (event.pointerType === "mouse") event.preventDefault();
    this.room.setPointerCapture(event.pointerId);
    this.#pinch = this.#spread();
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#pinch) {
      const now = this.#spread();
      this.zoomBy(now.distance / this.#pinch.distance, now.x, now.y);
      this.moveBy(now.x - this.#pinch.x, now.y - this.#pinch.y);
      this.#pinch = now;
      return;
    }
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (!this.drag(this, x, y)) this.moveBy(x, y);
  }

  /** How far two fingers are apart, and the place between them; null for one. */
  #spread() {
    if (this.#pointers.size !== 2) return null;
    const [[x1, y1], [x2, y2]] = [...this.#pointers.values()].map((event) => this.#place(event));
    return { distance: Math.hypot(x2 - x1, y2 - y1) || 1, x: (x1 + x2) / 2, y: (y1 + y2) / 2 };
  }

  #place(event) {
    const box = this.room.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

const inside = (start, size, room) =>
  size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, start));
