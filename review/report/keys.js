// Keys, and links to a row.

const help = document.getElementById("help");

function begins() {
  return list.current >= 0 ? list.current : positionAt(Math.max(0, above())) - 1;
}

function step(by) {
  goTo(list.current < 0 && by > 0 ? Math.max(0, begins() + 1) : Math.max(0, Math.min(list.shown.length - 1, begins() + by)));
}

// The next row, or the one before, with an answer that the filter asks for and that breaks a rule.
function stepToFinding(by) {
  const hit = (at) => data.rows[list.shown[at]][ANSWERS].some((answer) => list.wanted(answer) && answer[FINDINGS].length);
  for (let at = begins() + by; at >= 0 && at < list.shown.length; at += by) {
    if (hit(at)) return goTo(at);
  }
  return undefined;
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  f: () => stepToFinding(1),
  F: () => stepToFinding(-1),
  "/": () => controls.text.focus(),
  x: showAll,
  t: () => window.scrollTo(0, 0),
  "?": () => help.showModal(),
};

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target === controls.text) controls.text.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest && event.target.closest("input, select, textarea")) return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

// #row-12 names a row that may not be drawn, or not be let through by the filter.
function follow() {
  const named = /^#row-(\d+)$/.exec(location.hash);
  if (!named || Number(named[1]) >= data.rows.length) return;
  if (!list.shown.includes(Number(named[1]))) showAll();
  goTo(list.shown.indexOf(Number(named[1])));
}

document.getElementById("keys").addEventListener("click", () => help.showModal());
document.getElementById("close").addEventListener("click", () => help.close());
addEventListener("hashchange", follow);
addEventListener("beforeprint", () => { // not every browser's style can print what is folded
  for (const folded of document.querySelectorAll("main > section:not(.list) details")) folded.open = true;
});
document.getElementById("without").remove();
document.getElementById("filters").hidden = false;
offer();
apply();
follow();
