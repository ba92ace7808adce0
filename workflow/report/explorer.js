"use strict";
// No library fits: a slider of two images does not zoom, a viewer that zooms does not wipe, and neither knows the values
// under the pointer or the solutions along λ; two of them and what joins them would be longer than this.
// What is chosen, and where: everything is drawn from this.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const state = { index: 0, weight: 0, left: "scalar", right: "map", wipe: 0.5, shown: 0, log: true, zoom: 1, x: 0, y: 0, cross: null };
const TGV = data.penalty === "tgv"; // of the maps; each λ is one of TV
const KINDS = { clean: "clean", noisy: "noisy", scalar: "TV, one λ", map: TGV ? "TGV, two maps" : "map Λ" };
const RESULT = TGV ? "TGV with maps" : "Map";
const pictures = new Map(); // address -> {image, pixels}, the least recently drawn first
const drawn = [null, null]; // what was last drawn on each side, and of which case

const now = () => data.cases[state.index];
const number = (value, digits) => value.toFixed(digits).replace("-", "−");
// λ with as many digits as tell it from its neighbour on the grid.
const lambda = weight => {
  const step = Math.min(...now().weights.slice(1).map((next, k) => next - now().weights[k]));
  return number(weight, step < 1 ? Math.max(2, Math.ceil(-Math.log10(step) - 1e-6)) : 2);
};
// Λ in `digits` digits; the page does not know how small one below data.smallest is.
const small = (value, digits, sign = "") => value > data.smallest ? sign + value.toPrecision(digits)
  : "< " + data.smallest.toFixed(Math.round(-Math.log10(data.smallest)));

function picture(address) {
  const known = pictures.get(address);
  if (known) {
    pictures.delete(address);
    pictures.set(address, known);
  } else {
    if (pictures.size > 40) pictures.delete(pictures.keys().next().value); // a phone has little memory
    const image = new Image(), entry = { image, pixels: null };
    pictures.set(address, entry);
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      entry.pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      draw();
    };
    image.src = address;
  }
  return pictures.get(address);
}
const address = kind => kind === "scalar" ? now().scalar[state.weight] : now()[kind];

// Λ: 16-bit numbers on a logarithmic scale from low to high.
function values(map) {
  if (!map.values) {
    const bytes = Uint8Array.from(atob(map.codes), c => c.charCodeAt(0));
    const codes = new Uint16Array(bytes.buffer);
    map.values = Float64Array.from(codes, code => map.low * Math.exp(code / 65535 * Math.log(map.high / map.low)));
  }
  return map.values;
}
function colours(map) {
  const key = state.log ? "logarithmic" : "linear";
  if (!map[key]) {
    const all = values(map), n = data.size, canvas = document.createElement("canvas");
    const [low, high] = map.shown.map(v => state.log ? Math.log(v) : v);
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d"), image = context.createImageData(n, n);
    all.forEach((value, k) => {
      const share = ((state.log ? Math.log(value) : value) - low) / Math.max(high - low, 1e-30);
      image.data.set(data.colours[Math.round(255 * Math.min(Math.max(share, 0), 1))], 4 * k);
      image.data[4 * k + 3] = 255;
    });
    context.putImageData(image, 0, 0);
    map[key] = canvas;
  }
  return map[key];
}

// One view for both canvases: image coordinate (x, y) is at the upper left, `zoom` canvas sides to an image side.
function view(canvas) {
  const context = canvas.getContext("2d"), scale = canvas.width / data.size * state.zoom;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, -state.x * scale, -state.y * scale);
  context.imageSmoothingEnabled = false;
  return context;
}
function cross(context, canvas) {
  if (!state.cross) return;
  const scale = canvas.width / data.size * state.zoom, [x, y] = state.cross;
  context.strokeStyle = "#ff5a36";
  context.lineWidth = 2 / scale;
  context.strokeRect(x, y, 1, 1);
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 0.5 + dx * (0.5 + 4 / scale), y + 0.5 + dy * (0.5 + 4 / scale));
    context.lineTo(x + 0.5 + dx * (0.5 + 14 / scale), y + 0.5 + dy * (0.5 + 14 / scale));
  }
  context.stroke();
}
function draw() {
  const canvas = $("compare"), context = view(canvas), at = state.x + state.wipe * data.size / state.zoom;
  const sides = [picture(address(state.left)), picture(address(state.right))];
  sides.forEach((side, k) => {
    if (side.pixels) drawn[k] = { image: side.image, of: state.index };
    if (drawn[k]?.of !== state.index) return; // until an image is decoded the one before stays, if of the same case
    context.save();
    context.beginPath();
    context.rect(k ? at : 0, 0, k ? data.size - at : at, data.size);
    context.clip();
    context.drawImage(drawn[k].image, 0, 0);
    context.restore();
  });
  cross(context, canvas);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#ffffff";
  context.fillRect(state.wipe * canvas.width - 1, 0, 2, canvas.height);
  const map = now().maps[state.shown], coloured = view($("map"));
  coloured.drawImage(colours(map), 0, 0);
  cross(coloured, $("map"));
  for (const one of [canvas, $("map")]) one.classList.toggle("enlarged", state.zoom > 1);
  words(sides);
  document.body.dataset.ready = sides.every(side => side.pixels) ? "yes" : "no";
}
function words(sides) {
  const one = now(), k = state.weight, weight = one.weights[k], map = one.maps[state.shown];
  const name = kind => KINDS[kind] + (kind === "scalar" ? " = " + lambda(weight) : "");
  $("captions").innerHTML = `<span>← ${name(state.left)}</span><span>${name(state.right)} →</span>`;
  $("weight").setAttribute("aria-valuetext", "λ = " + lambda(weight));
  $("numbers").textContent = `λ = ${lambda(weight)}: PSNR ${number(one.psnr[k], 2)} dB, SSIM ${number(one.ssim[k], 3)}. `
    + `${RESULT}: ${number(one.map_psnr, 2)} dB, ${number(one.map_ssim, 3)}. ${RESULT} minus ${TGV ? "TV with " : ""}this λ: `
    + `${one.map_psnr >= one.psnr[k] ? "+" : ""}${number(one.map_psnr - one.psnr[k], 2)} dB. Noisy: ${number(one.noisy_psnr, 2)} dB.`;
  $("low").textContent = small(map.shown[0], 2);
  $("high").textContent = small(map.shown[1], 2);
  if (state.cross) {
    const [x, y] = state.cross, at = y * data.size + x;
    const grey = (side, kind) => side.pixels ? `${name(kind)}: grey value ${number(side.pixels[4 * at] / 255, 2)}` : "";
    const parts = one.maps.map(m => `${m.name} ${small(values(m)[at], 3, "= ")}`);
    $("pointer").textContent = `Row ${y}, column ${x}: ${parts.join(", ")}; ${grey(sides[0], state.left)}, ${grey(sides[1], state.right)}`;
  } else $("pointer").textContent = "Point at an image, or focus it and use the arrow keys, for Λ and grey values.";
  for (const button of $("chosen").children) button.setAttribute("aria-pressed", String(Number(button.value) === k));
  curve($("psnr"), "PSNR (dB)", one.psnr, one.map_psnr, 1);
  curve($("ssim"), "SSIM", one.ssim, one.map_ssim, 2);
}

// Curves over the grid of λ; its square root gives the small ones, among which the best are, room.
const BOX = { left: 52, right: 20, top: 26, bottom: 44, width: 420, height: 250 };
const across = weight => BOX.left + Math.sqrt(weight / now().weights.at(-1)) * (BOX.width - BOX.left - BOX.right);
function curve(svg, title, scores, ofMap, digits) {
  const one = now(), low = Math.min(...scores, ofMap), high = Math.max(...scores, ofMap), room = (high - low || 1) * 0.06;
  const up = v => BOX.height - BOX.bottom - (v - low + room) / (high - low + 2 * room) * (BOX.height - BOX.top - BOX.bottom);
  const points = scores.map((v, k) => `${across(one.weights[k])},${up(v)}`).join(" ");
  const right = BOX.width - BOX.right, floor = BOX.height - BOX.bottom;
  const marks = one.chosen.map(c => `<line class="mark ${c.key}" x1="${across(c.weight)}" x2="${across(c.weight)}" y1="${BOX.top}" y2="${floor}"/>`);
  const letters = one.chosen.map((c, row) => // above one another, and above all lines
    `<text class="letter ${c.key}" x="${across(c.weight)}" y="${floor - 8 - 16 * row}" text-anchor="middle">${letter(c)}</text>`);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(share => {
    const weight = share * share * one.weights.at(-1), value = low + share * (high - low);
    return `<text x="${across(weight)}" y="${floor + 18}" text-anchor="middle">${number(weight, 2)}</text>`
      + (share % 0.5 ? "" : `<text x="${BOX.left - 6}" y="${up(value) + 5}" text-anchor="end">${number(value, digits)}</text>`);
  });
  svg.innerHTML = `<path class="axis" d="M${BOX.left} ${BOX.top}V${floor}H${right}"/>${ticks.join("")}${marks.join("")}`
    + `<line class="mark map" x1="${BOX.left}" x2="${right}" y1="${up(ofMap)}" y2="${up(ofMap)}"/>`
    + `<polyline class="curve" points="${points}"/><circle class="now" r="6" cx="${across(one.weights[state.weight])}" cy="${up(scores[state.weight])}"/>`
    + `<text x="${BOX.left}" y="17">${title}</text><text x="${right}" y="17" text-anchor="end" style="fill: var(--map)">– – ${TGV ? RESULT : "map"}</text>`
    + `<text x="${(BOX.left + right) / 2}" y="${BOX.height - 6}" text-anchor="middle">λ</text>${letters.join("")}`;
  const values = one.chosen.map(c => `${c.name} (${letter(c)}), λ = ${lambda(c.weight)}: ${number(scores[nearest(c.weight)], digits + 1)}`);
  svg.setAttribute("aria-label", `${title} against λ. ${[...values, `${RESULT}: ${number(ofMap, digits + 1)}`].join("; ")}`);
  svg.onclick = event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * BOX.width;
    const share = Math.max((x - BOX.left) / (right - BOX.left), 0);
    setWeight(nearest(share * share * one.weights.at(-1)));
  };
}
const letter = chosen => chosen.key[0].toUpperCase();
const nearest = weight => now().weights.reduce((best, w, k, all) => Math.abs(w - weight) < Math.abs(all[best] - weight) ? k : best, 0);

// Controls.
function setWeight(k) { state.weight = k; $("weight").value = k; draw(); }
function fill(select, options) {
  select.innerHTML = "";
  for (const [value, text] of options) select.add(new Option(text, value));
}
function setCase(index) {
  state.index = index;
  const one = now();
  state.shown = Math.min(state.shown, one.maps.length - 1);
  fill($("shown"), one.maps.map((map, k) => [k, map.name]));
  $("shown").value = state.shown;
  $("weight").max = one.weights.length - 1;
  $("chosen").innerHTML = "";
  for (const c of one.chosen) {
    const button = document.createElement("button");
    [button.className, button.value] = [c.key, nearest(c.weight)];
    button.innerHTML = `<b>${letter(c)}</b> ${c.name}: ${lambda(c.weight)}`;
    button.onclick = () => setWeight(Number(button.value));
    $("chosen").append(button);
  }
  setWeight(nearest(one.chosen[0].weight));
}
function setProtocol(protocol) {
  const of = data.cases.map((one, index) => [index, one]).filter(([, one]) => one.protocol === protocol);
  fill($("image"), of.map(([index, one]) => [index, one.label]));
  setCase(of[0][0]);
}
function setView(zoom, x, y) {
  state.zoom = Math.min(Math.max(zoom, 1), 16);
  const room = data.size - data.size / state.zoom;
  [state.x, state.y] = [x, y].map(v => Math.min(Math.max(v, 0), room));
  draw();
}
function zoomAt(factor, fx = 0.5, fy = 0.5) { // the image point at the share (fx, fy) of the canvas stays there
  const side = data.size / state.zoom, after = data.size / Math.min(Math.max(state.zoom * factor, 1), 16);
  setView(state.zoom * factor, state.x + fx * (side - after), state.y + fy * (side - after));
}
// The view moves no further than it must for the cross to be seen.
function follow() {
  const side = data.size / state.zoom;
  setView(state.zoom, ...state.cross.map((at, k) => Math.min(Math.max([state.x, state.y][k], at + 1 - side), at)));
}
function zoomAtCross(factor) {
  const side = data.size / state.zoom, at = state.cross?.map((v, k) => (v + 0.5 - [state.x, state.y][k]) / side);
  zoomAt(factor, ...(at?.every(share => 0 <= share && share <= 1) ? at : []));
}
$("protocol").onchange = event => setProtocol(event.target.value);
$("image").onchange = event => setCase(Number(event.target.value));
for (const side of ["left", "right"]) {
  fill($(side), Object.entries(KINDS));
  $(side).value = state[side];
  $(side).onchange = event => { state[side] = event.target.value; draw(); };
}
$("weight").oninput = event => setWeight(Number(event.target.value));
$("wipe").oninput = event => { state.wipe = event.target.value / 100; draw(); };
$("shown").onchange = event => { state.shown = Number(event.target.value); draw(); };
$("log").onchange = event => { state.log = event.target.checked; draw(); };
$("in").onclick = () => zoomAt(2);
$("out").onclick = () => zoomAt(0.5);
$("whole").onclick = () => setView(1, 0, 0);
$("bar").style.background = `linear-gradient(90deg, ${data.colours.filter((_, k) => k % 15 === 0).map(c => `rgb(${c})`).join(", ")})`;

for (const canvas of [$("compare"), $("map")]) {
  const fingers = new Map();
  const share = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const pixel = ([fx, fy]) => [state.x + fx * data.size / state.zoom, state.y + fy * data.size / state.zoom]
    .map(v => Math.min(Math.max(Math.floor(v), 0), data.size - 1));
  const pinch = () => {
    const [a, b] = [...fingers.values()];
    return { spread: Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1e-3), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
  };
  const pan = (from, to) => setView(state.zoom, ...[state.x, state.y].map((v, k) => v - (to[k] - from[k]) * data.size / state.zoom));
  const act = to => {
    state.cross = pixel(to);
    if (state.zoom === 1 && canvas.id === "compare") setWipe(to[0]);
    draw();
  };
  // What is hardly enlarged is shown whole, or else the line could not be dragged, and nobody would see why.
  const settle = () => { if (state.zoom < 1.05) setView(1, 0, 0); };
  // Where a finger began that may yet scroll the page, or be the first of two: it acts when it goes sideways (or, where the
  // image is enlarged, anywhere), or is lifted as a tap.
  let waiting = null, several = false; // of two fingers that were down, the one that is left moves no line
  canvas.onpointerdown = event => {
    if (event.button) return; // one for a menu
    canvas.setPointerCapture(event.pointerId);
    if (!fingers.size) {
      several = false;
      settle(); // the wheel does not, or small turns would never enlarge
    }
    fingers.set(event.pointerId, share(event));
    waiting = null;
    if (fingers.size > 1) {
      several = true;
      return;
    }
    if (event.pointerType !== "mouse") waiting = share(event);
    else act(share(event));
  };
  canvas.onpointermove = event => {
    const to = share(event), from = fingers.get(event.pointerId);
    if (waiting) {
      const [dx, dy] = to.map((v, k) => Math.abs(v - waiting[k]) * canvas.clientWidth);
      if (Math.hypot(dx, dy) < 5 || (state.zoom === 1 && dx < dy)) return;
      waiting = null;
    }
    if (from && fingers.size === 2) {
      const before = pinch();
      fingers.set(event.pointerId, to);
      const after = pinch();
      zoomAt(after.spread / before.spread, ...before.middle);
      pan(before.middle, after.middle);
    } else if (from && state.zoom > 1) {
      fingers.set(event.pointerId, to);
      pan(from, to);
      state.cross = pixel(to);
      draw();
    } else if (from) {
      if (!several) act(to);
    } else {
      state.cross = pixel(to);
      draw();
    }
  };
  canvas.onpointerup = canvas.onpointercancel = event => {
    if (waiting && event.type === "pointerup") act(share(event));
    waiting = null;
    fingers.delete(event.pointerId);
    settle();
  };
  canvas.addEventListener("wheel", event => {
    if (!event.deltaY) return;
    // By as much as it turned: in pixels, lines or pages; a pinch on a trackpad comes as small turns with Ctrl.
    const before = state.zoom, unit = [1, 25, 500][event.deltaMode] * (event.ctrlKey ? 5 : 1);
    zoomAt(Math.exp(-event.deltaY * unit / 500), ...share(event));
    if (state.zoom !== before) event.preventDefault(); // or else the page scrolls
  }, { passive: false });
  canvas.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const [x, y] = state.cross || [data.size >> 1, data.size >> 1], far = event.shiftKey ? 10 : 1;
      state.cross = [x + far * step[0], y + far * step[1]].map(v => Math.min(Math.max(v, 0), data.size - 1));
      follow();
    } else if (event.key === "+" || event.key === "=") zoomAtCross(2);
    else if (event.key === "-") zoomAtCross(0.5);
    else if (event.key === "0") setView(1, 0, 0);
    else return;
    event.preventDefault();
  };
}
function setWipe(share) {
  state.wipe = Math.min(Math.max(share, 0), 1);
  $("wipe").value = Math.round(100 * state.wipe);
}

fill($("protocol"), [...new Map(data.cases.map(one => [one.protocol, one.level]))]);
setProtocol(data.cases[0].protocol);
