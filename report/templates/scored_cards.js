// Cards of clips: a label's saliency map lies over the picture; one player plays at a time.
for (const button of document.querySelectorAll("button[data-saliency]")) button.addEventListener("click", () => {
  const card = button.closest("article"), on = button.getAttribute("aria-pressed") !== "true";
  for (const other of card.querySelectorAll("button[data-saliency]")) other.setAttribute("aria-pressed", String(on && other === button));
  card.querySelector(".saliency")?.remove();
  const picture = card.querySelector(".picture");
  if (on) picture.append(Object.assign(new Image(), { className: "saliency", style: picture.querySelector("img").style.cssText, src: button.dataset.saliency, alt: `Saliency map of ${button.title}` }));
});
document.addEventListener("play", event => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);
