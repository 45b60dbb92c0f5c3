// The list: only the rows in view are in the page. Heights are guessed until a row was drawn once.

const place = document.getElementById("rows");
const BEYOND = 900; // pixels above and below the window that are drawn, too
const ROUGH = 320;

const list = {
  shown: [], // numbers of the rows that the filter lets through
  heights: new Float64Array(data.rows.length).fill(0), // by row's number; 0 is not known yet
  tops: new Float64Array(1), // of each shown row, and of the end
  drawn: new Map(), // by row's number
  current: -1, // position among those shown
  wanted: () => true,
};

function guess(number) {
  const row = data.rows[number];
  const columns = Math.max(1, Math.min(row[ANSWERS].length, Math.floor(place.clientWidth / 260)));
  const letters = (place.clientWidth / columns / 8) || 40;
  const longest = Math.max(...row[ANSWERS].map((answer) => answer[TEXT].length / letters + 2 * answer[FINDINGS].length));
  return ROUGH / 2 + 25 * longest * Math.ceil(row[ANSWERS].length / columns);
}

function measureFrom(position) {
  for (let at = position; at < list.shown.length; at++) {
    const number = list.shown[at];
    list.tops[at + 1] = list.tops[at] + (list.heights[number] || (list.heights[number] = guess(number)));
  }
  place.style.height = `${list.tops[list.shown.length]}px`;
}

// The position of the row at a height of the list, by halves.
function positionAt(height) {
  let [low, high] = [0, list.shown.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (list.tops[middle] <= height) low = middle;
    else high = middle - 1;
  }
  return low;
}

function above() {
  return -place.getBoundingClientRect().top;
}

function draw() {
  if (!list.shown.length) return clear();
  const top = above();
  const first = positionAt(Math.max(0, top - BEYOND));
  const last = positionAt(Math.max(0, top + window.innerHeight + BEYOND));
  const keep = new Set();
  for (let at = first; at <= last; at++) keep.add(at);
  if (list.current >= 0) keep.add(list.current); // it may have the focus
  remove(new Set([...keep].map((at) => list.shown[at])));
  const order = [...keep].sort((a, b) => a - b);
  let before = null;
  for (const at of order) before = put(at, before);
  settle(order, top);
}

function clear() {
  remove(new Set());
}

function remove(keep) {
  for (const [number, drawn] of list.drawn) {
    if (keep.has(number)) continue;
    drawn.remove();
    list.drawn.delete(number);
  }
}

// Draws the row at a position behind the one before it, so that Tab goes from row to row.
function put(at, before) {
  const number = list.shown[at];
  let drawn = list.drawn.get(number);
  if (!drawn) {
    drawn = drawRow(number, at, list.shown.length, list.wanted);
    list.drawn.set(number, drawn);
    if (before) before.after(drawn);
    else place.prepend(drawn);
  }
  if (at === list.current) drawn.setAttribute("aria-current", "true");
  else drawn.removeAttribute("aria-current");
  return drawn;
}

// What was drawn is measured; what is in view stays where it is, whatever is above it.
function settle(order, top) {
  const anchor = positionAt(Math.max(0, top));
  const was = list.tops[anchor];
  let changed = -1;
  for (const at of order) {
    const number = list.shown[at];
    const height = list.drawn.get(number).offsetHeight;
    if (Math.abs(height - list.heights[number]) < 1) continue;
    list.heights[number] = height;
    if (changed < 0) changed = at;
  }
  if (changed >= 0) measureFrom(changed);
  for (const at of order) list.drawn.get(list.shown[at]).style.transform = `translateY(${list.tops[at]}px)`;
  const moved = list.tops[anchor] - was;
  if (moved && top > 0) window.scrollBy(0, moved);
}

function show(numbers, wanted) {
  remove(new Set());
  list.shown = numbers;
  list.wanted = wanted;
  list.current = -1;
  list.tops = new Float64Array(numbers.length + 1);
  measureFrom(0);
  draw();
}

// Makes a row the current one, in view and with the focus.
function goTo(position) {
  if (position < 0 || position >= list.shown.length) return;
  list.current = position;
  for (let time = 0; time < 3; time++) { // heights on the way there are known only once drawn
    const margin = document.getElementById("filters").offsetHeight + 8;
    window.scrollTo(0, window.scrollY + place.getBoundingClientRect().top + list.tops[position] - margin);
    draw();
  }
  list.drawn.get(list.shown[position]).focus({ preventScroll: true });
}

let waiting = false;
function drawSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

let width = 0;
function resized() {
  if (place.clientWidth === width) return;
  width = place.clientWidth;
  list.heights.fill(0);
  measureFrom(0);
  drawSoon();
}

addEventListener("scroll", drawSoon, { passive: true });
new ResizeObserver(resized).observe(place);
place.addEventListener("toggle", drawSoon, true); // a row's details, opened or closed
place.addEventListener("focusin", (event) => {
  const row = event.target.closest(".row");
  const at = row ? list.shown.indexOf(Number(row.id.slice(4))) : -1;
  if (at < 0 || at === list.current) return;
  list.current = at;
  drawSoon();
});
