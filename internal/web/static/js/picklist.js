// Lists to choose from: search as you type, and how many are chosen.

export function enablePicklists(root) {
  for (const list of root.querySelectorAll("[data-picklist]")) {
    const items = [...list.querySelectorAll("li")];
    const count = list.querySelector("[data-count]");
    const search = list.querySelector("input[type=search]");
    const tell = () => {
      const chosen = items.filter((item) => item.querySelector("input").checked).length;
      const shown = items.filter((item) => !item.hidden).length;
      const found = shown < items.length ? `, ${shown} found` : "";
      count.textContent = `${chosen} ${chosen === 1 ? "project" : "projects"} chosen${found}`;
    };
    search?.addEventListener("input", () => {
      const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      for (const item of items) item.hidden = !words.every((word) => item.dataset.text.includes(word));
      tell();
    });
    search?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault(); // searching is not sending
    });
    list.addEventListener("change", (event) => {
      if (event.target.type !== "checkbox") return;
      const chosen = list.closest("form").querySelector("input[name=reach][value=chosen]");
      if (event.target.checked && chosen && !chosen.checked) {
        chosen.checked = true;
        chosen.dispatchEvent(new Event("change", { bubbles: true }));
      }
      tell();
    });
  }
}
