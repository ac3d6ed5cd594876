// Clips to check: filters, decisions, and corrections.csv. It needs VOCABULARY and EARLIER of the page.
const cards = [...document.querySelectorAll("article[data-clip]")], filters = [...document.querySelectorAll("button[data-reason]")];
function show(reason) {
  for (const filter of filters) filter.setAttribute("aria-pressed", String(filter.dataset.reason === reason));
  const rank = card => JSON.parse(card.dataset.ranks)[reason] ?? Infinity;
  for (const card of cards) card.hidden = rank(card) === Infinity;
  document.querySelector(".cards").append(...[...cards].sort((a, b) => rank(a) - rank(b) || 0));
}
for (const filter of filters) filter.addEventListener("click", () => show(filter.dataset.reason));
if (filters.length) show(filters[0].dataset.reason);

const decisionOf = card => card.querySelector(".decision [aria-pressed=true]")?.dataset.decision;
const labelsOf = card => [...card.querySelectorAll(".choices input:checked")].map(input => input.value).join(";");
const isDecided = card => decisionOf(card) && (decisionOf(card) !== "relabel" || labelsOf(card));
const download = document.querySelector(".download");
let isSaved = true;

// Rows [clip, labels] as training.corrections reads them; a clip that is kept needs none.
function corrections() {
  const rows = new Map(EARLIER);
  for (const card of cards.filter(isDecided)) {
    if (decisionOf(card) === "drop") rows.set(card.dataset.clip, "drop");
    if (decisionOf(card) === "relabel") rows.set(card.dataset.clip, labelsOf(card));
  }
  return [...rows];
}

function changed() {
  const count = decision => cards.filter(card => decisionOf(card) === decision && isDecided(card)).length;
  const unlabelled = cards.filter(card => decisionOf(card) === "relabel" && !labelsOf(card)).length;
  isSaved = !cards.some(isDecided);
  download.disabled = !corrections().length || isSaved;
  document.querySelector("#decided").textContent = `${count("keep")} kept, ${count("relabel")} relabelled, ${count("drop")} dropped, of ${cards.length}${unlabelled ? `; ${unlabelled} to relabel need a label, or drop them` : ""}`;
}

function decide(card, decision) {
  for (const button of card.querySelectorAll(".decision button")) button.setAttribute("aria-pressed", String(button.dataset.decision === decision && button.getAttribute("aria-pressed") !== "true"));
  card.querySelector(".choices").hidden = decisionOf(card) !== "relabel";
  changed();
}

for (const card of cards.filter(card => card.querySelector(".decision"))) {
  for (const button of card.querySelectorAll(".decision button")) button.addEventListener("click", () => decide(card, button.dataset.decision));
  const choices = card.querySelector(".choices"), select = choices.querySelector("select");
  choices.addEventListener("change", changed);
  for (const [label, name] of VOCABULARY) if (![...choices.querySelectorAll("input")].some(input => input.value === label)) select.add(new Option(name, label));
  select.addEventListener("change", () => {
    const option = select.selectedOptions[0], line = choices.querySelector("label").cloneNode(true), input = line.querySelector("input");
    line.replaceChildren(input, ` ${option.text}`);
    input.value = option.value;
    select.before(line);
    input.checked = true;
    option.remove();
    select.value = "";
    changed();
  });
  card.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
    const key = event.key.toLowerCase(), player = card.querySelector("audio");
    const decision = [...card.querySelectorAll(".decision button")].map(button => button.dataset.decision).find(name => name[0] === key);
    if (key === "p" && player) player.paused ? player.play() : player.pause();
    if (decision) decide(card, decision);
    if (decisionOf(card) === "relabel" && decision) choices.querySelector("input").focus();
    else if (decision && decisionOf(card)) {
      const shown = [...document.querySelectorAll("article[data-clip]:not([hidden])")];
      shown.slice(shown.indexOf(card) + 1).find(other => !isDecided(other))?.focus();
    }
  });
}
download.addEventListener("click", () => {
  downloadCsv("corrections.csv", [["clip", "labels"], ...corrections()]);
  isSaved = true;
});
addEventListener("beforeunload", event => { if (!isSaved) event.preventDefault(); });
changed();
