// Says while the form is filled in what the token will be able to do. It asks the server for the very page that the
// "Preview" button would show, and takes over the parts that changed.

import { enablePicklists } from "./picklist.js";
import { keepTimes } from "./times.js";

export function enablePreview() {
  const form = document.querySelector("form[data-preview]");
  let asked = 0, timer;

  async function ask(parts) {
    const turn = ++asked;
    let page;
    try {
      const answer = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return; // offline: the button still works, and says so
    }
    if (turn !== asked) return; // an answer that a later question overtook
    for (const id of parts) {
      const fresh = page.getElementById(id), old = document.getElementById(id);
      if (!fresh || !old) continue;
      old.replaceChildren(...fresh.childNodes);
      keepTimes(old);
      enablePicklists(old);
    }
    const shown = page.querySelector("[name=organization_shown]");
    if (shown) form.elements.organization_shown.value = shown.value;
  }

  form.addEventListener("change", (event) => {
    clearTimeout(timer);
    if (event.target.name === "organization") ask(["scopes", "projects", "expiry", "summary"]);
    else timer = setTimeout(() => ask(["summary"]), 150);
    tellExpiry();
  });

  // Presets fill the form in where it stands. They are links to the same, for those without scripts.
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-preset]");
    if (!link) return;
    event.preventDefault();
    const preset = new URLSearchParams(link.dataset.preset);
    if (!form.elements.name.value) form.elements.name.value = preset.get("name") ?? "";
    const scopes = preset.get("scopes").split(",");
    for (const radio of form.querySelectorAll("input[type=radio][name^='scope.'][value=none]")) radio.checked = true;
    for (const scope of scopes) {
      const [resource, level] = scope.split(":");
      const radio = form.querySelector(`input[name="scope.${resource}"][value="${level}"]:not(:disabled)`);
      if (radio) radio.checked = true;
    }
    const expiry = form.querySelector(`input[name=expiry][value="${preset.get("expires_in_days")}"]`);
    if (expiry) expiry.checked = true;
    document.getElementById("spoken").textContent = `Filled in for: ${link.textContent}. Nothing is granted yet.`;
    tellExpiry();
    ask(["summary"]);
  });

  // The date field and the warning stand in the page from the start, so that nothing moves; they are dimmed until chosen.
  function tellExpiry() {
    const chosen = form.querySelector("input[name=expiry]:checked")?.value;
    for (const warning of form.querySelectorAll("[data-no-expiry]")) warning.hidden = chosen !== "none";
  }
  form.addEventListener("input", (event) => {
    if (event.target.name !== "expires_at") return;
    const choice = form.querySelector("input[name=expiry][value=custom]");
    if (event.target.value && choice && !choice.checked) {
      choice.checked = true;
      tellExpiry();
    }
  });
}
