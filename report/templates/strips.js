// Strips: a label's scores over a recording's windows. A click plays from there; the arrow keys choose a window or another label, and Enter plays.
function placeIn(element, event) {
  const box = element.getBoundingClientRect();
  return (event.clientX - box.left) / box.width;
}

/* Windows overlap: each is drawn from halfway to the one before to halfway to the next, as far as it reaches. A score may be null: unknown. */
function stripOf(name, windows, scores, seconds, play) {
  const strip = document.createElement("div"), canvas = Object.assign(document.createElement("canvas"), { width: 1000, height: 1 });
  const n = scores.length, duration = seconds || 1, middle = k => (windows.start_s[k] + windows.end_s[k]) / 2, halfway = k => (middle(k - 1) + middle(k)) / 2;
  const spans = scores.map((_, k) => [
    k ? Math.max(windows.start_s[k], Math.min(halfway(k), windows.end_s[k - 1])) : windows.start_s[k],
    k < n - 1 ? Math.min(windows.end_s[k], Math.max(halfway(k + 1), windows.start_s[k + 1])) : windows.end_s[k],
  ]);
  const say = k => `${windows.start_s[k].toFixed(1)} to ${windows.end_s[k].toFixed(1)} s: ${scores[k]?.toFixed(3) ?? "score not kept"}`;
  const paint = canvas.getContext("2d");
  paint.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  scores.forEach((score, k) => {
    const [from, to] = spans[k];
    paint.globalAlpha = score ?? 0;
    paint.fillRect(1000 * from / duration, 0, 1000 * (to - from) / duration, 1);
  });
  let chosen = Math.max(0, scores.indexOf(Math.max(...scores)));
  const choose = k => {
    chosen = Math.min(Math.max(k, 0), n - 1);
    strip.setAttribute("aria-valuenow", windows.start_s[chosen].toFixed(1));
    strip.setAttribute("aria-valuetext", say(chosen));
    strip.style.setProperty("--chosen", middle(chosen) / duration);
  };
  strip.className = "strip";
  const attributes = { role: "slider", tabindex: -1, "aria-label": `${name} over time, in seconds`, "aria-valuemin": 0, "aria-valuemax": duration.toFixed(1) };
  for (const key in attributes) strip.setAttribute(key, attributes[key]);
  if (n) choose(chosen);
  strip.addEventListener("mousemove", event => {
    const second = placeIn(strip, event) * duration, k = spans.findIndex(([from, to]) => from <= second && second <= to);
    strip.title = k < 0 ? "no window here" : say(k);
  });
  strip.addEventListener("click", event => play(placeIn(strip, event) * duration));
  strip.addEventListener("keydown", event => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -n, End: n }, rows = { ArrowUp: -1, ArrowDown: 1 };
    if (event.key in steps && n) choose(chosen + steps[event.key]);
    else if (event.key in rows) {
      const strips = [...strip.closest("article").querySelectorAll(".strip")], next = strips[strips.indexOf(strip) + rows[event.key]];
      if (next) { next.tabIndex = 0; next.focus(); strip.tabIndex = -1; }
    } else if ((event.key === "Enter" || event.key === " ") && n) play(windows.start_s[chosen]);
    else return;
    event.preventDefault();
  });
  strip.append(canvas);
  return strip;
}

/* The strips of a card show where its player is. */
function followPlayer(card, player, duration, tell = () => {}) {
  const move = () => {
    card.style.setProperty("--played", player.currentTime / duration);
    tell(player.currentTime);
    if (!player.paused) requestAnimationFrame(move);
  };
  for (const kind of ["play", "seeked", "timeupdate"]) player.addEventListener(kind, move);
}
