// Waits for an agent's first call: asks for the page that says whether it came, and takes its word over.

import { keepTimes } from "./times.js";

const often = 2_000, seldom = 10_000, patience = 60 * 60_000;

export function awaitConnection() {
  const began = Date.now();
  const asked = document.querySelector("[data-connection]").dataset.connection;

  async function look() {
    if (!document.hidden) {
      try {
        const answer = await fetch(asked, { redirect: "error" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById("connection"), old = document.getElementById("connection");
        if (!answer.ok || !fresh) return; // the agent ended, or the session: nothing to wait for
        if (!("connection" in fresh.dataset)) {
          old.className = fresh.className;
          old.replaceChildren(...fresh.childNodes);
          keepTimes(old);
          return;
        }
      } catch {
        // Offline, or on the way to the sign-in. The next look may tell.
      }
    }
    const waited = Date.now() - began;
    if (waited < patience) setTimeout(look, waited < 5 * 60_000 ? often : seldom);
  }
  setTimeout(look, often);
}
