// An embed that the visitor wants to see now: nothing is stored, and the next page asks again.
const embedded = (form) => {
  const embed = form.closest(".gem-embed");
  return embed && embed.querySelector("iframe");
};
const once = (button) => {
  const frame = button.closest(".gem-embed").querySelector("iframe");
  frame.src = frame.dataset.src;
  frame.focus();
};
