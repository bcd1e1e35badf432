// One request with upload progress, which fetch does not tell, and the server's answer when it says no.

export class Refused extends Error {
  constructor(problem, status, retryAfter) {
    super(problem?.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.file = problem?.file;
    this.code = problem?.code;
    this.retryAfter = retryAfter;
  }

  /** The line, the gateway or the whole service is in trouble: whatever was sent, it will be the same for the next. */
  get forAll() {
    return [0, 429, 502, 503, 504, 507].includes(this.status);
  }

  /** Trying again may help. */
  get later() {
    return this.forAll || this.status >= 500;
  }
}

export const stopped = () => new DOMException("stopped", "AbortError");

export function request(method, url, { body, headers = {}, signal, watch = () => {} }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    xhr.open(method, url);
    xhr.responseType = "json";
    const token = document.querySelector('meta[name="csrf"]')?.content;
    if (token && method !== "GET") xhr.setRequestHeader("X-CSRF-Token", token);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.upload.addEventListener("progress", (event) => watch(event.loaded));
    xhr.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    xhr.addEventListener("load", () =>
      xhr.status < 300
        ? resolve(xhr.response)
        : reject(new Refused(xhr.response, xhr.status, Number(xhr.getResponseHeader("Retry-After")))),
    );
    xhr.addEventListener("error", () => reject(new Refused({ detail: "The connection was lost." }, 0)));
    xhr.addEventListener("abort", () => reject(stopped()));
    if (signal?.aborted) return reject(stopped());
    signal?.addEventListener("abort", stop);
    xhr.send(body);
  });
}

/** A pause that ends early when the upload is stopped (then it throws) or the line is back. */
export const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const end = (act) => {
      clearTimeout(timer);
      removeEventListener("online", back);
      signal.removeEventListener("abort", stop);
      act();
    };
    const back = () => end(resolve);
    const stop = () => end(() => reject(stopped()));
    const timer = setTimeout(back, seconds * 1000);
    addEventListener("online", back);
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  });
