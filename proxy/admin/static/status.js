// Refreshes the page in place, every two seconds and as somebody types. Without this script all else works.
"use strict";

(() => {
  const EVERY = 2000; // milliseconds
  const TYPING = 150;
  const form = document.querySelector("form[role=search]");
  const box = document.getElementById("q");
  const stale = document.getElementById("stale");
  let timer = 0;
  let asking = null;
  let shownAt = Date.now();

  function later(pause) {
    clearTimeout(timer);
    timer = setTimeout(refresh, pause);
  }

  // Somebody marks text, to copy it: the page waits for them.
  function selecting() {
    const selection = getSelection();
    const main = document.querySelector("main");
    return !selection.isCollapsed && main.contains(selection.anchorNode);
  }

  function swap(fresh) {
    const from = document.querySelector("main");
    const to = fresh.querySelector("main");
    document.title = fresh.title;
    form.hidden = fresh.querySelector("form[role=search]").hidden;
    for (const open of from.querySelectorAll("details[open]")) {
      to.querySelector(`details[id="${CSS.escape(open.id)}"]`)?.setAttribute("open", "");
    }
    if (from.innerHTML === to.innerHTML) return;
    const focused = from.contains(document.activeElement) ? document.activeElement.id : "";
    from.replaceChildren(...document.importNode(to, true).childNodes);
    if (focused) document.getElementById(focused)?.focus();
  }

  function tell(why, stopped) {
    const seconds = Math.round((Date.now() - shownAt) / 1000);
    if (seconds <= 4) return;
    stale.textContent = `${why} What you see is ${seconds} s old.`;
    document.body.classList.toggle("stopped", stopped);
    if (stopped) document.title = "(stopped) Shop Auth Proxy";
  }

  async function refresh() {
    asking?.abort();
    const mine = (asking = new AbortController());
    const limit = setTimeout(() => mine.abort(), 10000);
    try {
      if (selecting()) tell("The page waits while text is selected.", false);
      else if (!document.hidden) {
        const answer = await fetch("/status" + location.search, {
          headers: { Accept: "text/html" },
          signal: mine.signal,
        });
        if (!answer.ok) throw new Error(answer.statusText);
        const text = await answer.text();
        if (mine !== asking) return;
        swap(new DOMParser().parseFromString(text, "text/html"));
        shownAt = Date.now();
        stale.textContent = "";
        document.body.classList.remove("stopped");
      }
    } catch {
      if (mine !== asking) return;
      tell("The proxy does not answer.", true);
    } finally {
      clearTimeout(limit);
    }
    later(EVERY);
  }

  function find() {
    const query = box.value.trim();
    const wanted = new URLSearchParams(location.search);
    wanted.delete("page");
    if (query) wanted.set("q", query);
    else wanted.delete("q");
    history.replaceState(null, "", wanted.toString() ? "/status?" + wanted : "/status");
    later(TYPING);
  }

  box.addEventListener("input", find);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  document.addEventListener("visibilitychange", () => document.hidden || later(0));
  later(EVERY);
})();
