"use strict";
(() => {
  const find = id => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const canvas = find("map"), card = find("card"), context = canvas.getContext("2d", { alpha: false });
  const calm = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");

  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
  const places = new Float32Array(bytes(data.points)), n = places.length / 2;
  const folders = new Array(n);
  data.folders.forEach(([name, first], i) => folders.fill(name, first, i + 1 < data.folders.length ? data.folders[i + 1][1] : n));
  const textOf = item => data.texts ? data.texts[item] : "";
  const colourings = data.colours.map(c => ({
    ...c, of: c.classes ? new Uint16Array(bytes(c.of)) : c.stops ? new Float64Array(bytes(c.of)) : null
  }));
  const NO_CLASS = 65535;

  /* ---- a grid over the map: points are kept in the order of its cells, so that a row of cells is one run of points */

  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < 2 * n; i++) {
    low[i & 1] = Math.min(low[i & 1], places[i]);
    high[i & 1] = Math.max(high[i & 1], places[i]);
  }
  const wide = Math.max(high[0] - low[0], high[1] - low[1]) || 1;
  const side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(n / 4))));
  const cellAt = (value, axis) => Math.max(0, Math.min(side - 1, Math.floor((value - low[axis]) / wide * side)));
  const cellOf = i => cellAt(places[2 * i + 1], 1) * side + cellAt(places[2 * i], 0);
  const first = new Uint32Array(side * side + 1), order = new Uint32Array(n);
  const xs = new Float32Array(n), ys = new Float32Array(n);
  for (let i = 0; i < n; i++) first[cellOf(i) + 1]++;
  for (let c = 0; c < side * side; c++) first[c + 1] += first[c];
  const next = first.slice();
  for (let i = 0; i < n; i++) {
    const at = next[cellOf(i)]++;
    order[at] = i, xs[at] = places[2 * i], ys[at] = places[2 * i + 1];
  }
  const rank = new Uint32Array(n);
  order.forEach((item, at) => { rank[item] = at; });

  /* ---- what is seen */

  let width = 0, height = 0, ratio = 1; // in CSS pixels, and device pixels to one of them
  let pixels, words;                    // the canvas's with MARGIN more on each side, and as one number each
  const MARGIN = 32;
  let x = 0, y = 0, zoom = 1;           // the middle, and how many times larger than the whole map
  const fit = () => 0.94 * Math.min(width / (high[0] - low[0] || wide), height / (high[1] - low[1] || wide));
  const scale = () => zoom * fit();
  const screenX = at => (xs[at] - x) * scale() + width / 2;
  const screenY = at => height / 2 - (ys[at] - y) * scale();

  let colouring = colourings[data.start], chosen = new Set(), query = "";
  let hit = null, hits = [];            // [n] by rank, and their items; null: all are shown
  const paint = new Uint32Array(n), dimmed = new Uint32Array(n);
  let back = [255, 255, 255];
  let pointed = -1, pinned = false;     // an item

  const pack = (r, g, b) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  const rgb = number => [number >> 16 & 255, number >> 8 & 255, number & 255];

  function colourOf(item) {
    const c = colouring;
    if (c.classes) return c.of[item] === NO_CLASS ? data.none : c.colours[c.of[item]];
    if (!c.stops) return data.plain;
    if (isNaN(c.of[item])) return data.none;
    const share = c.high > c.low ? Math.min(1, Math.max(0, (c.of[item] - c.low) / (c.high - c.low))) : 0.5;
    return c.stops[Math.round(share * (c.stops.length - 1))];
  }

  function repaint() {
    back = getComputedStyle(canvas.parentElement).backgroundColor.match(/\d+/g).slice(0, 3).map(Number);
    for (let at = 0; at < n; at++) {
      const [r, g, b] = rgb(colourOf(order[at]));
      paint[at] = pack(r, g, b);
      const dim = (level, of) => of + (level - of) * 0.2 | 0;
      dimmed[at] = pack(dim(r, back[0]), dim(g, back[1]), dim(b, back[2]));
    }
    redraw();
  }

  /* ---- drawing: dots are stamped into the pixels, by masks for each quarter of a pixel */

  let masks = [], maskSize = 0, maskRadius = -1;

  function makeMasks(radius) {
    if (radius === maskRadius) return;
    maskRadius = radius, maskSize = 2 * Math.ceil(radius + 1) + 1;
    const middle = (maskSize - 1) / 2;
    masks = [];
    for (let phase = 0; phase < 16; phase++) {
      const dx = middle + (phase & 3) / 4 + 0.125, dy = middle + (phase >> 2) / 4 + 0.125;
      const mask = new Uint8Array(maskSize * maskSize);
      for (let i = 0; i < mask.length; i++) {
        const distance = Math.hypot(i % maskSize + 0.5 - dx, Math.floor(i / maskSize) + 0.5 - dy);
        mask[i] = 255 * Math.max(0, Math.min(1, radius + 0.5 - distance));
      }
      masks.push(mask);
    }
  }

  function stamp(px, py, colour) {
    const left = Math.floor(px), top = Math.floor(py), w = pixels.width, half = (maskSize - 1) / 2;
    const x0 = left - half, y0 = top - half;
    if (x0 < 0 || y0 < 0 || x0 + maskSize > w || y0 + maskSize > pixels.height) return;
    const mask = masks[(py - top) * 4 << 2 | (px - left) * 4];
    const r = colour & 255, g = colour >> 8 & 255, b = colour >> 16 & 255;
    for (let row = 0, m = 0; row < maskSize; row++) {
      let to = (y0 + row) * w + x0;
      for (let column = 0; column < maskSize; column++, m++, to++) {
        const share = mask[m];
        if (share === 255) {
          words[to] = colour;
        } else if (share !== 0) {
          const old = words[to], or = old & 255, og = old >> 8 & 255, ob = old >> 16 & 255;
          words[to] = (255 << 24 | ob + ((b - ob) * share >> 8) << 16 | og + ((g - og) * share >> 8) << 8 |
            or + ((r - or) * share >> 8)) >>> 0;
        }
      }
    }
  }

  function stampAll(colours, wanted) {
    const s = scale() * ratio, mx = pixels.width / 2, my = pixels.height / 2;
    const reach = (maskSize + 2) / s;
    const left = cellAt(x - mx / s - reach, 0), right = cellAt(x + mx / s + reach, 0);
    const bottom = cellAt(y - my / s - reach, 1), top = cellAt(y + my / s + reach, 1);
    for (let row = bottom; row <= top; row++)
      for (let at = first[row * side + left], end = first[row * side + right + 1]; at < end; at++)
        if (wanted === undefined || hit[at] === wanted) stamp((xs[at] - x) * s + mx, my - (ys[at] - y) * s, colours[at]);
  }

  function draw() {
    const rest = Math.min(3, Math.max(1.1, 90 / Math.sqrt(n)));
    const radius = Math.round(4 * ratio * Math.min(6, rest * Math.pow(zoom, 0.3))) / 4;
    words.fill(pack(...back));
    makeMasks(radius);
    if (hit) {
      stampAll(dimmed, 0);
      makeMasks(radius + 0.75 * ratio);
      stampAll(paint, 1);
    } else {
      stampAll(paint);
    }
    context.putImageData(pixels, -MARGIN, -MARGIN);
    if (pointed >= 0) {
      const at = rank[pointed];
      context.beginPath();
      context.arc(screenX(at) * ratio, screenY(at) * ratio, radius + 4 * ratio, 0, 2 * Math.PI);
      context.lineWidth = 2 * ratio;
      context.strokeStyle = getComputedStyle(canvas).color;
      context.stroke();
      placeCard();
    }
  }

  let waiting = false;
  function redraw() {
    if (waiting || !pixels) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function resize() {
    const box = canvas.parentElement.getBoundingClientRect();
    width = box.width, height = box.height, ratio = Math.min(2, devicePixelRatio || 1);
    if (!(width > 0 && height > 0)) return;
    canvas.width = Math.round(width * ratio), canvas.height = Math.round(height * ratio);
    pixels = context.createImageData(canvas.width + 2 * MARGIN, canvas.height + 2 * MARGIN);
    words = new Uint32Array(pixels.data.buffer);
    redraw();
  }

  /* ---- moving */

  const MOST_ZOOM = 5000;
  let flight = 0;

  function look(toX, toY, toZoom) {
    zoom = Math.min(MOST_ZOOM, Math.max(0.4, toZoom));
    x = Math.min(high[0], Math.max(low[0], toX)), y = Math.min(high[1], Math.max(low[1], toY));
    redraw();
  }

  /* `px`, `py` stay where they are. */
  function zoomAt(px, py, factor) {
    const before = scale(), to = Math.min(MOST_ZOOM, Math.max(0.4, zoom * factor)), after = before * to / zoom;
    const dx = px - width / 2, dy = height / 2 - py;
    look(x + dx / before - dx / after, y + dy / before - dy / after, to);
  }

  function fly(toX, toY, toZoom) {
    const [fromX, fromY, fromZoom, start, mine] = [x, y, zoom, performance.now(), ++flight];
    if (calm.matches) return look(toX, toY, toZoom);
    const step = now => {
      if (mine !== flight) return;
      const t = Math.min(1, Math.max(0, (now - start) / 220)), eased = t * (2 - t);
      look(fromX + (toX - fromX) * eased, fromY + (toY - fromY) * eased, fromZoom * Math.pow(toZoom / fromZoom, eased));
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  const wholeMap = () => fly((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 1);

  /* ---- the item pointed at */

  /* The nearest within `reach` pixels, or -1. */
  function itemAt(px, py, reach) {
    const s = scale(), mx = x + (px - width / 2) / s, my = y + (height / 2 - py) / s, r = reach / s;
    let best = -1, least = r * r;
    for (let row = cellAt(my - r, 1); row <= cellAt(my + r, 1); row++)
      for (let at = first[row * side + cellAt(mx - r, 0)]; at < first[row * side + cellAt(mx + r, 0) + 1]; at++) {
        const distance = (xs[at] - mx) ** 2 + (ys[at] - my) ** 2;
        if (distance < least && (!hit || hit[at])) least = distance, best = order[at];
      }
    return best;
  }

  function dateText(seconds) {
    const date = new Date(seconds * 1000), two = value => String(value).padStart(2, "0");
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  }

  const valueText = (c, value) => c.name === "date" ? dateText(value) : value.toPrecision(3);

  function addLine(tag, text, name) {
    const element = card.appendChild(document.createElement(tag));
    element.textContent = text;
    if (name) element.className = name;
  }

  function fillCard(item) {
    card.replaceChildren();
    if (data.thumbnails[item]) {
      const picture = card.appendChild(document.createElement("img"));
      picture.alt = "";
      picture.src = "data:image/jpeg;base64," + data.thumbnails[item];
    } else if (data.pictures) {
      addLine("span", "(no thumbnail in this page)");
    }
    if (textOf(item)) addLine("span", textOf(item), "text");
    addLine("b", data.names[item]);
    if (folders[item]) addLine("span", folders[item]);
    for (const c of colourings) {
      const name = c.classes && c.classes[c.of[item]];
      if (name) addLine("span", c.name === "cluster" ? name : `${c.name}: ${name}`);
      if (c.stops && !isNaN(c.of[item])) addLine("span", `${c.name}: ${valueText(c, c.of[item])}`);
    }
  }

  /* Beside the point, on the side that has room. */
  function placeCard() {
    const px = screenX(rank[pointed]), py = screenY(rank[pointed]), gap = 14;
    const w = card.offsetWidth, h = card.offsetHeight;
    const left = px + gap + w < width ? px + gap : px - gap - w;
    const top = Math.min(height - h - 6, Math.max(6, py - h / 2));
    card.style.transform = `translate(${Math.round(Math.min(width - w - 6, Math.max(6, left)))}px,${Math.round(top)}px)`;
  }

  function point(item, pin) {
    if (item === pointed && pin === pinned) return;
    if (item !== pointed && item >= 0) fillCard(item);
    pointed = item, pinned = pin && item >= 0;
    card.hidden = item < 0;
    card.classList.toggle("pinned", pinned);
    redraw();
  }

  function goTo(item) {
    point(item, true);
    fly(places[2 * item], places[2 * item + 1], Math.max(zoom, 4));
  }

  /* ---- mouse, pen and fingers */

  const down = new Map();
  let moved = 0;
  const local = e => {
    const box = canvas.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", e => {
    if (down.size === 0) moved = 0;
    canvas.setPointerCapture(e.pointerId);
    down.set(e.pointerId, local(e));
    flight++;
    canvas.classList.add("dragged");
  });

  canvas.addEventListener("pointermove", e => {
    const [px, py] = local(e);
    if (!down.has(e.pointerId)) {
      if (!pinned) point(itemAt(px, py, 14), false);
      return;
    }
    const [fromX, fromY] = down.get(e.pointerId);
    moved += Math.hypot(px - fromX, py - fromY);
    if (down.size === 1) {
      look(x - (px - fromX) / scale(), y + (py - fromY) / scale(), zoom);
    } else if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== e.pointerId).map(([, at]) => at);
      const before = Math.hypot(fromX - other[0], fromY - other[1]), after = Math.hypot(px - other[0], py - other[1]);
      look(x - (px - fromX) / 2 / scale(), y + (py - fromY) / 2 / scale(), zoom);
      if (before > 8 && after > 8) zoomAt((px + other[0]) / 2, (py + other[1]) / 2, after / before);
    }
    down.set(e.pointerId, [px, py]);
  });

  function release(e) {
    if (!down.delete(e.pointerId) || down.size) return;
    canvas.classList.remove("dragged");
    if (e.type === "pointerup" && moved < 6) {
      const item = itemAt(...local(e), e.pointerType === "touch" ? 24 : 14);
      point(item, true);
    }
  }
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!pinned) point(-1, false); });
  canvas.addEventListener("dblclick", e => {
    const [px, py] = local(e), s = scale();
    fly(x + (px - width / 2) / s / 2, y + (height / 2 - py) / s / 2, zoom * 2);
  });
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    flight++;
    const unit = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? height : 1;
    zoomAt(...local(e), Math.exp(-Math.max(-240, Math.min(240, e.deltaY * unit)) * (e.ctrlKey ? 0.01 : 0.002)));
  }, { passive: false });

  /* ---- keys */

  /* The item nearest to the one pointed at, within a quarter turn of a direction. */
  function neighbour(dx, dy) {
    if (pointed < 0) return itemAt(width / 2, height / 2, width + height);
    const fromX = places[2 * pointed], fromY = places[2 * pointed + 1];
    let best = pointed, least = Infinity;
    for (let at = 0; at < n; at++) {
      const x1 = xs[at] - fromX, y1 = ys[at] - fromY, along = x1 * dx + y1 * dy;
      const distance = x1 * x1 + y1 * y1;
      if (along > 0 && along * along * 2 >= distance && distance < least && (!hit || hit[at]))
        least = distance, best = order[at];
    }
    return best;
  }

  function nextHit(step) {
    if (!hits.length) return;
    const now = hits.indexOf(pointed);
    goTo(hits[now < 0 ? 0 : (now + step + hits.length) % hits.length]);
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const arrow = arrows[e.key];
    if (arrow && e.shiftKey) {
      const item = neighbour(...arrow);
      if (item >= 0) goTo(item);
    } else if (arrow) {
      const by = 0.15 * Math.min(width, height) / scale();
      fly(x + arrow[0] * by, y + arrow[1] * by, zoom);
    } else if (e.key === "+" || e.key === "=") fly(x, y, zoom * 1.5);
    else if (e.key === "-") fly(x, y, zoom / 1.5);
    else if (e.key === "0" || e.key === "Home") wholeMap();
    else if (e.key === "Enter") point(itemAt(width / 2, height / 2, width + height), true);
    else return;
    e.preventDefault();
  });
  document.addEventListener("keydown", e => {
    if (e.key === "/" && e.target.tagName !== "INPUT") {
      e.preventDefault();
      find("search").focus();
    } else if (e.key === "Escape") {
      if (pointed >= 0) point(-1, false);
      else {
        find("search").value = query = "";
        chosen.clear();
        showLegend();
        select();
      }
    }
  });

  /* ---- search and legend: what isn't meant is dimmed */

  const searched = Array.from({ length: n }, (_, i) => `${folders[i]}${data.names[i]}\n${textOf(i)}`.toLowerCase());

  function select() {
    const wanted = query.trim().toLowerCase();
    hit = wanted || chosen.size ? new Uint8Array(n) : null;
    hits = [];
    for (let at = 0; hit && at < n; at++) {
      const item = order[at];
      hit[at] = (!wanted || searched[item].includes(wanted)) && (!chosen.size || chosen.has(colouring.of[item])) ? 1 : 0;
      if (hit[at]) hits.push(item);
    }
    hits.sort((a, b) => a - b);
    find("hits").textContent = hit ? `${hits.length.toLocaleString("en")} of ${n.toLocaleString("en")}` : "";
    if (hit && pointed >= 0 && !hit[rank[pointed]]) point(-1, false);
    redraw();
  }

  const hex = number => "#" + number.toString(16).padStart(6, "0");

  function addEntry(list, number, name, colour, count) {
    const button = list.appendChild(document.createElement("li")).appendChild(document.createElement("button"));
    button.type = "button", button.title = name;
    button.setAttribute("aria-pressed", chosen.has(number));
    button.appendChild(document.createElement("i")).style.background = hex(colour);
    button.appendChild(document.createElement("span")).textContent = name;
    button.appendChild(document.createElement("small")).textContent = count.toLocaleString("en");
    button.addEventListener("click", () => {
      if (!chosen.delete(number)) chosen.add(number);
      button.setAttribute("aria-pressed", chosen.has(number));
      select();
    });
  }

  function showClasses(legend, c) {
    const counts = new Uint32Array(c.classes.length + 1), list = document.createElement("ul");
    for (let i = 0; i < n; i++) counts[Math.min(c.of[i], c.classes.length)]++;
    c.classes.forEach((name, i) => addEntry(list, i, name, c.colours[i], counts[i]));
    if (counts[c.classes.length]) addEntry(list, NO_CLASS, "none", data.none, counts[c.classes.length]);
    legend.append(list);
  }

  function showScale(legend, c) {
    const bar = legend.appendChild(document.createElement("div")), ends = legend.appendChild(document.createElement("div"));
    bar.className = "scale", ends.className = "ends";
    bar.style.background = `linear-gradient(90deg,${c.stops.map(hex).join()})`;
    for (const value of [c.low, c.high]) ends.appendChild(document.createElement("span")).textContent = valueText(c, value);
  }

  function showLegend() {
    const legend = find("legend");
    legend.replaceChildren();
    if (colouring.classes) showClasses(legend, colouring);
    if (colouring.stops) showScale(legend, colouring);
    legend.hidden = !colouring.classes && !colouring.stops;
  }

  find("colours").addEventListener("change", e => {
    colouring = colourings[e.target.value];
    chosen.clear();
    showLegend();
    select();
    repaint();
  });
  find("search").addEventListener("input", e => {
    query = e.target.value;
    select();
  });
  find("search").addEventListener("keydown", e => {
    if (e.key !== "Enter") return;
    e.preventDefault();
    nextHit(e.shiftKey ? -1 : 1);
  });
  find("closer").addEventListener("click", () => fly(x, y, zoom * 2));
  find("further").addEventListener("click", () => fly(x, y, zoom / 2));
  find("whole").addEventListener("click", wholeMap);

  for (const [i, c] of colourings.entries()) find("colours").add(new Option(c.name, i, i === data.start, i === data.start));
  look((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 1);
  showLegend();
  new ResizeObserver(resize).observe(canvas.parentElement);
  resize();
  repaint();
  dark.addEventListener("change", repaint);
})();
