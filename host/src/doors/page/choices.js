// The two choices of taste, colours and language, and their buttons.
// first.js applies what was chosen before the first paint.

import { local } from "./storage.js";
import { onLanguage, switchLanguage, text } from "./texts.js";

const LOOKS = ["auto", "light", "dark"];
const isDark = matchMedia("(prefers-color-scheme: dark)");

const chosenLook = () => local.get("parlor.look") ?? "auto";

function choose(look) {
  if (look === "auto") local.remove("parlor.look");
  else local.set("parlor.look", look);
  document.documentElement.dataset.look = look === "auto" ? (isDark.matches ? "dark" : "light") : look;
}

export function offerChoices(lookButton, languageButton) {
  const show = () => {
    const look = chosenLook();
    lookButton.dataset.look = look;
    lookButton.setAttribute("aria-label", text("look", text(look)));
    lookButton.title = text("look", text(look));
    lookButton.querySelector("span").textContent = text(look);
    languageButton.setAttribute("aria-label", text("languageLabel"));
  };
  lookButton.addEventListener("click", () => {
    choose(LOOKS[(LOOKS.indexOf(chosenLook()) + 1) % LOOKS.length]);
    show();
  });
  languageButton.addEventListener("click", switchLanguage);
  onLanguage(show);
  show();
}
