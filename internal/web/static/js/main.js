// Everything works without scripts; these make it quicker. Each module is fetched only where it is needed.

import { keepTimes } from "./times.js";
import { closeMenus } from "./menus.js";

keepTimes();
closeMenus();

if (document.querySelector("[data-copy]")) import("./copy.js").then((m) => m.enableCopying());
if (document.querySelector("[data-picklist]")) import("./picklist.js").then((m) => m.enablePicklists(document));
if (document.querySelector("[data-connection]")) import("./connection.js").then((m) => m.awaitConnection());
if (document.querySelector("[data-preview]")) import("./preview.js").then((m) => m.enablePreview());

// A page that shows a secret once leaves no way back to itself: reloading shows the token without its value.
const once = document.querySelector("[data-replace]");
if (once) history.replaceState(null, "", once.dataset.replace);

// The same form sent twice in one breath is one intention; the server would tell by the nonce, the person should not wait.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  else {
    event.target.dataset.sent = "yes";
    setTimeout(() => delete event.target.dataset.sent, 4000);
  }
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
