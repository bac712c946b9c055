// The employees' page: sign in, ask, evidence first, the answer as it comes; earlier conversations, opened, saved, deleted.
"use strict";

let running = null;      // AbortController of the answer that streams
let conversation = null; // id of the one on the desk; null: the next question begins one
let listed = null;       // the list of conversations, as far as it was loaded; null: not yet
let shownList = "";      // what of it is on the screen: it is not drawn anew under somebody's fingers
let person = 0;          // rises whenever somebody leaves: what was asked for them is shown to nobody else
let visit = 0;           // rises whenever the desk is given to something else: late answers of the server find it taken

async function call(method, path, body, credential) {
  const headers = { "Accept-Language": language };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (credential) headers.Authorization = "Bearer " + credential;
  const response = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
  });
  if (response.status === 401 && !credential && !path.endsWith("/v1/session") && !at("room").hidden) leave("signedOut");
  return response;
}

async function reasonOf(response) {
  if (response.status === 403) return t("denied");
  try {
    return (await response.json()).error.message;
  } catch {
    return String(response.status);
  }
}

// --- signing in ---

function show(room) {
  at("sign-in").hidden = room !== "sign-in";
  for (const id of ["room", "sign-out", "menu", "skip"]) at(id).hidden = room !== "room";
  (room === "room" ? at("question") : at("token")).focus();
}

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
  let me;
  try {
    const response = await call("GET", "/v1/me");
    if (!response.ok) throw new Error();
    me = await response.json();
  } catch {
    show("sign-in");
    return;
  }
  at("who").textContent = [me.tenant, me.display || me.name].filter(Boolean).join(" / ");
  show("room");
  showRecent();
  loadConversations();
  const wanted = location.hash.slice(1);
  if (wanted.startsWith("cnv_")) openConversation(wanted, false);
  else clearDesk();
}

// Nothing of the person who was here stays on the screen.
function leave(key) {
  person++;
  if (running) running.abort();
  listed = null;
  clearDesk();
  at("recent-list").replaceChildren();
  at("who").textContent = "";
  at("question").value = "";
  for (const dialog of [at("source"), at("sure")]) if (dialog.open) dialog.close();
  for (const id of ["source-title", "source-place", "source-text", "sure-what"]) at(id).replaceChildren();
  setDrawer(false);
  history.replaceState(null, "", location.pathname);
  show("sign-in");
  at("sign-in-error").textContent = key ? t(key) : "";
}

async function signOut() {
  try {
    await call("DELETE", "/v1/session");
  } catch { /* the session ends by itself after 30 minutes */ }
  leave();
}

// --- the list of conversations ---

function setDrawer(open) {
  document.body.classList.toggle("drawer", open);
  at("menu").ariaExpanded = String(open);
  at("shade").hidden = !open;
  at("desk").inert = open;
  if (open) at("fresh").focus();
}

function dayOf(ms) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  return ms >= midnight ? "today" : ms >= midnight - 864e5 ? "yesterday" : ms >= midnight - 7 * 864e5 ? "week" : "before";
}

function showList() {
  const wanted = JSON.stringify([language, conversation, listed && listed.map((c) => [c.id, c.title, dayOf(c.updated)])]);
  if (wanted === shownList) return;
  shownList = wanted;
  let day = null, items;
  at("conversations").replaceChildren();
  for (const c of listed || []) {
    if (dayOf(c.updated) !== day) {
      day = dayOf(c.updated);
      items = element("ul");
      at("conversations").append(phrase("h3", "", day), items);
    }
    const item = element("li");
    const button = element("button", "", c.title);
    button.type = "button";
    button.title = c.title;
    if (c.id === conversation) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => openConversation(c.id, true));
    item.append(button);
    items.append(item);
  }
  at("history-state").replaceChildren(...(listed && listed.length ? [] : [phrase("span", "", listed ? "noHistory" : "loading")]));
}

async function loadConversations(more) {
  const mine = person;
  const after = more && listed && listed.length ? "&after=" + encodeURIComponent(listed[listed.length - 1].id) : "";
  try {
    const response = await call("GET", "/v1/conversations?limit=40" + after);
    if (!response.ok) throw new Error();
    const page = await response.json();
    if (mine !== person) return;
    listed = more && listed ? listed.concat(page.data) : page.data;
    at("older-conversations").hidden = !page.more;
    showList();
  } catch {
    if (mine !== person) return;
    shownList = "";
    at("history-state").replaceChildren(phrase("span", "error", "historyFailed"));
  }
}

async function showRecent() {
  const mine = person;
  try {
    const response = await call("GET", "/v1/documents?limit=6");
    const titles = response.ok ? (await response.json()).data : [];
    if (mine !== person) return;
    at("recent-list").replaceChildren(...titles.filter((d) => d.title).map((d) => {
      const item = element("li");
      const button = element("button", "plain", d.title);
      button.type = "button";
      button.addEventListener("click", () => {
        at("question").value = t("about", d.title);
        at("question").focus();
      });
      item.append(button);
      return item;
    }));
    at("recent").hidden = !titles.length;
  } catch {
    at("recent").hidden = true; // one may ask all the same
  }
}

// --- the desk ---

function clearDesk() {
  visit++;
  setConversation(null);
  at("turns").replaceChildren();
  at("talk-title").textContent = "";
  at("earlier").hidden = at("talk-head").hidden = true;
  at("welcome").hidden = false;
  setHint();
}

function setHint() {
  at("question").dataset.hint = at("turns").querySelector(".turn") ? "followHint" : "questionHint";
  at("question").placeholder = t(at("question").dataset.hint);
}

// Only what is kept can be saved or deleted.
function setConversation(id) {
  conversation = id;
  showList();
  at("export").hidden = at("delete").hidden = !id;
}

function beginTalk(title) {
  at("welcome").hidden = true;
  at("talk-head").hidden = false;
  at("talk-title").textContent = title;
}

function freshConversation() {
  if (running) running.abort();
  clearDesk();
  setDrawer(false);
  history.pushState(null, "", location.pathname);
  at("question").focus();
}

// Questions and answers alternate; a question whose answer was never kept stands alone. A page that begins with an answer leaves
// it to the page before, where its question is.
function showMessages(messages) {
  const turns = [];
  at("turns").ariaLive = "off"; // nobody wants the whole of it read out
  messages.forEach((m, i) => {
    const next = messages[i + 1];
    if (m.role === "user") turns.push(showKept(m, next && next.role === "assistant" ? next : null));
  });
  return turns;
}

async function openConversation(id, remember) {
  if (running) running.abort();
  clearDesk();
  setDrawer(false);
  const mine = visit;
  at("welcome").hidden = true;
  at("turns").append(phrase("p", "quiet loading", "loading"));
  let page = null, why = t("lost");
  try {
    const response = await readPage(id);
    if (response.ok) page = await response.json();
    else why = response.status === 404 ? t("gone") : await reasonOf(response);
  } catch { /* why says so */ }
  if (mine !== visit) return;
  at("turns").replaceChildren();
  if (!page) {
    at("turns").append(element("div", "notice bad", why));
    history.replaceState(null, "", location.pathname);
    return;
  }
  setConversation(id);
  beginTalk(page.title);
  if (remember) history.pushState(null, "", "#" + id);
  showMessages(page.data);
  offerEarlier(page);
  setHint();
  at("turns").lastElementChild?.scrollIntoView({ block: "start" });
  at("question").focus({ preventScroll: true });
}

// The messages of a conversation before one of them, or its last ones.
function readPage(id, before) {
  return call("GET", "/v1/conversations/" + encodeURIComponent(id) + (before ? "?before=" + encodeURIComponent(before) : ""));
}

function offerEarlier(page) {
  const first = page.data.findIndex((m) => m.role === "user");
  at("earlier").hidden = !page.more;
  at("earlier").dataset.before = first >= 0 ? page.data[first].id : "";
}

async function showEarlier() {
  const mine = visit, first = at("turns").firstElementChild;
  const response = await readPage(conversation, at("earlier").dataset.before).catch(() => null);
  if (mine !== visit || !response || !response.ok) return;
  const page = await response.json();
  if (mine !== visit) return;
  for (const turn of showMessages(page.data)) at("turns").insertBefore(turn.root, first);
  offerEarlier(page);
}

async function exportConversation() {
  const id = conversation, mine = person;
  let messages = [], before = "", page;
  try {
    do {
      const response = await readPage(id, before);
      if (!response.ok) throw new Error(await reasonOf(response));
      page = await response.json();
      messages = page.data.concat(messages);
      before = page.data.length ? page.data[0].id : "";
    } while (page.more);
  } catch (error) {
    at("turns").append(element("div", "notice bad", error instanceof TypeError ? t("lost") : error.message));
    return;
  }
  if (mine === person) download(page.title, markdownOf(page.title, messages));
}

function askToDelete() {
  at("sure-what").textContent = at("talk-title").textContent;
  at("sure").returnValue = "no";
  at("sure").showModal();
}

async function deleteConversation() {
  const id = conversation;
  const response = await call("DELETE", "/v1/conversations/" + encodeURIComponent(id)).catch(() => null);
  if (!response || (!response.ok && response.status !== 404)) {
    at("turns").append(element("div", "notice bad", response ? await reasonOf(response) : t("lost")));
    return;
  }
  listed = listed && listed.filter((c) => c.id !== id);
  if (conversation === id) freshConversation();
  showList();
}

// --- asking ---

function takeEvent(event, turn) {
  if (turn.visit !== visit) return; // the desk was given to another conversation
  const atEnd = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 120;
  if (event.error) throw new Error(event.error.message);
  const more = event.hisho || {};
  if (more.evidence) {
    showEvidence(more.evidence, turn);
    setState(turn, "reading");
    turn.kept = more.message;
    turn.unkept = !more.conversation;
    if (more.conversation && more.conversation !== conversation) {
      if (listed) listed.unshift({ id: more.conversation, title: turn.question, updated: Date.now() }); // it is kept when it ends
      setConversation(more.conversation);
      history.pushState(null, "", "#" + conversation);
    }
  }
  const delta = event.choices && event.choices[0] && event.choices[0].delta;
  if (delta && delta.content && more.citations) {
    setState(turn, "writing");
    addSentence(delta.content, more.citations, turn);
  }
  if (more.outcome) endTurn(turn, more.outcome, turn.kept);
  if (atEnd) turn.root.scrollIntoView({ block: "nearest" }); // who reads further up is left where they are
}

async function readEvents(response, turn) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") takeEvent(JSON.parse(line.slice(6)), turn);
    }
  }
}

function failTurn(turn, error) {
  if (turn.root.dataset.outcome) return;
  turn.told = true;
  if (error.name === "AbortError") {
    turn.text.append(phrase("p", "quiet", "stopped"));
  } else {
    addNotice(turn, "bad", "failed", error instanceof TypeError ? t("lost") : error.message);
    const again = phrase("button", "plain", "again");
    again.type = "button";
    again.addEventListener("click", () => {
      if (running) return;
      turn.root.remove();
      ask(turn.question);
    });
    turn.text.append(again);
  }
  endTurn(turn, "failed", null);
}

async function ask(question) {
  at("turns").ariaLive = "polite";
  if (!at("turns").querySelector(".turn")) {
    at("turns").replaceChildren();
    beginTalk(question);
  }
  const turn = newTurn(question);
  turn.visit = visit;
  turn.root.scrollIntoView({ block: "end" });
  setState(turn, "searching");
  setHint();
  const own = running = new AbortController();
  at("send").hidden = true;
  at("stop").hidden = false;
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", signal: own.signal,
      headers: { "Content-Type": "application/json", "Accept-Language": language },
      body: JSON.stringify({
        model: "hisho", stream: true, messages: [{ role: "user", content: question }],
        hisho: { conversation: conversation || "new" },
      }),
    });
    if (response.status === 401) {
      leave("signedOut");
      return;
    }
    if (!response.ok) throw new Error(await reasonOf(response));
    await readEvents(response, turn);
    if (!turn.root.dataset.outcome) throw new TypeError("no end"); // the connection was cut between two events
  } catch (error) {
    failTurn(turn, error);
  } finally {
    if (running === own) {
      running = null;
      at("send").hidden = false;
      at("stop").hidden = true;
    }
    if (!at("room").hidden) loadConversations();
  }
}

// --- what the reader does ---

function fitQuestion() {
  at("question").style.height = "auto";
  at("question").style.height = Math.min(at("question").scrollHeight + 2, 220) + "px";
}

dress(at("menu"), "menu", "menu");
dress(at("fresh"), "plus", "fresh", true);
dress(at("export"), "save", "exportAs");
dress(at("delete"), "bin", "remove");
dress(at("source-close"), "close", "close");
at("language").addEventListener("click", () => {
  language = language === "ja" ? "en" : "ja";
  localStorage.setItem("language", language);
  translate();
});
at("menu").addEventListener("click", () => setDrawer(at("menu").ariaExpanded !== "true"));
at("shade").addEventListener("click", () => setDrawer(false));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("drawer")) return;
  setDrawer(false);
  at("menu").focus();
});
window.matchMedia("(max-width: 52rem)").addEventListener("change", () => setDrawer(false));
at("fresh").addEventListener("click", freshConversation);
at("older-conversations").addEventListener("click", () => loadConversations(true));
at("earlier").addEventListener("click", showEarlier);
at("export").addEventListener("click", exportConversation);
at("delete").addEventListener("click", askToDelete);
at("sure").addEventListener("close", () => at("sure").returnValue === "yes" && deleteConversation());
at("sign-out").addEventListener("click", signOut);
at("stop").addEventListener("click", () => running && running.abort());
at("source-close").addEventListener("click", () => at("source").close());
at("source").addEventListener("click", (event) => event.target === at("source") && at("source").close());
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
  fitQuestion();
  ask(question);
});
at("question").addEventListener("input", fitQuestion);
at("question").addEventListener("keydown", (event) => {
  // The Enter that confirms a conversion belongs to the input method (keyCode 229 where isComposing came too early).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  at("ask-form").requestSubmit();
});

// A sign-in link carries its code in the fragment; it may also be opened while the page is there already.
function arrive() {
  const fragment = decodeURIComponent(location.hash.slice(1));
  if (!fragment || fragment.startsWith("cnv_")) return false;
  history.replaceState(null, "", location.pathname); // a code is used once and does not stay in the history
  show("sign-in");
  signIn(fragment);
  return true;
}

// Going back and forth between conversations, or a link to one.
function follow() {
  if (arrive() || at("room").hidden) return;
  const wanted = location.hash.slice(1);
  if (wanted === (conversation || "")) return;
  if (wanted) openConversation(wanted, false);
  else clearDesk();
}

window.addEventListener("popstate", follow); // of changes of the fragment too
translate();
if (!arrive()) enter();
