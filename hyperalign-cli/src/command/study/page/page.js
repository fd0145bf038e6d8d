"use strict";

// Texts go into the page as text, never as markup.
const $ = (id) => document.getElementById(id);
const keys = {
  ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither",
  1: "left", 2: "right", 0: "neither",
};
let study = null;
let voter = null;
let items = [];
// Questions of the items one after the other: where the voter is, and whether a vote is on its way.
let place = 0;
let isSending = false;

function tell(text, isWrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", isWrong);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; try again in a moment");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.error ?? `the server answered ${response.status}`);
  return body;
}

// The voter of the link, or of this browser, or a new one.
function known() {
  const isVoter = (text) => /^[0-9a-f]{32}$/.test(text ?? "");
  const ofLink = new URLSearchParams(location.hash.slice(1)).get("voter");
  if (isVoter(ofLink)) return ofLink;
  try {
    const kept = localStorage.getItem(`voter-${study.study}`);
    if (isVoter(kept)) return kept;
  } catch {
    // Not every browser keeps something for a page; the link is enough.
  }
  return random();
}

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function become(someone) {
  voter = someone;
  history.replaceState(null, "", `#voter=${voter}`);
  try {
    localStorage.setItem(`voter-${study.study}`, voter);
  } catch {
    // As above.
  }
  items = (await ask(`/voters/${voter}`)).items;
  place = 0;
  while (place < end() && answer(place)) place += 1;
  show(place === 0 ? "begin" : undefined);
}

const end = () => items.length * study.questions.length;
const item = (at) => items[Math.floor(at / study.questions.length)];
const question = (at) => study.questions[at % study.questions.length];
const answer = (at) => item(at).answers[question(at).name];
const source = (of, side) => `/pictures/${of.item}/${side}?study=${study.study}`;

// Shows where the voter is, or `section`.
function show(section = place < end() ? "vote" : "end") {
  for (const id of ["begin", "vote", "end"]) $(id).hidden = id !== section;
  const isVoting = section !== "begin";
  $("count").hidden = $("progress").hidden = $("tools").hidden = !isVoting;
  let answered = 0;
  for (let at = 0; at < end(); at += 1) answered += answer(at) ? 1 : 0;
  $("progress").value = answered / end();
  $("back").disabled = place === 0;
  $("forth").disabled = place >= end() || !answer(place);
  if (section === "begin") $("start").focus();
  if (section !== "vote") {
    $("count").textContent = `${answered} of ${end()} answers`;
    return;
  }
  const now = item(place);
  const number = Math.floor(place / study.questions.length);
  $("count").textContent = `${number + 1} of ${items.length}`;
  $("prompt").textContent = now.prompt;
  $("question").textContent = question(place).text;
  for (const side of ["left", "right"]) {
    // A picture that is there already would flicker.
    if ($(side).getAttribute("src") !== source(now, side)) $(side).src = source(now, side);
  }
  const steps = study.questions.map((of, k) => {
    const step = document.createElement("li");
    if (now.answers[of.name]) step.className = "done";
    if (k === place % study.questions.length) step.className = "now";
    return step;
  });
  $("steps").replaceChildren(...(steps.length > 1 ? steps : []));
  for (const button of document.querySelectorAll("[data-answer]")) {
    button.setAttribute("aria-pressed", String(button.dataset.answer === answer(place)));
  }
  // The next pair is there when it is its turn.
  const next = items[number + 1];
  if (next) for (const side of ["left", "right"]) new Image().src = source(next, side);
}

async function vote(given) {
  if (isSending || $("vote").hidden || place >= end()) return;
  isSending = true;
  const at = place;
  try {
    await ask("/votes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        study: study.study, voter, item: item(at).item, question: question(at).name, answer: given,
      }),
    });
    item(at).answers[question(at).name] = given;
    place = at + 1;
    tell("");
    show();
  } catch (error) {
    tell(error.message, true);
  }
  isSending = false;
}

function go(by) {
  const to = place + by;
  if (isSending || to < 0 || to > end() || (by > 0 && !answer(place))) return;
  place = to;
  tell("");
  show();
}

for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", () => {
    vote(button.dataset.answer);
    // The next question is another one: nothing of it is chosen yet.
    button.blur();
  });
}
$("start").addEventListener("click", () => show("vote"));
$("back").addEventListener("click", () => go(-1));
$("forth").addEventListener("click", () => go(1));
$("another").addEventListener("click", () => become(random()).catch((error) => tell(error.message, true)));
$("link").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("Copied. It opens this study where you are.");
  } catch {
    // Not every page may write there.
    tell(location.href);
  }
});
document.addEventListener("keydown", (event) => {
  // A key that is held down is one answer.
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || $("begin").hidden === false) return;
  if (event.key === "ArrowUp") {
    event.preventDefault();
    go(-1);
  } else if (keys[event.key] && !$("vote").hidden) {
    event.preventDefault();
    vote(keys[event.key]);
  }
});

// Another voter's link, opened here.
window.addEventListener("hashchange", () => {
  become(known()).catch((error) => tell(error.message, true));
});

async function begin() {
  study = await ask("/study");
  document.title = study.title;
  $("title").textContent = study.title;
  $("items").textContent = study.items;
  const count = study.questions.length;
  $("how-many").textContent = count === 1 ? "asked one question" : `asked ${count} questions`;
  $("attribution").textContent = study.attribution.join(" ");
  await become(known());
}
begin().catch((error) => tell(error.message, true));
