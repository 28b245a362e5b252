// Keeps a page true: listens for what has changed and fetches those parts anew. Without it the page works by reload.
"use strict";

(() => {
  const LOST_AFTER_MS = 1500; // a reconnect within this time is nothing to worry a person with
  const RETRY_MS = 5000; // the browser retries by itself, but not after an answer that is no stream
  const SLEEP_AFTER_MS = 60000; // a page nobody looks at does not listen
  const NEW_FOR_MS = 2500;

  const lost = document.getElementById("lost");
  const live = document.getElementById("live");
  const parts = [...document.querySelectorAll("[data-src]")].map((element) => ({
    element,
    src: element.dataset.src,
    on: new Set(element.dataset.on.split(" ")),
    gap: Number(element.dataset.gap || 0),
    text: null,
    at: 0,
    busy: false,
    dirty: false,
  }));
  let source = null;
  let lostTimer = 0;
  let retryTimer = 0;
  let sleepTimer = 0;

  const setLive = (isLive) => {
    clearTimeout(lostTimer);
    live.hidden = !isLive;
    if (isLive) {
      lost.hidden = true;
    } else {
      lostTimer = setTimeout(() => { lost.hidden = false; }, LOST_AFTER_MS);
    }
  };

  // What a person is doing in the part that is replaced: open questions, what is typed there, and where the keyboard is.
  const selector = (element) => element.localName + (element.name ? `[name="${CSS.escape(element.name)}"]` : "");

  const remember = (element) => {
    const active = document.activeElement;
    const holder = element.contains(active) ? active.closest("[id]") : null;
    const typed = [...element.querySelectorAll("details[open][id] input")].filter((input) => input.value !== input.defaultValue);
    return {
      open: [...element.querySelectorAll("details[open][id]")].map((details) => details.id),
      typed: typed.map((input) => ({ id: input.closest("[id]").id, name: selector(input), value: input.value })),
      focus: holder && { id: holder.id, name: selector(active), at: active.selectionStart },
    };
  };

  const restore = ({ open, typed, focus }) => {
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    for (const { id, name, value } of typed) {
      const input = document.getElementById(id)?.querySelector(name);
      if (input) input.value = value;
    }
    const holder = focus && document.getElementById(focus.id);
    if (!holder) return;
    const target = holder.querySelector(focus.name) || holder;
    target.focus({ preventScroll: true });
    if (focus.at !== null && focus.at !== undefined && target.setSelectionRange) target.setSelectionRange(focus.at, focus.at);
  };

  const replace = (element, text) => {
    const known = new Set([...element.querySelectorAll("tr[id]")].map((row) => row.id));
    const state = remember(element);
    const template = document.createElement("template");
    template.innerHTML = text;
    element.replaceChildren(template.content);
    restore(state);
    for (const row of element.querySelectorAll("tr[id]")) {
      if (!known.has(row.id)) {
        row.classList.add("new");
        setTimeout(() => row.classList.remove("new"), NEW_FOR_MS);
      }
    }
  };

  const load = async (part) => {
    const answer = await fetch(part.src, { cache: "no-store", redirect: "error" });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    if (!answer.ok) throw new Error(`${part.src}: ${answer.status}`);
    const text = await answer.text();
    if (text !== part.text) {
      if (part.text !== null || text.trim() !== part.element.innerHTML.trim()) replace(part.element, text);
      part.text = text;
    }
  };

  // One request per part at a time; what changes meanwhile is fetched once more afterwards.
  const refresh = async (part) => {
    part.dirty = true;
    if (part.busy) return;
    part.busy = true;
    try {
      while (part.dirty) {
        const wait = part.at + part.gap - performance.now();
        if (wait > 0) await new Promise((resolve) => { setTimeout(resolve, wait); });
        part.dirty = false;
        part.at = performance.now();
        await load(part);
      }
    } catch {
      setLive(false);
      retryLater();
    } finally {
      part.busy = false;
    }
  };

  const listen = () => {
    clearTimeout(retryTimer);
    if (source) source.close();
    source = new EventSource("/live");
    source.addEventListener("hello", () => {
      setLive(true);
      parts.forEach(refresh); // whatever happened while nobody listened
    });
    source.addEventListener("changed", (event) => {
      const changed = JSON.parse(event.data).parts;
      for (const part of parts) {
        if (changed.some((name) => part.on.has(name))) refresh(part);
      }
    });
    source.addEventListener("error", () => {
      setLive(false);
      if (source.readyState === EventSource.CLOSED) retryLater();
    });
  };

  const retryLater = () => {
    clearTimeout(retryTimer);
    retryTimer = setTimeout(() => {
      fetch(parts[0].src, { cache: "no-store", redirect: "error" })
        .then((answer) => { if (answer.status === 401) location.reload(); else listen(); })
        .catch(retryLater);
    }, RETRY_MS);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(sleepTimer);
    if (document.hidden) {
      sleepTimer = setTimeout(() => { source.close(); clearTimeout(retryTimer); source = null; }, SLEEP_AFTER_MS);
    } else if (source === null) {
      listen();
    }
  });

  // One question at a time, also where the browser does not know <details name>; Escape takes it back.
  document.addEventListener("toggle", (event) => {
    if (!event.target.open || !event.target.matches("details.confirm")) return;
    for (const other of document.querySelectorAll("details.confirm[open]")) {
      if (other !== event.target) other.open = false;
    }
  }, true);
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.querySelector("details.confirm[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  listen();
})();
