// What the console does beyond plain pages: signing in by a link, following a log, and not polling when nobody looks.
"use strict";

// A link of `kubectl jct console` has a code in its fragment, which browsers send nowhere. It is of use once.
async function signInByCode() {
  const found = /^#code=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (location.pathname !== "/console/sign-in" || !found) return;
  history.replaceState(null, "", location.pathname + location.search);
  const problem = document.getElementById("code-problem");
  try {
    const form = new URLSearchParams({ code: found[1], then: new URLSearchParams(location.search).get("then") || "" });
    const answer = await fetch("/console/sign-in/code", { method: "POST", body: form, credentials: "same-origin" });
    if (answer.ok) {
      location.replace((await answer.json()).then);
      return;
    }
    problem.textContent = "The link was used already, or is older than a minute: run kubectl jct console again.";
  } catch {
    problem.textContent = "The console does not answer: is kubectl jct console still running?";
  }
  problem.hidden = false;
}

// Adds what comes to the log as text, and keeps as much of it as a browser likes.
const MOST = 400000;
async function followLog(box) {
  const text = document.getElementById("log-text");
  const state = document.getElementById("log-state");
  const atEnd = document.getElementById("log-follow");
  const toEnd = () => { if (!atEnd || atEnd.checked) box.scrollTop = box.scrollHeight; };
  toEnd();
  for (let tries = 0; tries < 100; tries += 1) {
    try {
      const answer = await fetch(box.dataset.live, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      // What is there comes again.
      let isFirst = true;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const all = (isFirst ? "" : text.textContent) + value;
        isFirst = false;
        text.textContent = all.length > MOST ? all.slice(-MOST / 2).replace(/^[^\n]*\n/, "… the beginning is in the files\n") : all;
        toEnd();
      }
      if (state) state.textContent = "That is the end of it.";
      return;
    } catch {
      if (state) state.textContent = "The connection broke off; trying again.";
      await new Promise((done) => setTimeout(done, Math.min(1000 * 2 ** tries, 15000)));
    }
  }
}

// A choice narrows a list at once; texts do by Enter or the button.
function narrowByChoice(event) {
  if (event.target.matches("form[data-filters] select")) event.target.form.requestSubmit();
}

// Polling rests while nobody sees the page, or somebody selects text in what would be replaced.
function rest(event) {
  const element = event.target;
  if (!element.getAttribute || !(element.getAttribute("hx-trigger") || "").startsWith("every")) return;
  const selection = getSelection();
  const selects = selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  const opens = element.contains(document.activeElement) && document.activeElement.matches("select, input");
  if (document.hidden || selects || opens) event.preventDefault();
}

document.addEventListener("change", narrowByChoice);
document.addEventListener("htmx:beforeRequest", rest);
window.addEventListener("hashchange", signInByCode);
signInByCode();
const log = document.querySelector("[data-live]");
if (log) followLog(log);
