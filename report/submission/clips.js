// Cards of clips: saliency maps, strips that play, and which cards and rows are shown.
for (const button of document.querySelectorAll("button[data-saliency]")) button.addEventListener("click", () => {
  const card = button.closest("article"), on = button.getAttribute("aria-pressed") !== "true";
  for (const other of card.querySelectorAll("button[data-saliency]")) other.setAttribute("aria-pressed", String(on && other === button));
  card.querySelector(".saliency")?.remove();
  if (on) card.querySelector(".picture").append(Object.assign(new Image(), { className: "saliency", src: button.dataset.saliency, alt: `Saliency map of ${button.title}` }));
});

const cards = [...document.querySelectorAll("article")], rows = [...document.querySelectorAll(".box tbody tr")];
for (const card of cards.filter(card => card.dataset.windows)) {
  const windows = JSON.parse(card.dataset.windows), duration = Number(card.dataset.duration), player = card.querySelector("audio"), note = card.querySelector(".note");
  const play = second => {
    const silent = !player ? "This page has no sound of it." : second >= AUDIO_S ? `This page has the first ${AUDIO_S} seconds of sound.` : "";
    note.textContent = silent;
    if (silent) return;
    player.currentTime = Math.max(0, second);
    player.play().catch(() => { note.textContent = "This browser cannot play it."; });
  };
  for (const row of card.querySelectorAll("[data-strip]")) row.append(stripOf(row.querySelector(".name").title, windows, JSON.parse(row.dataset.strip), duration, play));
  card.querySelector(".strip").tabIndex = 0;
  if (player) followPlayer(card, player, duration);
}
document.addEventListener("play", event => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);

const search = document.querySelector("input[type=search]"), buttons = [...document.querySelectorAll(".filters button")];
const wordsOf = card => [...card.querySelectorAll("h3, .decided .name, .right .name, .wrong .name")].map(each => each.textContent).join(" ");
const texts = new Map([...rows.map(row => [row, row.textContent]), ...cards.map(card => [card, wordsOf(card)])].map(([element, text]) => [element, text.toLowerCase()]));
function showFound() {
  const words = search.value.toLowerCase().split(/\s+/), reason = buttons.find(button => button.getAttribute("aria-pressed") === "true").dataset.reason;
  for (const [element, text] of texts) {
    const isOfReason = !element.dataset.reasons || !reason || element.dataset.reasons.split(" ").includes(reason);
    element.hidden = !(isOfReason && words.every(word => text.includes(word)));
  }
  const clips = [...document.querySelector(".all-clips").tBodies[0].rows];
  document.querySelector("#found").textContent = search.value.trim() && `${clips.filter(row => !row.hidden).length} of ${clips.length} clips`;
}
search.addEventListener("input", showFound);
for (const button of buttons) button.addEventListener("click", () => {
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  showFound();
});
for (const link of document.querySelectorAll("a[href^='#clip-']")) link.addEventListener("click", () => {
  const card = document.querySelector(link.hash);
  card.hidden = false;
  card.focus();
});
