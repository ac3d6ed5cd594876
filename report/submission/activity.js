// Detections by hour and date, of all labels or one. It needs ACTIVITY of the page.
{
  const { dates, labels, counts, has_windows } = ACTIVITY, hours = [...Array(24).keys()], section = document.querySelector("#activity");
  const select = section.querySelector("select"), add = (row, name, text, attributes = {}) => {
    const cell = row.appendChild(Object.assign(document.createElement(name), { textContent: text }));
    for (const key in attributes) cell.setAttribute(key, attributes[key]);
    return cell;
  };
  const sum = numbers => numbers.reduce((a, b) => a + b, 0);
  const bars = (by, names, values) => {
    const most = Math.max(1, ...values);
    section.querySelector(`[data-by=${by}]`).replaceChildren(...values.map((value, k) => {
      const bar = Object.assign(document.createElement("div"), { title: `${names[k]}: ${value}` });
      bar.appendChild(document.createElement("i")).style.height = `${100 * value / most}%`;
      return bar;
    }));
  };
  const draw = () => {
    const grid = counts[select.selectedIndex], most = Math.max(1, ...grid.flat()), byHour = hours.map(hour => sum(grid.map(row => row[hour])));
    const table = section.querySelector("table"), all = sum(byHour);
    bars("hour", hours.map(hour => `${hour} h`), byHour);
    bars("date", dates, grid.map(sum));
    table.replaceChildren();
    const head = table.createTHead().insertRow(), body = table.createTBody();
    add(head, "td", "");
    for (const hour of [...hours, "all"]) add(head, "th", hour, { scope: "col" });
    dates.forEach((date, k) => {
      const row = body.insertRow();
      add(row, "th", date, { scope: "row" });
      for (const hour of hours) add(row, "td", has_windows[k][hour] ? grid[k][hour] : "", { class: has_windows[k][hour] ? "" : "unrecorded", style: `--share:${grid[k][hour] / most}` });
      add(row, "td", sum(grid[k]));
    });
    const last = body.insertRow();
    add(last, "th", "all", { scope: "row" });
    for (const count of [...byHour, all]) add(last, "td", count);
    section.querySelector("[role=status]").textContent = `${all} detections`;
  };
  for (const label of labels) select.add(new Option(label));
  select.addEventListener("change", draw);
  draw();
}
