// The map of clips: a label's button shows it alone, the mouse and arrow keys name clips.
for (const map of document.querySelectorAll(".clip-map")) {
  const svg = map.querySelector(".map"), name = map.querySelector("output");
  const points = [...svg.querySelectorAll("path")], buttons = [...map.querySelectorAll("button")];
  let current = -1;
  const show = index => {
    if (points[current]) points[current].classList.remove("current");
    current = index;
    points[current].classList.add("current");
    name.textContent = points[current].textContent;
  };
  points.forEach((point, index) => point.addEventListener("mouseenter", () => show(index)));
  svg.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const shown = points.filter(point => !point.parentNode.classList.contains("unchosen"));
    const at = shown.indexOf(points[current]), next = at < 0 ? (step > 0 ? 0 : -1) : (at + step) % shown.length;
    show(points.indexOf(shown.at(next)));
  });
  for (const button of buttons) button.addEventListener("click", () => {
    const chosen = button.getAttribute("aria-pressed") === "false" ? button.dataset.group : null;
    for (const each of buttons) each.setAttribute("aria-pressed", each.dataset.group === chosen);
    for (const group of svg.querySelectorAll("g")) group.classList.toggle("unchosen", chosen !== null && group.dataset.group !== chosen);
  });
}
