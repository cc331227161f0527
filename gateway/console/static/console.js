// Refreshes the overview in place and prints results. Without it the page works
// and is refreshed by the browser's own button.
"use strict";

const live = document.getElementById("live");
const stale = document.getElementById("stale");
const period = 3000;

function openDetails() {
  return [...live.querySelectorAll("details[open]")].map((d) => d.id);
}

// Whoever marks text, to copy the lines of a configuration, is not disturbed.
function busy() {
  const s = document.getSelection();
  return s && !s.isCollapsed && live.contains(s.anchorNode);
}

function lastUpdate() {
  const t = live.querySelector("time.updated b");
  return t ? t.textContent : "";
}

async function refresh() {
  try {
    const answer = await fetch(live.dataset.live, { signal: AbortSignal.timeout(period * 2) });
    if (!answer.ok) throw new Error(answer.status);
    const html = await answer.text();
    if (!busy()) {
      const open = openDetails();
      live.innerHTML = html; // escaped by the gateway
      for (const id of open) {
        const d = document.getElementById(id);
        if (d) d.open = true;
      }
    }
    stale.hidden = true;
    document.body.classList.remove("stale");
  } catch {
    // What is old must not look like what is now.
    stale.textContent = stale.dataset.text.replace("{0}", lastUpdate());
    stale.hidden = false;
    document.body.classList.add("stale");
  }
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, period);
}

if (live && live.dataset.live) {
  setTimeout(loop, period);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

const print = document.getElementById("print");
if (print) print.addEventListener("click", () => window.print());

// A recording is decoded in place, so that the token has to be typed once. What is
// scrubbed is a download, which leaves the page as it is.
const bench = document.getElementById("bench");
if (bench) bench.addEventListener("submit", async (e) => {
  if (!e.submitter || e.submitter.value !== "decode") return;
  e.preventDefault();
  const data = new FormData(bench, e.submitter);
  const decoded = document.getElementById("decoded");
  decoded.replaceChildren();
  try {
    const answer = await fetch(bench.action, { method: "POST", body: data });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    decoded.replaceWith(page.getElementById("decoded")); // escaped by the gateway
  } catch {
    bench.submit(); // the browser says what is wrong
  }
});
