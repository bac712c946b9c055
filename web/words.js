// What the page says, in each of its languages. Keys are the same in both.
"use strict";

const words = {
  ja: {
    other: "English", skip: "質問欄へ移動", menu: "会話の一覧", close: "閉じる",
    signInTitle: "サインイン", signInHelp: "管理者から受け取ったサインイン用リンクを開くか、APIトークンを入力してください。",
    token: "APIトークン", signIn: "サインイン", signOut: "サインアウト",
    signInRefused: "サインインできませんでした。リンクは10分間、一度だけ有効です。",
    signedOut: "サインインの期限が切れました。もう一度サインインしてください。",
    history: "会話", fresh: "新しい会話", noHistory: "会話はまだありません。質問すると、ここに残ります。",
    historyFailed: "会話の一覧を読み込めませんでした。", more: "さらに表示", today: "今日", yesterday: "昨日", week: "過去7日間", before: "それ以前",
    earlier: "前のやり取りを表示", loading: "読み込んでいます…",
    gone: "この会話はありません。削除されたか、ほかの人のものです。",
    remove: "会話を削除", deleteTitle: "この会話を削除しますか", deleteHelp: "質問と回答は元に戻せません。", deleteYes: "削除する", cancel: "やめる",
    exportAs: "Markdownで保存", exported: "出力日時", asked: "質問", answered: "回答", version: "版",
    welcome: "何をお調べしますか", welcomeHelp: "あなたが閲覧できる資料だけを根拠に、出典を示してお答えします。", recent: "最近更新された資料",
    about: "「{}」について、",
    question: "質問", questionHint: "例: 出張の日当はいくらですか", followHint: "続けて質問する", keys: "Enter で送信、Shift + Enter で改行", ask: "質問する",
    stop: "止める",
    searching: "資料を探しています…", reading: "資料を読んでいます…", writing: "回答を書いています…",
    evidence: "根拠となる資料", noEvidence: "閲覧できる資料の中に、該当する箇所は見つかりませんでした。",
    moreEvidence: "ほかの候補を表示（{}）", lessEvidence: "ほかの候補を隠す",
    notFound: "資料には記載がありません", notFoundHelp: "閲覧できる資料の範囲では見つかりませんでした。言葉を変えて質問するか、担当部署にお尋ねください。",
    near: "関連がありそうな資料", nearHelp: "確かな答えは見つかりませんでした。関連がありそうな資料を示しますので、内容をお確かめください。",
    withheld: "根拠となる資料を開けないため、表示できない文があります。",
    unkept: "サーバーの空き容量が少ないため、この質問と回答は保存されていません。",
    stopped: "途中で止めました。", failed: "回答できませんでした。", broken: "回答は途中で終わりました。", lost: "通信が切れました。もう一度お試しください。", again: "もう一度質問する",
    denied: "この操作は許可されていません。",
    page: "ページ", sourceFailed: "この資料は開けません。削除されたか、閲覧できません。", extracted: "資料の文をそのまま示しています。",
    good: "役に立った", bad: "役に立たなかった", copy: "回答をコピー", copied: "コピーしました。",
    thanks: "ありがとうございます。管理者に届きました。", takenBack: "評価を取り消しました。", feedbackFailed: "評価を送れませんでした。",
    why: "どこが違いましたか", why_wrong: "内容が誤っている", why_incomplete: "足りない", why_citation: "引用元が違う", why_not_found: "資料にあるはず",
    why_other: "その他",
    comment: "補足（任意。管理者に伝わります）", share: "この質問と回答を管理者に見せる", sendFeedback: "送る",
  },
  en: {
    other: "日本語", skip: "Go to the question", menu: "Conversations", close: "Close",
    signInTitle: "Sign in", signInHelp: "Open the sign-in link that your administrator gave you, or enter an API token.",
    token: "API token", signIn: "Sign in", signOut: "Sign out",
    signInRefused: "Signing in failed. A link works once, within 10 minutes.",
    signedOut: "Your session has ended. Please sign in again.",
    history: "Conversations", fresh: "New conversation", noHistory: "No conversations yet. What you ask will be kept here.",
    historyFailed: "The list cannot be loaded.", more: "Show more", today: "Today", yesterday: "Yesterday", week: "Last 7 days",
    before: "Earlier",
    earlier: "Show what was said before", loading: "Loading…",
    gone: "There is no such conversation. It was deleted, or is another person's.",
    remove: "Delete conversation", deleteTitle: "Delete this conversation?",
    deleteHelp: "Questions and answers cannot be brought back.", deleteYes: "Delete",
    cancel: "Cancel",
    exportAs: "Save as Markdown", exported: "Exported", asked: "Question", answered: "Answer", version: "version",
    welcome: "What would you like to know?",
    welcomeHelp: "Answers rest only on documents that you may read, and show their sources.", recent: "Recently updated",
    about: "About “{}”: ",
    question: "Question", questionHint: "e.g. 出張の日当はいくらですか", followHint: "Ask a follow-up question",
    keys: "Enter sends, Shift + Enter makes a new line", ask: "Ask", stop: "Stop",
    searching: "Searching the documents…", reading: "Reading the documents…", writing: "Writing…",
    evidence: "Sources", noEvidence: "Nothing in the documents that you may read matches.",
    moreEvidence: "Show other candidates ({})", lessEvidence: "Hide other candidates",
    notFound: "The documents do not say",
    notFoundHelp: "Nothing was found within the documents that you may read. Try other words, or ask the department in charge.",
    near: "Perhaps related",
    nearHelp: "No certain answer was found. The documents shown beside may be related; please look for yourself.",
    withheld: "Some of the answer is not shown, because the document that it rests on cannot be opened.",
    unkept: "This question and answer are not kept, because the server is short of space.",
    stopped: "Stopped.", failed: "There is no answer.", broken: "The answer ended before its end.",
    lost: "The connection was lost. Please try again.", again: "Ask again",
    denied: "That is not permitted.",
    page: "page", sourceFailed: "This document cannot be opened: it is gone, or you may not read it.",
    extracted: "Sentences of the documents, as they stand.",
    good: "Helpful", bad: "Not helpful", copy: "Copy answer", copied: "Copied.",
    thanks: "Thank you. Your administrator has received it.", takenBack: "Taken back.",
    feedbackFailed: "Your feedback could not be sent.",
    why: "What was wrong?", why_wrong: "It is not true", why_incomplete: "Something is missing",
    why_citation: "The source is another",
    why_not_found: "The documents do say", why_other: "Something else",
    comment: "Comment (optional; your administrator reads it)", share: "Show this question and answer to the administrator",
    sendFeedback: "Send",
  },
};

let language = localStorage.getItem("language") || (navigator.language.startsWith("ja") ? "ja" : "en");
const t = (key, value) => words[language][key].replace("{}", () => (value === undefined ? "{}" : value));

// Everything that carries a key is said anew: data-text its content, data-hint its placeholder, data-name its accessible name.
function translate() {
  document.documentElement.lang = language;
  for (const e of document.querySelectorAll("[data-text]")) e.textContent = t(e.dataset.text, e.dataset.value);
  for (const e of document.querySelectorAll("[data-hint]")) e.placeholder = t(e.dataset.hint);
  for (const e of document.querySelectorAll("[data-name]")) e.title = e.ariaLabel = t(e.dataset.name);
  document.getElementById("language").textContent = t("other");
}
