"use strict";
const at = (id) => document.getElementById(id);
const drop = at("drop"), files = at("files"), status = at("status"), results = at("results");
const limits = {bytes: Number(document.body.dataset.maxBytes), photos: Number(document.body.dataset.maxPhotos)};
const RAISED = [230, 97, 1], LOWERED = [94, 60, 153];

function element(kind, text, name) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

async function score(chosen) {
  const photos = [...chosen].slice(0, limits.photos).filter((photo) => photo.size <= limits.bytes);
  if (!photos.length) { status.textContent = "There is no photo, or it is too large."; return; }
  status.textContent = `Looking at ${photos.length === 1 ? "the photo" : photos.length + " photos"}…`;
  results.replaceChildren();
  const form = new FormData();
  photos.forEach((photo, number) => form.append("photo", photo, photo.name || `photo ${number + 1}`));
  try {
    const answer = await fetch("/v1/score?explain=true&crops=true&neighbours=true", {method: "POST", body: form});
    const told = await answer.json();
    if (!answer.ok) { status.textContent = `Not scored: ${told.detail}.`; return; }
    const found = told.photos.map((photo, number) => ({...photo, file: photos[number]}));
    found.sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
    for (const photo of found) results.append(await shown(photo, found.length));
    status.textContent = found.length === 1 ? "Done." : "Done, the best first.";
  } catch {
    status.textContent = "The server does not answer. Is it still running?";
  }
}

async function shown(photo, n) {
  const item = element("li"), told = element("div", "", "told");
  if (photo.status !== "ok") {
    told.append(element("p", `${photo.photo}: not scored, ${photo.error}.`));
    item.append(told);
    return item;
  }
  const rank = n > 1 ? `${photo.rank}. ` : "";
  told.append(element("p", `${rank}${photo.photo}`));
  told.append(element("strong", `Better than ${Math.round(photo.percentile)} % of photos from accounts like these`));
  const parts = (list) => list.map((part) => `${part.where} (${part.points > 0 ? "+" : ""}${Math.round(part.points)})`).join(", ");
  if (photo.raised.length) told.append(element("p", `Raised by ${parts(photo.raised)}`, "raised"));
  if (photo.lowered.length) told.append(element("p", `Lowered by ${parts(photo.lowered)}`, "lowered"));
  if (photo.best_crop) told.append(element("p", `The best crop, framed in green, is better than ${Math.round(photo.best_crop.percentile)} %`));
  if (photo.neighbours?.length) told.append(await alike(photo.neighbours));
  item.append(await drawn(photo), told);
  return item;
}

async function alike(neighbours) {
  const figure = element("figure"), list = element("ul");
  figure.append(element("figcaption", "The most alike of the photos that it learned from or was tested on"));
  for (const neighbour of neighbours) {
    const entry = element("li"), words = `liked ${neighbour.good ? "more" : "less"} than most`;
    if (neighbour.thumbnail) {
      const bytes = Uint8Array.from(atob(neighbour.thumbnail), (letter) => letter.charCodeAt(0));
      const picture = await createImageBitmap(new Blob([bytes], {type: "image/jpeg"})), canvas = element("canvas");
      [canvas.width, canvas.height] = [picture.width, picture.height];
      canvas.getContext("2d").drawImage(picture, 0, 0);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `A photo alike by ${neighbour.likeness.toFixed(2)}`);
      entry.append(canvas);
    }
    entry.append(element("span", `${neighbour.likeness.toFixed(2)}, ${words}`, neighbour.good ? "raised" : "lowered"));
    list.append(entry);
  }
  figure.append(list);
  return figure;
}

async function drawn(photo) {
  const picture = await createImageBitmap(photo.file), scale = Math.min(1, 640 / Math.max(photo.width, photo.height));
  const canvas = element("canvas"), pen = canvas.getContext("2d");
  canvas.width = Math.round(photo.width * scale);
  canvas.height = Math.round(photo.height * scale);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${photo.photo} with what raised the score in orange and what lowered it in purple`);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const {x, y, width, height} = photo.seen;
  pen.imageSmoothingEnabled = true;
  pen.drawImage(painted(photo.heat), x * scale, y * scale, width * scale, height * scale);
  const frame = (box, colour) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 3;
    pen.strokeRect(box.x * scale, box.y * scale, box.width * scale, box.height * scale);
  };
  for (const face of photo.faces ?? []) frame(face, "#fff");
  if (photo.best_crop) frame(photo.best_crop, "#00c878");
  return canvas;
}

// Patches overlap by half: each of the (steps + 1) squared cells is the mean of those that lie on it.
function painted(heat) {
  const steps = heat.length, side = steps + 1, cells = new OffscreenCanvas(side, side), pen = cells.getContext("2d");
  const values = [];
  for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
    let sum = 0, n = 0;
    for (const r of [row - 1, row]) for (const c of [column - 1, column]) {
      if (r >= 0 && c >= 0 && r < steps && c < steps) { sum += heat[r][c]; n++; }
    }
    values.push(sum / n);
  }
  const largest = Math.max(...values.map(Math.abs)) || 1, image = pen.createImageData(side, side);
  values.forEach((value, place) => {
    image.data.set([...(value > 0 ? RAISED : LOWERED), 153 * Math.abs(value) / largest], 4 * place);
  });
  pen.putImageData(image, 0, 0);
  return cells;
}

files.addEventListener("change", () => score(files.files));
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) score(event.clipboardData.files); });
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  score(event.dataTransfer.files);
});
