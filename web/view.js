// What a turn looks like: question, answer, sources, feedback; the source of a citation; a conversation as Markdown.
// Everything that arrives is shown as text nodes; nothing becomes markup, and nothing is fetched from elsewhere.
"use strict";

const at = (id) => document.getElementById(id);

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// An element that says a phrase of words.js, also after the language was changed.
function phrase(name, className, key, value) {
  const e = element(name, className, t(key, value));
  e.dataset.text = key;
  if (value !== undefined) e.dataset.value = value;
  return e;
}

const shapes = { // of 24 by 24, drawn as lines
  menu: "M4 7h16M4 12h16M4 17h16", plus: "M12 5v14M5 12h14", close: "M6 6l12 12M18 6L6 18",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5", save: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M9 9h10v11H9zM6 15H5V4h10v2", lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  good: "M4 11h3v9H4zM7 11l4-7c1.5 0 2.5 1 2.5 2.5L13 10h6l-1.5 10H7",
  bad: "M4 13h3V4H4zM7 13l4 7c1.5 0 2.5-1 2.5-2.5L13 14h6L17.5 4H7",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", shapes[name]);
  svg.append(path);
  return svg;
}

// A button that shows a shape and is named by a phrase.
function dress(button, shape, key, shown) {
  button.replaceChildren(icon(shape));
  button.type = "button";
  if (shown) {
    button.append(phrase("span", "", key));
  } else {
    button.dataset.name = key;
    button.title = button.ariaLabel = t(key);
  }
  return button;
}

const clock = (ms, options) => new Date(ms).toLocaleString(language === "ja" ? "ja-JP" : "en-GB", options);

// --- a turn ---

function newTurn(question) {
  const root = element("article", "turn");
  root.append(element("div", "asked", question));
  const columns = element("div", "columns");
  const main = element("div", "main-column");
  const answer = element("div", "answer card");
  const text = element("div", "text");
  const state = element("p", "state");
  const side = element("aside", "side");
  answer.append(text, state);
  main.append(answer);
  columns.append(main, side);
  root.append(columns);
  at("turns").append(root);
  return { root, main, answer, text, state, side, question, said: [], cited: new Map(), listed: false };
}

function setState(turn, key) {
  turn.state.replaceChildren(...(key ? [phrase("span", "", key)] : []));
  turn.answer.classList.toggle("waiting", Boolean(key));
}

const placeOf = (c) => [c.context, c.page ? c.page + " " + t("page") : ""].filter(Boolean).join(" ・ ");

function sourceItem(c) {
  const item = element("li");
  item.dataset.n = String(c.n);
  const button = element("button");
  button.type = "button";
  const head = element("span", "title");
  head.append(element("span", "number", String(c.n)), element("span", "", c.title || ""));
  button.append(head);
  if (placeOf(c)) button.append(element("span", "place", placeOf(c)));
  if (c.quote) button.append(element("span", "quote", c.quote));
  button.addEventListener("click", () => openSource(c));
  item.append(button);
  return item;
}

function showEvidence(list, turn) {
  turn.side.replaceChildren();
  turn.listed = true;
  turn.side.append(phrase("h2", "", "evidence"));
  if (!list.length) {
    turn.side.append(phrase("p", "quiet", "noEvidence"));
    return;
  }
  const items = element("ul", "evidence");
  items.append(...list.map(sourceItem));
  turn.side.append(items);
}

// What was cited stays; the candidates that were not step back behind a button.
function settleEvidence(turn) {
  const items = [...turn.side.querySelectorAll(".evidence li")];
  const spare = items.filter((item) => !turn.cited.has(Number(item.dataset.n)));
  if (!turn.cited.size || !spare.length) return;
  for (const item of spare) item.hidden = true;
  const button = phrase("button", "bare", "moreEvidence", String(spare.length));
  button.type = "button";
  button.ariaExpanded = "false";
  button.addEventListener("click", () => {
    const open = button.ariaExpanded !== "true";
    for (const item of spare) item.hidden = !open;
    button.ariaExpanded = String(open);
    button.dataset.text = open ? "lessEvidence" : "moreEvidence";
    button.textContent = t(button.dataset.text, button.dataset.value);
  });
  turn.side.append(button);
}

function cite(c, turn) {
  const button = element("button", "cite", String(c.n));
  button.type = "button";
  button.title = [c.title, placeOf(c)].filter(Boolean).join(" ・ ");
  button.ariaLabel = t("evidence") + " " + c.n + ": " + button.title;
  button.addEventListener("click", () => openSource(c));
  const item = turn.side.querySelector('li[data-n="' + Number(c.n) + '"]');
  if (item) item.classList.add("cited");
  turn.cited.set(Number(c.n), c);
  return button;
}

// The last characters of a text hold fast to the marks behind it: no line begins with a mark.
function appendCited(p, text, citations, turn) {
  if (!citations.length) {
    p.append(text);
    return;
  }
  const cut = Math.max(0, [...text].slice(0, -2).join("").length);
  const hold = element("span", "hold", text.slice(cut));
  hold.append(...citations.map((c) => cite(c, turn)));
  p.append(text.slice(0, cut), hold);
}

// Text with [n] in it, each n that was cited made a button; citations that the text does not spell come behind it.
function addSentence(text, citations, turn) {
  const byNumber = new Map(citations.map((c) => [Number(c.n), c]));
  const p = element("p");
  let from = 0;
  text = text.trim();
  turn.said.push({ text, citations });
  for (const match of text.matchAll(/\[(\d{1,3})\]/g)) {
    const c = byNumber.get(Number(match[1]));
    if (!c) continue;
    appendCited(p, text.slice(from, match.index), [c], turn);
    byNumber.delete(Number(match[1]));
    from = match.index + match[0].length;
  }
  appendCited(p, text.slice(from), [...byNumber.values()], turn);
  turn.text.append(p);
}

function addWithheld(turn) {
  const p = element("p", "withheld");
  const before = turn.said[turn.said.length - 1];
  p.append(icon("lock"), phrase("span", "", "withheld"));
  turn.said.push({ withheld: true });
  if (!before || !before.withheld) turn.text.append(p); // several in a row are told of once
}

function addNotice(turn, className, key, more) {
  const box = element("div", "notice " + className);
  box.append(phrase("p", "lead", key));
  if (more) box.append(typeof more === "string" ? element("p", "", more) : more);
  turn.text.append(box);
}

// How it ended; `kept`: the answer's message, on which feedback may be given.
function endTurn(turn, outcome, kept, given) {
  turn.root.dataset.outcome = outcome;
  setState(turn, null);
  if (outcome === "not_found") {
    turn.text.replaceChildren();
    const near = turn.side.querySelector(".evidence") !== null;
    addNotice(turn, "calm", "notFound", phrase("p", "", near ? "nearHelp" : "notFoundHelp"));
    if (near) turn.side.querySelector("h2").replaceWith(phrase("h2", "", "near"));
  } else if (outcome === "extracted" && turn.said.some((s) => s.text)) {
    turn.text.append(phrase("p", "quiet", "extracted"));
  } else if (outcome === "failed" && !turn.told) {
    turn.text.append(phrase("p", "quiet", "broken"));
  }
  settleEvidence(turn);
  if (turn.unkept) turn.text.append(phrase("p", "quiet", "unkept"));
  turn.answer.append(tools(turn, kept, given));
}

// --- what one can do with an answer ---

function tools(turn, kept, given) {
  const bar = element("div", "tools");
  const status = element("span", "quiet");
  status.setAttribute("role", "status");
  const say = (key) => status.replaceChildren(phrase("span", "", key));
  const copy = dress(element("button", "bare"), "copy", "copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(turn.said.map((s) => s.text || "").join("\n"));
    say("copied");
  });
  if (kept) {
    let value = given ? given.value : 0;
    const buttons = [["good", 1], ["bad", -1]].map(([name, worth]) => {
      const button = dress(element("button", "bare thumb " + name), name, name);
      button.addEventListener("click", async () => {
        const next = value === worth ? 0 : worth;
        turn.answer.querySelector(".feedback")?.remove();
        if (!(await sendFeedback(kept, { value: next }))) {
          say("feedbackFailed");
          return;
        }
        value = next;
        press();
        say(next === 0 ? "takenBack" : "thanks");
        if (next === -1) turn.answer.append(whyForm(kept, say));
      });
      return [button, worth];
    });
    const press = () => buttons.forEach(([button, worth]) => { button.ariaPressed = String(value === worth); });
    press();
    bar.append(...buttons.map(([button]) => button));
  }
  if (turn.said.some((s) => s.text)) bar.append(copy);
  bar.append(status);
  return bar;
}

async function sendFeedback(message, body) {
  try {
    return (await call("POST", "/v1/messages/" + encodeURIComponent(message) + "/feedback", body)).ok;
  } catch {
    return false;
  }
}

function whyForm(message, say) {
  const form = element("form", "feedback");
  const fields = element("fieldset");
  fields.append(phrase("legend", "", "why"));
  for (const reason of ["wrong", "incomplete", "citation", "not_found", "other"]) {
    const label = element("label", "choice");
    const radio = element("input");
    radio.type = "radio";
    radio.name = "reason";
    radio.value = reason;
    label.append(radio, phrase("span", "", "why_" + reason));
    fields.append(label);
  }
  const comment = element("textarea");
  comment.rows = 2;
  comment.maxLength = 600;
  comment.dataset.hint = "comment";
  comment.placeholder = comment.ariaLabel = t("comment");
  const share = element("label", "choice share");
  const box = element("input");
  box.type = "checkbox";
  share.append(box, phrase("span", "", "share"));
  const row = element("div", "row");
  const cancel = phrase("button", "plain", "cancel");
  cancel.type = "button";
  cancel.addEventListener("click", () => form.remove());
  const send = phrase("button", "main", "sendFeedback");
  send.type = "submit";
  row.append(share, cancel, send);
  form.append(fields, comment, row);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reason = form.querySelector("input[name=reason]:checked");
    const sent = await sendFeedback(message, {
      value: -1, reason: reason ? reason.value : "", comment: comment.value.trim(), share: box.checked,
    });
    say(sent ? "thanks" : "feedbackFailed");
    if (sent) form.remove();
  });
  return form;
}

// --- a turn that was kept ---

function showKept(question, answer) {
  const turn = newTurn(question.text);
  turn.asked = question.created;
  if (!answer) {
    endTurn(turn, "failed");
    return turn;
  }
  const sources = new Map(); // a passage may be cited by several sentences, each with its own words
  for (const s of answer.sentences) {
    for (const c of s.citations || []) {
      const known = sources.get(c.n);
      if (!known) sources.set(c.n, { ...c });
      else if (c.quote && !(known.quote || "").includes(c.quote)) known.quote = [known.quote, c.quote].filter(Boolean).join("\n");
    }
  }
  if (sources.size) showEvidence([...sources.values()].sort((a, b) => a.n - b.n), turn);
  for (const s of answer.sentences) {
    if (s.withheld) addWithheld(turn);
    else addSentence(s.text, s.citations || [], turn);
  }
  endTurn(turn, answer.outcome, answer.id, answer.feedback);
  return turn;
}

// --- the source of a citation ---

async function openSource(c) {
  at("source-title").textContent = c.title || "";
  at("source-place").textContent = placeOf(c);
  at("source-text").replaceChildren(phrase("p", "quiet", "loading"));
  if (!at("source").open) at("source").showModal();
  const query = new URLSearchParams({ version: c.version, start: c.start, end: c.end });
  let source;
  try {
    const response = await call("GET", "/v1/documents/" + encodeURIComponent(c.document) + "/source?" + query);
    if (!response.ok) throw new Error();
    source = await response.json();
  } catch {
    at("source-text").replaceChildren(phrase("p", "error", "sourceFailed"));
    return;
  }
  showText(source);
  at("source-text").querySelector("mark")?.scrollIntoView({ block: "center" });
  at("source-text").focus({ preventScroll: true });
}

// Lines as they stand, those with tabs in them as the rows of a table, the cited range marked in both.
function showText(source) {
  // Offsets are bytes of UTF-8, counted from the beginning of the whole text; what is cut is cut at characters.
  const bytes = new TextEncoder().encode(source.text);
  const lengthOf = (end) => new TextDecoder().decode(bytes.subarray(0, end - source.text_start)).length;
  const from = lengthOf(source.start), to = lengthOf(source.end);
  const put = (parent, start, end) => {
    const a = Math.min(Math.max(from, start), end), b = Math.min(Math.max(to, start), end);
    parent.append(source.text.slice(start, a));
    if (a < b) parent.append(element("mark", "", source.text.slice(a, b)));
    parent.append(source.text.slice(b, end));
  };
  const paper = at("source-text");
  paper.replaceChildren(source.text_start > 0 ? "…" : "");
  let table = null, start = 0;
  for (const line of source.text.split("\n")) {
    const end = start + line.length;
    if (line.includes("\t")) {
      table = table || paper.appendChild(element("table")).appendChild(element("tbody"));
      const row = table.appendChild(element("tr"));
      for (const cell of line.split("\t")) {
        put(row.appendChild(element("td")), start, start + cell.length);
        start += cell.length + 1;
      }
    } else {
      table = null;
      put(paper, start, Math.min(end + 1, source.text.length));
    }
    start = end + 1;
  }
  if (source.text_start + bytes.length < source.length) paper.append("…");
}

// --- a conversation as Markdown ---

const plainMarkdown = (text) => text.replace(/[\\`*_{}[\]<>#|~]/g, "\\$&");
const quoted = (text) => plainMarkdown(text).split("\n").map((line) => "> " + line).join("\n");

function markdownOf(title, messages) {
  const time = { dateStyle: "medium", timeStyle: "short" };
  const out = ["# " + plainMarkdown(title), "", t("exported") + ": " + clock(Date.now(), time), ""];
  for (const m of messages) {
    out.push("## " + t(m.role === "user" ? "asked" : "answered") + " (" + clock(m.created, time) + ")", "");
    if (m.role === "user") {
      out.push(quoted(m.text), "");
      continue;
    }
    const sources = new Map();
    if (m.outcome === "not_found") out.push(t("notFound"), "");
    for (const s of m.sentences) {
      out.push(s.withheld ? "*" + t("withheld") + "*" : plainMarkdown(s.text.trim()), "");
      for (const c of s.citations || []) sources.set([c.n, c.version, c.start, c.end].join(), c);
    }
    for (const c of [...sources.values()].sort((a, b) => a.n - b.n || a.start - b.start)) {
      out.push("- \\[" + c.n + "\\] " + plainMarkdown([c.title, placeOf(c)].filter(Boolean).join(" ・ ")) +
        " (`" + c.document + "`, " + t("version") + " `" + c.version + "`, " + c.start + "–" + c.end + ")");
      if (c.quote) out.push(quoted(c.quote).replace(/^/gm, "  "));
    }
    if (sources.size) out.push("");
  }
  return out.join("\n");
}

function download(name, text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown;charset=utf-8" }));
  link.download = name.replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_").slice(0, 60) + ".md";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
