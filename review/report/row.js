"use strict";
// One row of the list: a question, and what each model answered. Whatever was said is put in as
// text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
// Places in the arrays of data.rows, and of each row's answers; rows.py writes them.
const [SPLIT, PART, SEED, LABEL, TURNS, FACTS, ANSWERS] = [0, 1, 2, 3, 4, 5, 6];
const [MODEL, LINE, TEXT, FLAGS, FINDINGS, NEAR, VERDICTS] = [0, 1, 2, 3, 4, 5, 6];
const [ENDED, HAS_FACTS, STATED, BLANK, BEFORE, BEHIND] = [1, 2, 4, 8, 16, 32];
const SEVERE = "blocker";

function element(tag, about, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) made.setAttribute(name, value);
  made.append(...inside.filter((part) => part !== null && part !== ""));
  return made;
}

// A finding of all that is shown is named below it: a mark over everything would hide the others.
const ofAll = (text, [, a, b]) => a === 0 && b === text.length;

// The text cut where findings begin and end; each piece that breaks a rule is marked with its name.
function marked(text, findings) {
  const local = findings.filter((finding) => !ofAll(text, finding));
  if (!local.length) return [text];
  const cuts = [...new Set([0, text.length, ...local.flatMap(([, a, b]) => [a, b])])];
  cuts.sort((a, b) => a - b);
  const pieces = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [a, b] = [cuts[i], cuts[i + 1]];
    const broken = local.filter(([, from, to]) => from <= a && b <= to);
    const names = [...new Set(broken.map(([rule]) => data.rules[rule][0]))];
    const piece = text.slice(a, b);
    pieces.push(names.length ? element("mark", {}, piece, element("sup", {}, names.join(" "))) : piece);
  }
  return pieces;
}

function question(row, number) {
  const told = [];
  const turns = [];
  for (const turn of row[TURNS]) {
    const said = turn.slice(1);
    if (turn[0] === "s") told.push(data.systems[said]);
    else turns.push(element("p", { class: "asked" }, element("b", {}, turn[0] === "u" ? "Customer " : "Answer "), said));
  }
  const about = [data.splits[row[SPLIT]], row[PART].replaceAll("_", " "), row[LABEL], `seed ${row[SEED]}`];
  const head = element("p", { id: `title-${number}` }, element("small", {}, `${number + 1} · ${about.filter(Boolean).join(" · ")}`));
  const sheet = told.length
    ? element("details", {}, element("summary", {}, "Instructions and facts given"), element("p", { class: "answer" }, told.join("\n\n")))
    : null;
  return element("div", { class: "question" }, head, ...turns, sheet);
}

function stated(row, flags) {
  const said = [];
  if (flags & BLANK) said.push("an empty answer");
  if (flags & HAS_FACTS) said.push(`${flags & STATED ? "states" : "does not state"} ${row[FACTS].join(", ")}`);
  if (!(flags & ENDED)) said.push("was cut off");
  return said.length ? element("small", {}, said.join("; ")) : null;
}

function reply(row, answer, wanted) {
  const flags = answer[FLAGS];
  const cut = flags & (BEFORE | BEHIND);
  const text = element("p", { class: "answer" }, flags & BEFORE ? "…" : "", ...marked(answer[TEXT], answer[FINDINGS]), flags & BEHIND ? "…" : "");
  const line = element("small", {}, cut ? `an excerpt; whole on line ${answer[LINE]}` : `line ${answer[LINE]}`);
  const whole = new Set(answer[FINDINGS].filter((finding) => ofAll(answer[TEXT], finding)).map(([rule]) => rule));
  const rules = [...new Set(answer[FINDINGS].map(([rule]) => rule))].map((rule) => {
    const [id, title, severity, , fix] = data.rules[rule];
    const where = whole.has(rule) ? ", of the whole answer" : "";
    return element("li", {}, element("a", { href: `#rule-${id}` }, id), ` ${title} (${severity}${where}). ${fix}`);
  });
  const verdicts = answer[VERDICTS].map(([who, verdict, broken, comment]) =>
    element("li", {}, element("b", {}, `${who}: ${verdict}`), ` ${broken.join(", ")} ${comment}`));
  return element("section", wanted ? {} : { class: "other" },
    element("h4", {}, data.models[answer[MODEL]], line), text, stated(row, flags),
    rules.length ? element("ul", {}, ...rules) : null, nearest(answer),
    verdicts.length ? element("ul", { "aria-label": "Verdicts" }, ...verdicts) : null);
}

function nearest(answer) {
  if (!answer[NEAR]) return null;
  const [at, cosine] = answer[NEAR];
  const [kind, place, asked, answered] = data.examples[at];
  return element("details", {}, element("summary", {}, `Nearest in training: ${kind}, ${cosine.toFixed(2)}`),
    element("p", { class: "asked" }, element("b", {}, "Customer "), asked),
    element("p", { class: "answer" }, answered), element("p", {}, element("small", {}, place)));
}

// A row as an article of the feed; `shows` says which of its answers the filter asks for.
function drawRow(number, position, count, shows) {
  const row = data.rows[number];
  const answers = row[ANSWERS].map((answer) => reply(row, answer, shows(answer)));
  const inside = element("div", {}, question(row, number), element("div", { class: "said" }, ...answers));
  return element("article", {
    class: "row", tabindex: "0", id: `row-${number}`, "aria-labelledby": `title-${number}`,
    "aria-posinset": position + 1, "aria-setsize": count,
  }, inside);
}
