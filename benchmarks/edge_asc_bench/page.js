"use strict";
// Everything of the page is there without this: it shows values, explains terms, and hides models.
const tip = document.getElementById("tip");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
document.documentElement.classList.add("js");

function showTip(text, box) {
  tip.textContent = text;
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight, edge = 8;
  const left = Math.max(edge, Math.min(box.left + box.width / 2 - width / 2, innerWidth - width - edge));
  const above = box.top - height - edge;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > edge ? above : box.bottom + edge}px`;
}

function hideTip() {
  tip.hidden = true;
  all(".point.near").forEach((point) => point.classList.remove("near"));
  all("[aria-describedby=tip]").forEach((element) => element.removeAttribute("aria-describedby"));
}

// Terms: hovered or focused, they are explained; a tap explains first, and a second one goes to the glossary.
for (const term of all("a.term")) {
  const entry = document.getElementById(term.hash.slice(1)), text = entry.nextElementSibling.textContent;
  let shownByTap = false;
  const show = () => { hideTip(); showTip(text, term.getBoundingClientRect()); term.setAttribute("aria-describedby", "tip"); };
  term.addEventListener("pointerenter", show);
  term.addEventListener("pointerleave", (event) => { if (event.relatedTarget !== tip) hideTip(); });
  term.addEventListener("focus", show);
  term.addEventListener("blur", () => { shownByTap = false; hideTip(); });
  term.addEventListener("click", (event) => {
    if (event.pointerType === "touch" && !shownByTap) { event.preventDefault(); shownByTap = true; show(); }
  });
}
tip.addEventListener("pointerleave", hideTip);
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", hideTip, { passive: true });

// Charts: the value nearest to the pointer; with the keyboard, arrow keys go from value to value.
for (const plot of all(".plot")) {
  const said = plot.parentElement.querySelector("output"), heading = plot.parentElement.querySelector("h3");
  for (const point of all(".point", plot)) {
    const title = point.querySelector("title");
    point.dataset.text = title.textContent;
    title.remove();  // the browser would show it, too
  }
  for (const chart of all("svg.chart", plot)) {
    const title = chart.querySelector("title");
    chart.setAttribute("aria-label", title.textContent);
    chart.removeAttribute("aria-labelledby");
    title.remove();
  }
  const listPoints = () => all(".point", plot).filter((point) => point.getClientRects().length);
  if (!listPoints().length) continue;
  let current = -1;
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", `${heading.textContent} Arrow keys read the values.`);
  const show = (point) => {
    hideTip();
    point.classList.add("near");
    showTip(point.dataset.text, point.getBoundingClientRect());
  };
  plot.addEventListener("pointermove", (event) => {
    let nearest = null, least = 28;
    for (const point of listPoints()) {
      const box = point.getBoundingClientRect();
      const dx = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const dy = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      const distance = Math.hypot(dx, dy);
      if (distance < least) [nearest, least] = [point, distance];
    }
    if (nearest) show(nearest); else hideTip();
  });
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("blur", hideTip);
  plot.addEventListener("keydown", (event) => {
    const points = listPoints(), last = points.length - 1;
    const next = { ArrowRight: current + 1, ArrowDown: current + 1, ArrowLeft: current - 1, ArrowUp: current - 1, Home: 0, End: last }[event.key];
    if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    current = Math.max(0, Math.min(last, next));
    show(points[current]);
    said.textContent = points[current].dataset.text;
  });
}

// Models: a box each, which shows and hides it in all charts and tables of its section.
for (const box of all("input[data-model]")) {
  const update = () => all(`[data-series="${box.dataset.model}"]`, box.closest("section"))
    .forEach((element) => element.classList.toggle("off", !box.checked));
  box.addEventListener("change", update);
  update();
}

// On paper, nothing is folded away.
let opened = [];
addEventListener("beforeprint", () => { opened = all("details:not([open])"); opened.forEach((each) => { each.open = true; }); });
addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
