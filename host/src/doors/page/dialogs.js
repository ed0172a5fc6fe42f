// The dialogs: rename or delete a conversation, delete all, enter a token. Each is asked once and answers by what
// the person chose, or null.

import { text } from "./texts.js";

/** Opens a dialog; what its form was submitted with, or null where it was left. */
function ask(dialog) {
  const form = dialog.querySelector("form");
  return new Promise((resolve) => {
    let chosen = null;
    form.onsubmit = (event) => {
      event.preventDefault();
      chosen = event.submitter?.value ?? "ok";
      dialog.close();
    };
    for (const leave of dialog.querySelectorAll(".leave")) leave.onclick = () => dialog.close();
    dialog.addEventListener("close", function onClose() {
      // The event comes after the fact: by then the dialog may have been opened anew, by another question.
      if (dialog.open) return;
      dialog.removeEventListener("close", onClose);
      resolve(chosen);
    });
    if (!dialog.open) dialog.showModal();
  });
}

/** {name} to rename, {isRemoved: true} to delete. */
export async function askForName(dialog, title) {
  const name = dialog.querySelector("input");
  name.value = title;
  const asked = ask(dialog);
  name.select();
  const chosen = await asked;
  if (chosen === "remove") return { isRemoved: true };
  return chosen ? { name: name.value.trim() } : null;
}

export async function askWhetherSure(dialog) {
  return Boolean(await ask(dialog));
}

/** {token, isRemembered}. `reason` says why one is needed: missing, refused, unscoped. */
export async function askForToken(dialog, reason) {
  const token = dialog.querySelector("#token");
  const why = dialog.querySelector(".reason");
  const reasons = { refused: "doorRefused", unscoped: "doorUnscoped" };
  why.hidden = !reasons[reason];
  why.textContent = reasons[reason] ? text(reasons[reason]) : "";
  token.value = "";
  const chosen = await ask(dialog);
  const typed = token.value.trim();
  token.value = "";
  return chosen && typed ? { token: typed, isRemembered: dialog.querySelector("#remember").checked } : null;
}
