// The employees' page: sign in, ask, evidence first, the answer as it comes, each citation opens its source.
// Everything that arrives is shown as text nodes; nothing becomes markup, and nothing is fetched from elsewhere.
"use strict";

const words = {
  ja: {
    signInTitle: "サインイン", signInHelp: "管理者から受け取ったサインイン用リンクを開くか、APIトークンを入力してください。",
    token: "APIトークン", signIn: "サインイン", signOut: "サインアウト",
    signInRefused: "サインインできませんでした。リンクは10分間、一度だけ有効です。",
    question: "質問", questionHint: "例: 出張の日当はいくらですか", keys: "Enter で送信、Shift+Enter で改行", ask: "質問する", stop: "止める",
    evidence: "根拠となる資料", noEvidence: "閲覧できる資料の中に、該当する箇所は見つかりませんでした。", close: "閉じる",
    stopped: "（途中で止めました）", failed: "回答できませんでした: ", lost: "通信が切れました。もう一度お試しください。",
    page: "ページ", sourceFailed: "資料を開けませんでした。", extracted: "資料からの抜粋です。", other: "English",
  },
  en: {
    signInTitle: "Sign in", signInHelp: "Open the sign-in link that your administrator gave you, or enter an API token.",
    token: "API token", signIn: "Sign in", signOut: "Sign out",
    signInRefused: "Signing in failed. A link works once, within 10 minutes.",
    question: "Question", questionHint: "e.g. 出張の日当はいくらですか", keys: "Enter sends, Shift+Enter makes a new line", ask: "Ask", stop: "Stop",
    evidence: "Evidence", noEvidence: "Nothing in the documents that you may read matches.", close: "Close",
    stopped: "(stopped)", failed: "No answer: ", lost: "The connection was lost. Please try again.",
    page: "page", sourceFailed: "The source cannot be opened.", extracted: "Sentences taken from the documents.", other: "日本語",
  },
};

const at = (id) => document.getElementById(id);
let language = localStorage.getItem("language") || (navigator.language.startsWith("ja") ? "ja" : "en");
let running = null; // AbortController of the answer that streams
const t = (key) => words[language][key];

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function translate() {
  document.documentElement.lang = language;
  for (const e of document.querySelectorAll("[data-text]")) e.textContent = t(e.dataset.text);
  for (const e of document.querySelectorAll("[data-hint]")) e.placeholder = t(e.dataset.hint);
  at("language").textContent = t("other");
  at("sign-out").textContent = t("signOut");
}

function show(room) {
  at("sign-in").hidden = room !== "sign-in";
  at("room").hidden = room !== "room";
  at("sign-out").hidden = room !== "room";
  (room === "room" ? at("question") : at("token")).focus();
}

async function call(method, path, body, credential) {
  const headers = { "Accept-Language": language };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (credential) headers.Authorization = "Bearer " + credential;
  return fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
  });
}

async function reasonOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return String(response.status);
  }
}

// --- signing in ---

async function signIn(credential) {
  at("sign-in-error").textContent = "";
  let response;
  try {
    // A page at /t/NAME knows its tenant by the path; elsewhere the credential's public tag leads there.
    const place = location.pathname.match(/^\/t\/[a-z0-9-]+/);
    const body = credential.startsWith("hsc_") ? { code: credential } : { token: credential };
    response = await call("POST", (place ? place[0] : "") + "/v1/session", body, place ? undefined : credential);
  } catch {
    at("sign-in-error").textContent = t("lost");
    return;
  }
  if (!response.ok) {
    at("sign-in-error").textContent = t("signInRefused");
    return;
  }
  await enter();
}

async function enter() {
  let response;
  try {
    response = await call("GET", "/v1/me");
  } catch {
    show("sign-in");
    return;
  }
  if (!response.ok) {
    show("sign-in");
    return;
  }
  const me = await response.json();
  at("who").textContent = [me.tenant, me.display || me.name].filter(Boolean).join(" / ");
  show("room");
}

async function signOut() {
  if (running) running.abort();
  try {
    await call("DELETE", "/v1/session");
  } catch { /* the session ends by itself after 30 minutes */ }
  at("turns").replaceChildren(); // nothing of the last person stays on the screen
  at("who").textContent = "";
  show("sign-in");
}

// --- asking ---

function cited(c, turn) {
  const button = element("button", "cite", "[" + c.n + "]");
  button.type = "button";
  button.title = [c.title, c.context].filter(Boolean).join(" - ");
  button.addEventListener("click", () => openSource(c));
  const item = turn.evidence.querySelector('li[data-n="' + Number(c.n) + '"]');
  if (item) item.classList.add("cited");
  return button;
}

function showEvidence(list, turn) {
  turn.evidence.replaceChildren();
  turn.evidence.append(element("li", "quiet", list.length ? t("evidence") : t("noEvidence")));
  for (const c of list) {
    const item = element("li");
    item.dataset.n = String(c.n);
    const button = element("button");
    button.type = "button";
    button.append(element("div", "title", "[" + c.n + "] " + [c.title, c.context].filter(Boolean).join(" - ") +
      (c.page ? " (" + c.page + " " + t("page") + ")" : "")));
    button.append(element("div", "quote", c.quote || ""));
    button.addEventListener("click", () => openSource(c));
    item.append(button);
    turn.evidence.append(item);
  }
}

function newTurn(question) {
  const root = element("article", "turn");
  root.append(element("div", "asked", question));
  const columns = element("div", "columns");
  const answer = element("div", "answer card waiting");
  const evidence = element("ul", "evidence");
  columns.append(answer, evidence);
  root.append(columns);
  at("turns").append(root);
  root.scrollIntoView({ block: "end" });
  return { root, answer, evidence };
}

// Text with [n] in it, each n that was cited made a button; citations that the text does not spell come behind it.
function addSentence(text, citations, turn) {
  const byNumber = new Map(citations.map((c) => [Number(c.n), c]));
  let from = 0;
  for (const match of text.matchAll(/\[(\d{1,3})\]/g)) {
    const c = byNumber.get(Number(match[1]));
    if (!c) continue;
    turn.answer.append(text.slice(from, match.index), cited(c, turn));
    byNumber.delete(Number(match[1]));
    from = match.index + match[0].length;
  }
  turn.answer.append(text.slice(from));
  for (const c of byNumber.values()) turn.answer.append(cited(c, turn));
}

function takeEvent(event, turn) {
  if (event.error) throw new Error(event.error.message);
  const more = event.hisho || {};
  if (more.evidence) showEvidence(more.evidence, turn);
  const delta = event.choices && event.choices[0] && event.choices[0].delta;
  if (delta && delta.content) addSentence(delta.content, more.citations || [], turn);
  if (more.outcome === "extracted") turn.answer.append(element("div", "quiet", t("extracted")));
  if (more.outcome) turn.root.dataset.outcome = more.outcome;
}

async function ask(question) {
  const turn = newTurn(question);
  running = new AbortController();
  at("send").disabled = true;
  at("stop").hidden = false;
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", signal: running.signal,
      headers: { "Content-Type": "application/json", "Accept-Language": language },
      body: JSON.stringify({ model: "hisho", stream: true, messages: [...earlier(turn.root), { role: "user", content: question }] }),
    });
    if (response.status === 401) {
      show("sign-in");
      return;
    }
    if (!response.ok) throw new Error(await reasonOf(response));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data: ") && line !== "data: [DONE]") takeEvent(JSON.parse(line.slice(6)), turn);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") turn.answer.append(element("div", "quiet", t("stopped")));
    else turn.answer.append(element("div", "error", t("failed") + (error instanceof TypeError ? t("lost") : error.message)));
  } finally {
    turn.answer.classList.remove("waiting");
    at("send").disabled = false;
    at("stop").hidden = true;
    running = null;
  }
}

// The turn before: the server joins it to a question that refers back.
function earlier(current) {
  const last = current.previousElementSibling;
  if (!last) return [];
  return [
    { role: "user", content: last.querySelector(".asked").textContent },
    { role: "assistant", content: last.querySelector(".answer").textContent || "-" },
  ];
}

// --- the source of a citation ---

async function openSource(c) {
  at("source-title").textContent = c.title || "";
  at("source-place").textContent = [c.context, c.page ? c.page + " " + t("page") : ""].filter(Boolean).join(" - ");
  at("source-text").replaceChildren();
  if (!at("source").open) at("source").showModal();
  const query = new URLSearchParams({ version: c.version, start: c.start, end: c.end });
  let source;
  try {
    const response = await call("GET", "/v1/documents/" + encodeURIComponent(c.document) + "/source?" + query);
    if (!response.ok) throw new Error();
    source = await response.json();
  } catch {
    at("source-text").append(element("span", "error", t("sourceFailed")));
    return;
  }
  // Offsets are bytes of UTF-8, counted from the beginning of the whole text.
  const bytes = new TextEncoder().encode(source.text);
  const part = (from, to) => new TextDecoder().decode(bytes.subarray(from - source.text_start, to - source.text_start));
  const mark = element("mark", "", part(source.start, source.end));
  at("source-text").append(part(source.text_start, source.start), mark, part(source.end, source.text_start + bytes.length));
  mark.scrollIntoView({ block: "center" });
}

// --- what the reader does ---

at("language").addEventListener("click", () => {
  language = language === "ja" ? "en" : "ja";
  localStorage.setItem("language", language);
  translate();
});
at("sign-out").addEventListener("click", signOut);
at("stop").addEventListener("click", () => running && running.abort());
at("source-close").addEventListener("click", () => at("source").close());
at("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const credential = at("token").value.trim();
  at("token").value = "";
  signIn(credential);
});
at("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = at("question").value.trim();
  if (!question || running) return;
  at("question").value = "";
  ask(question);
});
at("question").addEventListener("keydown", (event) => {
  // The Enter that confirms a conversion belongs to the input method (keyCode 229 where isComposing came too early).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  at("ask-form").requestSubmit();
});

// A sign-in link carries its code in the fragment; it may also be opened while the page is there already.
function arrive() {
  if (location.hash.length <= 1) return false;
  const code = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname); // a code is used once and does not stay in the history
  show("sign-in");
  signIn(code);
  return true;
}

window.addEventListener("hashchange", arrive);
translate();
if (!arrive()) enter();
