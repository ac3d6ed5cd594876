// Judging clips by keys or buttons. Verdicts are kept in localStorage, in the order in which they were given; those of an earlier verdicts.csv (EARLIER) come first.
const keyOf = (clip, label) => JSON.stringify([clip, label]), known = new Set(KNOWN.map(pair => keyOf(...pair)));
const earlier = new Map(EARLIER.map(([clip, label, verdict, other]) => [keyOf(clip, label), { clip, label, verdict, other }]));
const find = selector => document.querySelector(selector), player = find("audio"), form = find("form"), filter = find("#filter");
let memory = [], isStored = true, isSaved = true, at = 0;

// Another tab may have judged meanwhile, also clips that are not of this page: what is stored is read again each time, and all of it stays.
function stored() {
  let log = memory;
  try { log = JSON.parse(localStorage.getItem(STORAGE)) ?? memory; } catch { isStored = false; }
  return Array.isArray(log) ? log : [];
}
// A verdict that is older than the file gives way to it.
const counts = each => each && known.has(keyOf(each.clip, each.label)) && !(earlier.has(keyOf(each.clip, each.label)) && each.at <= EARLIER_AT);
const given = () => stored().filter(counts);
function keep(log) {
  [memory, isSaved] = [log, false];
  try { localStorage.setItem(STORAGE, JSON.stringify(log)); } catch { isStored = false; }
}
const verdicts = () => new Map([...earlier, ...given().map(each => [keyOf(each.clip, each.label), each])]);

const shown = () => ITEMS.filter(item => !filter.value || item.label === filter.value);
const current = () => shown()[at];
function show(doPlay = false) {
  const items = shown(), all = verdicts(), has = item => all.get(keyOf(item.clip, item.label));
  at = Math.min(Math.max(at, 0), Math.max(items.length - 1, 0));
  const item = items[at], n = items.filter(has).length;
  find("#item").hidden = !item;
  find("progress").max = items.length || 1;
  find("progress").value = n;
  find("#progress").textContent = n && n === items.length ? `All ${n} clips are judged: download verdicts.csv.` : `${n} of ${items.length} clips are judged.`;
  find("#undo").disabled = !given().length;
  find("#download").disabled = !all.size;
  if (!isStored) find("#kept").textContent = "This browser keeps nothing: download before you close the page.";
  if (!item) return;
  const verdict = has(item);
  form.hidden = true;
  find("#question").textContent = `Is this ${item.name}?`;
  find("#about").textContent = `Clip ${at + 1} of ${items.length}${item.score ? ` · score ${item.score}` : ""}${verdict ? ` · you said ${verdict.other || verdict.verdict}` : ""}`;
  find("#item img").src = item.picture;
  find("#item img").alt = `Spectrogram of clip ${at + 1}`;
  if (player.getAttribute("src") !== item.audio) player.src = item.audio;
  for (const button of document.querySelectorAll("[data-verdict]")) button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict?.verdict));
  if (doPlay) {
    find("#question").focus({ preventScroll: true });
    player.play().catch(() => {});
  }
}
function move(step) {
  at += step;
  show(true);
}
function judge(verdict, other = "") {
  const { clip, label } = current();
  keep([...stored(), { clip, label, verdict, other, at: Date.now() }]);
  const items = shown(), all = verdicts(), isOpen = item => !all.has(keyOf(item.clip, item.label));
  const next = items.findIndex((item, k) => k > at && isOpen(item)), first = items.findIndex(isOpen);
  at = next >= 0 ? next : first >= 0 ? first : at;
  show(true);
}
function undo() {
  const log = stored(), k = log.findLastIndex(counts);
  if (k < 0) return;
  const [last] = log.splice(k, 1);
  keep(log);
  const place = () => shown().findIndex(item => item.clip === last.clip && item.label === last.label);
  if (place() < 0) filter.value = "";
  at = Math.max(place(), 0);
  show(true);
}
function ask() {
  form.hidden = false;
  form.elements.other.value = "";
  form.elements.other.focus();
}
function press(verdict) {
  if (current()) verdict === "other" ? ask() : judge(verdict);
}

for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => press(button.dataset.verdict));
form.addEventListener("submit", event => {
  event.preventDefault();
  const typed = form.elements.other.value.trim(), problem = form.querySelector("[role=alert]");
  const options = [...find("#vocabulary").options], named = options.filter(option => option.text === typed);
  const other = named.length === 1 && !options.some(option => option.value === typed) ? named[0].value : typed;  // the label of that name
  problem.textContent = other.includes(";") ? "A label holds no ; sign." : "";
  if (problem.textContent || !other) return;
  other === current().label ? judge("yes") : judge("other", other);
});
form.addEventListener("keydown", event => { if (event.key === "Escape") { form.hidden = true; find("#question").focus(); } });
for (const [name, action] of Object.entries({ previous: () => move(-1), next: () => move(1), undo, play: () => player.paused ? player.play() : player.pause() })) find(`#${name}`).addEventListener("click", action);
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, audio")) return;
  const name = { y: "[data-verdict=yes]", n: "[data-verdict=no]", o: "[data-verdict=other]", u: "#undo", p: "#play", arrowright: "#next", arrowleft: "#previous" }[event.key.toLowerCase()];
  if (!name || find("#item").hidden) return;
  event.preventDefault();
  find(name).click();
});
find("#download").addEventListener("click", () => {
  const rows = [...verdicts().values()].map(({ clip, label, verdict, other }) => [clip, label, verdict, other ?? ""]);
  downloadCsv("verdicts.csv", [["clip", "label", "verdict", "other"], ...rows]);
  isSaved = true;
});
addEventListener("beforeunload", event => { if (!isStored && !isSaved) event.preventDefault(); });
addEventListener("storage", () => show());
for (const label of new Set(ITEMS.map(item => item.label))) filter.add(new Option(ITEMS.find(item => item.label === label).name, label));
filter.addEventListener("change", () => { at = 0; show(); });
at = Math.max(ITEMS.findIndex(item => !verdicts().has(keyOf(item.clip, item.label))), 0);
show();
