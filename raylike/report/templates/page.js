/* The page's one script: filters of the galleries, and the map. Without it everything else still reads. */
"use strict";
for (const select of document.querySelectorAll("[data-gallery-filter]")) {
  select.closest(".filter").hidden = false;
  select.addEventListener("change", () => { select.closest("section").dataset.show = select.value; });
}

const mapData = JSON.parse(document.getElementById("map-data")?.textContent ?? "null");
if (mapData) showMap(mapData, document.querySelector(".map"), document.querySelector("img.sheet"));

function showMap(data, box, sheet) {
  const SIDE = 4095, STEP = 1.4, MOVE = 60, MAX_ZOOM = 60, MARGIN = 24;
  const canvas = box.querySelector("canvas"), picture = box.querySelector(".chosen canvas");
  const says = box.querySelector("[role=status]"), filter = box.querySelector("[data-map-filter]");
  const ids = data.x.map((_, i) => i);
  const byScore = ids.slice().sort((a, b) => data.percentile[b] - data.percentile[a] || a - b);
  let view = { x: SIDE / 2, y: SIDE / 2, zoom: 1 }, chosen = -1, waiting = false;
  const pointers = new Map();
  box.hidden = false;

  const shows = {
    all: () => true,
    test: (i) => data.test[i],
    good: (i) => data.good[i],
    bad: (i) => !data.good[i],
    wrong: (i) => data.percentile[i] >= 0 && (data.percentile[i] > 50) !== data.good[i],
  };
  const shown = (i) => shows[filter.value](i);
  const scale = () => view.zoom * (Math.min(canvas.clientWidth, canvas.clientHeight) - 2 * MARGIN) / SIDE;
  const place = (i) => [
    canvas.clientWidth / 2 + (data.x[i] - view.x) * scale(),
    canvas.clientHeight / 2 + (data.y[i] - view.y) * scale(),
  ];
  const tileSide = () => Math.min(data.tile_px * 1.6, Math.max(9, 560 / Math.sqrt(ids.length) * Math.sqrt(view.zoom)));

  function colour(percentile, css) {
    if (percentile < 0) return css.getPropertyValue("--muted");
    const name = percentile >= 50 ? "--blue" : "--orange";
    const strength = Math.round(25 + 1.5 * Math.abs(percentile - 50));
    return `color-mix(in srgb, ${css.getPropertyValue(name)} ${strength}%, ${css.getPropertyValue("--surface")})`;
  }

  function drawTile(context, i, left, top, side) {
    const tile = data.tile[i], px = data.tile_px;
    if (tile < 0 || !sheet.complete) return false;
    context.drawImage(sheet, px * (tile % data.columns), px * Math.floor(tile / data.columns), px, px, left, top, side, side);
    return true;
  }

  function draw() {
    waiting = false;
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d"), css = getComputedStyle(canvas), side = tileSide();
    const colours = new Map();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.lineWidth = side > 20 ? 2 : 1;
    for (const i of ids) {
      if (!shown(i)) continue;
      const [x, y] = place(i);
      if (x < -side || y < -side || x > width + side || y > height + side) continue;
      const key = data.percentile[i];
      if (!colours.has(key)) colours.set(key, colour(key, css));
      context.strokeStyle = context.fillStyle = colours.get(key);
      if (drawTile(context, i, x - side / 2, y - side / 2, side)) context.strokeRect(x - side / 2, y - side / 2, side, side);
      else context.fillRect(x - 2, y - 2, 4, 4);
    }
    if (chosen >= 0) {
      const [x, y] = place(chosen), large = Math.max(side * 1.5, 36);
      context.strokeStyle = css.getPropertyValue("--ink");
      context.lineWidth = 3;
      drawTile(context, chosen, x - large / 2, y - large / 2, large);
      context.strokeRect(x - large / 2, y - large / 2, large, large);
    }
  }
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

  function zoomBy(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const before = scale(), zoom = Math.min(MAX_ZOOM, Math.max(0.7, view.zoom * factor));
    const dx = x - canvas.clientWidth / 2, dy = y - canvas.clientHeight / 2;
    view.zoom = zoom;
    view.x += dx / before - dx / scale();
    view.y += dy / before - dy / scale();
    redraw();
  }
  function moveBy(dx, dy) { view.x -= dx / scale(); view.y -= dy / scale(); redraw(); }
  function whole() { view = { x: SIDE / 2, y: SIDE / 2, zoom: 1 }; redraw(); }

  function choose(i, centre) {
    chosen = i;
    if (centre) { view.x = data.x[i]; view.y = data.y[i]; view.zoom = Math.max(view.zoom, 3); }
    const context = picture.getContext("2d");
    context.clearRect(0, 0, picture.width, picture.height);
    drawTile(context, i, 0, 0, picture.width);
    const score = data.percentile[i] < 0 ? "Not scored" : `Scored above ${data.percentile[i]} % of photos`;
    says.textContent = `${score}; in truth liked ${data.good[i] ? "above" : "below"} the median. A ${data.test[i] ? "test" : "training"} photo.`;
    redraw();
  }
  function step(direction) {
    const order = byScore.filter(shown);
    if (!order.length) return;
    const at = order.indexOf(chosen);
    const next = at < 0 ? (direction > 0 ? 0 : order.length - 1) : (at + direction + order.length) % order.length;
    choose(order[next], true);
  }
  function nearest(x, y) {
    let best = -1, least = Math.max(16, tileSide()) ** 2;
    for (const i of ids) {
      if (!shown(i)) continue;
      const [px, py] = place(i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) { best = i; least = distance; }
    }
    return best;
  }

  const actions = { in: () => zoomBy(STEP), out: () => zoomBy(1 / STEP), whole, next: () => step(1), previous: () => step(-1) };
  for (const button of box.querySelectorAll("[data-map]")) button.addEventListener("click", actions[button.dataset.map]);
  filter.addEventListener("change", redraw);
  const keys = {
    "+": actions.in, "=": actions.in, "-": actions.out, 0: whole, n: actions.next, p: actions.previous,
    ArrowLeft: () => moveBy(MOVE, 0), ArrowRight: () => moveBy(-MOVE, 0), ArrowUp: () => moveBy(0, MOVE), ArrowDown: () => moveBy(0, -MOVE),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;  // a page that scrolls must not get stuck here
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }, { passive: false });

  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    canvas.classList.add("moving");
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length) {
      const apart = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]) || 1;
      zoomBy(apart(now) / apart(before), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
    } else moveBy(now[0] - before[0], now[1] - before[1]);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    pointers.set(event.pointerId, now);
  });
  const release = (event) => {
    if (event.type === "pointerup" && pointers.size === 1 && moved < 5) {
      const found = nearest(event.offsetX, event.offsetY);
      if (found >= 0) choose(found, false);
    }
    pointers.delete(event.pointerId);
    if (!pointers.size) canvas.classList.remove("moving");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);

  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", draw);
  sheet.decode().then(redraw, redraw);
}
