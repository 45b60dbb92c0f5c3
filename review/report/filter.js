// Which rows are shown: those with an answer for which every filter holds.

const controls = Object.fromEntries(["text", "rule", "model", "part", "verdict"].map((id) => [id, document.getElementById(id)]));
const simulated = new Set(data.rows.flatMap((row) => row[ANSWERS]).flatMap((answer) => answer[VERDICTS]).map(([who]) => who.startsWith("simulated-")));
const who = simulated.has(true) ? (simulated.has(false) ? "a person or a simulated reviewer" : "a simulated reviewer") : "a person";
const VERDICTS_OF = {
  broken: ["breaks a rule", (answer) => answer[FINDINGS].length > 0],
  blocker: ["breaks a blocker", (answer) => answer[FINDINGS].some(([rule]) => data.rules[rule][2] === SEVERE)],
  clean: ["breaks none", (answer) => !answer[FINDINGS].length],
  pass: [`${who}: pass`, (answer) => answer[VERDICTS].some(([, verdict]) => verdict === "pass")],
  fail: [`${who}: fail`, (answer) => answer[VERDICTS].some(([, verdict]) => verdict === "fail")],
  escalate: [`${who}: escalate`, (answer) => answer[VERDICTS].some(([, verdict]) => verdict === "escalate")],
  unread: ["read by nobody", (answer) => !answer[VERDICTS].length],
};

function option(value, words, count) {
  return element("option", { value }, count === undefined ? words : `${words} (${count.toLocaleString("en")})`);
}

function offer() {
  const parts = new Map();
  const broken = new Map();
  for (const row of data.rows) {
    for (const name of row[PART] ? [row[SPLIT], `${row[SPLIT]}/${row[PART]}`] : [row[SPLIT]]) parts.set(name, (parts.get(name) || 0) + 1);
    for (const answer of row[ANSWERS]) {
      for (const rule of new Set(answer[FINDINGS].map(([at]) => at))) broken.set(rule, (broken.get(rule) || 0) + 1);
    }
  }
  controls.rule.append(option("", "any"), ...data.rules.flatMap(([id], at) => (broken.has(at) ? [option(at, id, broken.get(at))] : [])));
  controls.model.append(option("", "all, side by side"), ...data.models.map((name, at) => option(at, name)));
  const named = [...parts.keys()].sort((a, b) => order(a) - order(b));
  controls.part.append(option("", "all"), ...named.map((name) => {
    const [split, part] = name.split(/\/(.*)/s);
    return option(name, part ? `– ${part.replaceAll("_", " ")}` : data.splits[split], parts.get(name));
  }));
  const judged = data.rows.some((row) => row[ANSWERS].some((answer) => answer[VERDICTS].length));
  const asked = Object.entries(VERDICTS_OF).filter(([name]) => judged || !["pass", "fail", "escalate", "unread"].includes(name));
  controls.verdict.append(option("", "any"), ...asked.map(([name, [words]]) => option(name, words)));
}

// Splits in the order of the rows, each before its own parts.
function order(name) {
  const [split, part] = name.split(/\/(.*)/s);
  return 1000 * Object.keys(data.splits).indexOf(split) + (part === undefined ? 0 : 1);
}

// What an answer has to be for the filters, and the words for each row's question or answer.
function asked() {
  const tests = [];
  const { rule, model, verdict } = controls;
  if (model.value) tests.push((answer) => answer[MODEL] === Number(model.value));
  if (rule.value) tests.push((answer) => answer[FINDINGS].some(([at]) => at === Number(rule.value)));
  if (verdict.value) tests.push(VERDICTS_OF[verdict.value][1]);
  return (answer) => tests.every((test) => test(answer));
}

function inPart(row) {
  const named = controls.part.value;
  return !named || named === row[SPLIT] || named === `${row[SPLIT]}/${row[PART]}`;
}

function apply() {
  const [wanted, words] = [asked(), controls.text.value.trim().toLowerCase()];
  const says = (answer) => answer[TEXT].toLowerCase().includes(words);
  const numbers = [];
  let answers = 0;
  data.rows.forEach((row, number) => {
    if (!inPart(row)) return;
    const inQuestion = !words || row[LABEL].toLowerCase().includes(words)
      || row[TURNS].some((turn) => turn[0] !== "s" && turn.slice(1).toLowerCase().includes(words));
    const found = row[ANSWERS].filter((answer) => wanted(answer) && (inQuestion || says(answer))).length;
    if (!found) return;
    answers += found;
    numbers.push(number);
  });
  const all = data.rows.length.toLocaleString("en");
  document.getElementById("count").textContent =
    `${numbers.length.toLocaleString("en")} of ${all} questions, ${answers.toLocaleString("en")} answers`;
  show(numbers, wanted);
}

function showAll() {
  for (const control of Object.values(controls)) control.value = "";
  apply();
}

// A change of the filter while the list is scrolled begins at the list's first row.
function changed() {
  apply();
  const top = place.getBoundingClientRect().top - document.getElementById("filters").offsetHeight;
  if (top < 0) window.scrollBy(0, top);
}

let typed = 0;
controls.text.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(changed, 120);
});
for (const name of ["rule", "model", "part", "verdict"]) controls[name].addEventListener("change", changed);
document.getElementById("clear").addEventListener("click", showAll);
for (const link of document.querySelectorAll("a[data-rule]")) {
  link.addEventListener("click", () => {
    showAll();
    controls.rule.value = data.rules.findIndex(([id]) => id === link.dataset.rule);
    apply();
  });
}
