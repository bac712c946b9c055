#!/usr/bin/env python3
"""Goal: the whole path on the demo's documents without models: encrypted in, found by those who may read, quoted with a
citation that opens, hidden from those who may not; a change of policy and a deletion hold on the next question; everything is
recorded; nothing is lost when every process is killed; no plaintext lies in any file."""
import json
import pathlib
import secrets
import shutil

from appliance import ROOT, Appliance, CommandFailed, check, wait_for

DEMO = ROOT / "docs" / "demo"
NOT_FOUND = "資料には記載がありません"


def titles(hits):
    return [hit["title"] for hit in hits]


with Appliance() as a:
    canary = "カナリア" + secrets.token_hex(8)
    folder = a.dir / "documents"
    shutil.copytree(DEMO / "tokai" / "documents", folder)
    (folder / "規程" / "canary.txt").write_text(f"合言葉は{canary}である。保管期間は7年とする。\n")
    policy = (DEMO / "tokai" / "policy.yaml").read_text()
    a.add_tenant("tokai", policy)
    out = json.loads(a.ingest("tokai", folder, args=("--json",)))
    check(out.get("failed", 0) == 0, f"ingest: {out}")

    # found by words, by those who may
    hits = a.search("tokai", "tanaka", "東京23区に宿泊するときの宿泊料の上限")
    check(hits and "旅費規程" in hits[0]["title"], titles(hits))
    check(any(canary in hit["text"] for hit in a.search("tokai", "tanaka", canary)), "the canary is found by its reader")
    check(not any("議事録" in t for t in titles(a.search("tokai", "tanaka", "株式会社北斗資材の取得価額の上限", k=50))),
          "minutes marked 極秘 are not found by a salesperson")
    check(any("議事録" in t for t in titles(a.search("tokai", "mizuno", "株式会社北斗資材の取得価額の上限"))), "and are by the president")

    # answered in the documents' words, with a citation that opens at the cited bytes
    answer = a.ask("tokai", "tanaka", "国内の日帰り出張とは、片道何km以上のものですか。")
    text = answer["choices"][0]["message"]["content"]
    citation = answer["hisho"]["citations"][0]
    check("80km" in text and text.endswith("[1]"), text)
    status, _, body = a.request("GET", f"/v1/documents/{citation['document']}/source?version={citation['version']}"
                                f"&start={citation['start']}&end={citation['end']}", a.token("tokai", "tanaka"))
    check(status == 200, f"the source opens: {status} {body!r}")
    source = json.loads(body)
    shown = source["text"].encode()
    at = citation["start"] - source["text_start"]
    check(shown[at:at + citation["end"] - citation["start"]].decode() == citation["quote"], "the cited bytes are the quote")

    # forbidden and missing look alike
    denied = a.ask("tokai", "tanaka", "株式会社北斗資材の取得価額の上限はいくらですか。")
    check("北斗" not in json.dumps(denied["hisho"], ensure_ascii=False), "no trace of what may not be read")
    secret = a.search("tokai", "mizuno", "株式会社北斗資材の取得価額の上限")[0]
    path = f"/v1/documents/{{}}/source?version={{}}&start={secret['start']}&end={secret['end']}"
    forbidden = a.request("GET", path.format(secret["document"], secret["version"]), a.token("tokai", "tanaka"))
    missing_id, missing_version = "doc_" + "a" * 26, "ver_" + "a" * 26
    missing = a.request("GET", path.format(missing_id, missing_version), a.token("tokai", "tanaka"))
    check(forbidden[0] == missing[0] == 404, f"{forbidden[0]} {missing[0]}")
    same = forbidden[2].replace(secret["version"].encode(), missing_version.encode()).replace(secret["document"].encode(),
                                                                                             missing_id.encode())
    check(same == missing[2], "a forbidden document answers exactly as a missing one")

    # a change of policy holds on the next question, and on a citation that was given before
    narrowed = policy.replace("  - {name: tanaka, display: 田中 陽子（営業部）, groups: [営業部]}",
                              "  - {name: tanaka, display: 田中 陽子（営業部）, groups: []}")
    check(narrowed != policy, "the demo's policy names tanaka")
    file = a.dir / "narrowed.yaml"
    file.write_text(narrowed)
    a.hisho("policy", "apply", file, tenant="tokai")
    check(not any("旅費規程" in t for t in titles(a.search("tokai", "tanaka", "宿泊料の上限", k=50))), "the next search knows")
    status, _, _ = a.request("GET", path.format(citation["document"], citation["version"]), a.token("tokai", "tanaka"))
    check(status == 404, "so does a citation given before")
    file.write_text(policy)
    a.hisho("policy", "apply", file, tenant="tokai")

    # unchanged files are skipped; a changed one becomes a new version; a deletion holds on the next question
    again = json.loads(a.ingest("tokai", folder, args=("--json",)))
    check(again["filed"] == 0, f"nothing changed: {again}")
    changed = folder / "規程" / "canary.txt"
    changed.write_text(f"合言葉は{canary}である。保管期間は9年とする。\n")
    check(json.loads(a.ingest("tokai", folder, args=("--json",)))["filed"] == 1, "one file changed")
    hits = a.search("tokai", "tanaka", canary)
    check(any("9年" in hit["text"] for hit in hits) and not any("7年" in hit["text"] for hit in hits), "the new version answers")
    a.hisho("docs", "rm", "--sender", a.sender_key("tokai"), changed, tenant="tokai")
    wait_for("deletion", lambda: not any(canary in hit["text"] for hit in a.search("tokai", "tanaka", canary)))

    # everything is recorded
    audit = json.loads(a.hisho("audit", "show", "--json", tenant="tokai"))
    rows = audit["data"] if isinstance(audit, dict) else audit
    actions = {row["action"] for row in rows}
    for action in ("ask", "answer", "search", "document.read", "document.submit", "policy.apply", "token.add", "sender.add"):
        check(action in actions, f"{action} is in the audit log: {sorted(actions)}")
    check(all(row["chunks"] for row in rows if row["action"] == "ask"), "each question names the passages that it used")

    # no plaintext in any file, in three encodings, while it runs and after a power cut
    sought = [canary.encode(enc) for enc in ("utf-8", "utf-16-le", "utf-16-be", "cp932")]
    sought += ["宿泊料".encode(enc) for enc in ("utf-8", "utf-16-le", "utf-16-be", "cp932")]

    def plaintext_files():
        return [str(f) for f in a.state.rglob("*") if f.is_file() and "dict" not in f.relative_to(a.state).parts
                and any(s in f.read_bytes() for s in sought)]

    check(plaintext_files() == [], plaintext_files())
    a.kill()
    check(plaintext_files() == [], plaintext_files())
    a.start()
    wait_for("the tenant opens again", lambda: a.try_hisho("tenant", "info", tenant="tokai"))
    hits = wait_for("search after a power cut", lambda: a.search("tokai", "tanaka", "宿泊料の上限"))
    check("旅費規程" in hits[0]["title"], titles(hits))
    check(not a.search("tokai", "tanaka", canary) or canary not in a.search("tokai", "tanaka", canary)[0]["text"], "deleted stays so")

    # a killed worker is restarted
    pid = a.pids("hisho-tenant")[0]
    import os
    import signal
    os.kill(pid, signal.SIGKILL)

    def searches():
        try:
            return a.search("tokai", "tanaka", "宿泊料の上限")
        except CommandFailed:
            return None

    wait_for("the tenant's process is restarted", searches)

print("the whole path holds")
