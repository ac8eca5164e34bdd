// The preferences page in place: its own document in a modal dialog, with its own styles, out of reach of the site's.
/** @type {HTMLDialogElement} */
let dialog = /** @type {any} */ (null);

/** @param {HTMLAnchorElement} [from] */
const open = async (from) => {
  const address = new URL(from ? from.href : path, location.href);
  if (!address.searchParams.has("lang")) address.searchParams.set("lang", document.documentElement.lang);
  address.searchParams.set("return", location.pathname + location.search);
  const response = await fetch(address);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const main = /** @type {HTMLElement} */ (page.querySelector("main"));
  const sheets = await Promise.all([...page.querySelectorAll("link[rel=stylesheet]")].map(async (link) => {
    const sheet = new CSSStyleSheet();
    await sheet.replace(await (await fetch(new URL(/** @type {string} */ (link.getAttribute("href")), address))).text());
    return sheet;
  }));
  if (dialog) dialog.remove();
  dialog = document.createElement("dialog");
  dialog.id = "gem-preferences";
  dialog.lang = page.documentElement.lang;
  dialog.dir = page.documentElement.dir || "ltr";
  const title = /** @type {HTMLElement} */ (main.querySelector("h1"));
  dialog.ariaLabel = title.textContent;
  const shadow = dialog.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = sheets;
  const way = /** @type {HTMLElement} */ (main.querySelector("a"));
  const close = Object.assign(document.createElement("button"), { type: "button", className: "gem-close", textContent: way.textContent });
  close.addEventListener("click", () => dialog.close());
  way.replaceWith(close);
  // the page has a main part already
  const part = shadow.appendChild(document.createElement("div"));
  part.className = "gem-main";
  part.append(...main.childNodes);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  shadow.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target), button = /** @type {ChoiceEvent} */ (event).submitter;
    if (!button || !form.matches("form[data-gem]")) return;
    event.preventDefault();
    const sent = send(form, button);
    // another choice is under way: this one can be pressed again after it
    if (!sent) return;
    dialog.close();
    sent.then((isTaken) => {
      if (isTaken) return;
      dialog.showModal();
      button.focus();
    });
  });
  document.body.append(dialog);
  dialog.showModal();
  title.tabIndex = -1;
  title.focus();
};
