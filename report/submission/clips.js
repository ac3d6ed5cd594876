// Cards of clips: strips that play, and which cards and rows are shown.
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
