// Copy buttons, with feedback that is seen and spoken.

export function enableCopying() {
  const spoken = document.getElementById("spoken");
  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const word = button.querySelector("span");
    button.addEventListener("click", async () => {
      let said;
      try {
        await navigator.clipboard.writeText(source.textContent);
        word.textContent = "Copied";
        said = "Copied to the clipboard";
      } catch {
        // Over plain HTTP away from loopback there is no clipboard to write to; the older way may still do.
        getSelection().selectAllChildren(source);
        if (document.execCommand("copy")) {
          word.textContent = "Copied";
          said = "Copied to the clipboard";
        } else {
          word.textContent = "Press Ctrl C";
          said = "Copying is not allowed here. The text is selected: copy it with the keyboard.";
        }
      }
      spoken.textContent = "";
      requestAnimationFrame(() => (spoken.textContent = said));
      setTimeout(() => (word.textContent = "Copy"), 2500);
    });
  }
}
