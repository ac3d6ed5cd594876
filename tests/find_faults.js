/* What of the open page a person cannot see, read or call by name; arguments[0] is the least contrast of text. */
const faults = new Set(), pageWidth = document.documentElement.clientWidth;
const lineage = element => element ? [...lineage(element.parentElement), element] : [];
const name = element => `${element.tagName.toLowerCase()}.${element.getAttribute("class") || ""} ${element.textContent.trim().slice(0, 40)}`;

function rgba(text) {
  const [r, g, b, a = 1] = text.match(/[\d.e-]+/g).map(Number), unit = text.startsWith("color(") ? 255 : 1;
  return [r * unit, g * unit, b * unit, a];
}

function blend(top, below) {
  return below.map((value, k) => top[3] * top[k] + (1 - top[3]) * value);
}

/* Relative luminance, of WCAG 2.2. */
function luminance(rgb) {
  const linear = rgb.map(value => value / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2];
}

function contrastOf(element, style) {
  const parents = lineage(element);
  const below = parents.reduce((under, each) => blend(rgba(getComputedStyle(each).backgroundColor), under), [255, 255, 255]);
  const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
  ink[3] *= parents.reduce((product, each) => product * getComputedStyle(each).opacity, 1);
  const [dark, bright] = [luminance(below), luminance(blend(ink, below))].sort((a, b) => a - b);
  return (bright + .05) / (dark + .05);
}

for (const each of document.querySelectorAll("details")) each.open = true;
if (document.documentElement.scrollWidth > pageWidth) faults.add("the page scrolls sideways");
for (const element of document.body.querySelectorAll("*")) {
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || !box.width || !box.height) continue;
  if (element.matches("option, :disabled, :disabled *")) continue;
  if ([...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())) {
    const ratio = contrastOf(element, style);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : arguments[0])) faults.add(`contrast ${ratio.toFixed(2)}: ${name(element)}`);
    if (style.overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1) faults.add(`cut off: ${name(element)}`);
  }
  const holders = lineage(element.parentElement).filter(each => each.getBoundingClientRect().right <= pageWidth + 1);
  const scrolls = holders.some(each => ["auto", "scroll"].includes(getComputedStyle(each).overflowX));
  if (box.right > pageWidth + 1 && !scrolls) faults.add(`out of sight: ${name(element)}`);
  const names = [element.ariaLabel, element.textContent, element.alt, element.title, element.labels?.[0]?.textContent];
  const needsName = element.matches("button, a, input, select, audio, img, svg[role=img], [role=slider]");
  if (needsName && !names.some(text => text?.trim())) faults.add(`no name: ${name(element)}`);
}
return [...faults];
