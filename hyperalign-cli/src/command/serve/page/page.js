"use strict";

// Texts go into the page as text, never as markup.
const $ = (id) => document.getElementById(id);
const names = { base: "base", s: "HyperAlign-S", p: "HyperAlign-P", i: "HyperAlign-I" };
const previews = 4;
let running = null;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  Object.assign(made, attributes);
  return made;
}

function tell(text, isWrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", isWrong);
}

function headers() {
  const key = $("key").value || sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// What was refused, in the server's words.
async function refusal(response) {
  if (response.status === 401) {
    const wasGiven = Object.keys(headers()).length > 0;
    $("login").hidden = false;
    $("key").focus();
    return new Error(wasGiven ? "the server has another key" : "the server asks for its key");
  }
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `the server answered ${response.status}`);
}

// What can be chosen, from the server.
async function load() {
  const response = await fetch("/v1/models", { headers: headers() });
  if (!response.ok) throw await refusal(response);
  const model = (await response.json()).data[0];
  $("model").textContent = `${model.id}, ${model.hash.slice(0, 10)}`;
  $("variants").querySelectorAll("label").forEach((label) => label.remove());
  for (const variant of model.variants) {
    const box = element("input", "", { type: "checkbox", value: variant });
    box.checked = variant === "base" || variant === model.variant;
    const label = element("label");
    label.append(box, names[variant] ?? variant);
    $("variants").append(label);
  }
  $("variants").hidden = model.variants.length < 2;
  const [width, height] = model.size.split("x");
  for (const [id, value, most] of [
    ["steps", model.steps, model.limits.steps],
    ["guidance", model.guidance, ""],
    ["width", width, model.limits.side],
    ["height", height, model.limits.side],
  ]) {
    $(id).placeholder = value;
    $(id).max = most;
  }
  $("negative").disabled = !model.reads_negative_prompt;
  $("scheduler").replaceChildren($("scheduler").options[0]);
  for (const name of model.schedulers) $("scheduler").append(element("option", name));
  $("loras").querySelectorAll("label").forEach((label) => label.remove());
  for (const [name, scale] of Object.entries(model.loras)) {
    const input = element("input", "", { type: "number", step: "any", value: scale, name });
    const label = element("label");
    label.append(input, name);
    $("loras").append(label);
  }
  $("loras").hidden = Object.keys(model.loras).length === 0;
  $("login").hidden = true;
  if ($("key").value) sessionStorage.setItem("key", $("key").value);
  return model;
}

// The request that the form stands for.
function wish() {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  const text = (id) => $(id).value || undefined;
  const side = (id) => $(id).value || $(id).placeholder;
  const isOwnSize = $("width").value === "" && $("height").value === "";
  const loras = [...$("loras").querySelectorAll("input")];
  return {
    prompt: $("prompt").value,
    seed: number("seed") ?? crypto.getRandomValues(new Uint32Array(1))[0],
    steps: number("steps"),
    guidance: number("guidance"),
    negative_prompt: $("negative").disabled ? undefined : text("negative"),
    size: isOwnSize ? undefined : `${side("width")}x${side("height")}`,
    scheduler: text("scheduler"),
    loras: loras.length
      ? Object.fromEntries(loras.map((input) => [input.name, Number(input.value)]))
      : undefined,
  };
}

// The events of a stream, one by one.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// The place of one picture, before there is one.
function frame(variant, size) {
  const figure = element("figure");
  const [width, height] = (size ?? `${$("width").placeholder}x${$("height").placeholder}`).split("x");
  figure.style.setProperty("--shape", `${width} / ${height}`);
  const caption = element("figcaption");
  const bar = element("progress", "", { max: 1 });
  bar.setAttribute("aria-label", "progress");
  const state = element("span", "asking");
  caption.append(element("strong", names[variant] ?? variant), bar, state);
  figure.append(element("div", "", { className: "empty" }), caption);
  return { figure, caption, bar, state };
}

function show({ figure }, base64, description) {
  const image = element("img", "", { src: `data:image/png;base64,${base64}`, alt: description });
  figure.firstElementChild.replaceWith(image);
}

// What belongs to a picture that is done.
function finish(place, event, prompt) {
  show(place, event.b64_json, prompt);
  place.figure.classList.remove("half");
  place.bar.remove();
  place.state.remove();
  const tools = element("div", "", { className: "tools" });
  const text = element("pre", event.parameters, { hidden: true, tabIndex: 0 });
  const open = element("button", "Parameters", { type: "button" });
  open.setAttribute("aria-expanded", "false");
  open.onclick = () => {
    text.hidden = !text.hidden;
    open.setAttribute("aria-expanded", String(!text.hidden));
  };
  const copy = element("button", "Copy", { type: "button", title: "Copy the parameters" });
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(event.parameters);
      copy.textContent = "Copied";
    } catch {
      // Not every page may write there; what is shown and marked can be copied by hand.
      text.hidden = false;
      getSelection().selectAllChildren(text);
      copy.textContent = "Marked";
    }
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  };
  const save = element("a", "Save", {
    className: "save",
    href: place.figure.firstElementChild.src,
    download: `${event.variant}-${event.seed}.png`,
  });
  tools.append(save, copy, open);
  place.caption.append(tools, text);
}

async function make(variant, body, place, signal) {
  const request = { ...body, variant, stream: true, partial_images: previews };
  const response = await fetch("/v1/images/generations", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers() },
    body: JSON.stringify(request),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  for await (const event of events(response.body)) {
    const kind = event.type.split(".").pop();
    if (kind === "queued") place.state.textContent = `number ${event.position} in line`;
    if (kind === "progress") {
      place.bar.value = event.step / event.steps;
      place.state.textContent = `step ${event.step} of ${event.steps}`;
    }
    if (kind === "partial_image") {
      show(place, event.b64_json, `half-made: ${body.prompt}`);
      place.figure.classList.add("half");
    }
    if (kind === "warnings") tell(event.warnings.join("; "));
    if (kind === "error") throw new Error(event.error.message);
    if (kind === "completed") return finish(place, event, body.prompt);
  }
  throw new Error("the server ended before the picture was done");
}

async function run() {
  if (running) return;
  const body = wish();
  const chosen = [...$("variants").querySelectorAll("input:checked")].map((box) => box.value);
  if (chosen.length === 0) return tell("choose at least one to make the picture by", true);
  running = new AbortController();
  $("make").disabled = true;
  $("stop").disabled = false;
  tell("making");
  const sheet = element("article", "", { className: "run" });
  const title = element("h2", body.prompt + " ");
  title.append(element("small", `seed ${body.seed}`));
  const pictures = element("div", "", { className: "pictures" });
  sheet.append(title, pictures);
  $("results").prepend(sheet);
  const { signal } = running;
  const all = chosen.map(async (variant) => {
    const place = frame(variant, body.size);
    pictures.append(place.figure);
    try {
      await make(variant, body, place, signal);
      return true;
    } catch (error) {
      place.bar.remove();
      place.state.textContent = signal.aborted ? "stopped" : error.message;
      place.state.className = "wrong";
      place.figure.classList.add("failed");
      if (!signal.aborted) tell(error.message, true);
      return false;
    }
  });
  const isWhole = (await Promise.all(all)).every(Boolean);
  if (isWhole && $("status").textContent === "making") tell("done");
  if (signal.aborted) tell("stopped");
  running = null;
  $("make").disabled = false;
  $("stop").disabled = true;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("stop").addEventListener("click", () => running?.abort());
$("key").addEventListener("change", start);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});

function start() {
  load().then(() => tell(""), (error) => tell(error.message, true));
}
start();
