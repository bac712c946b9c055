#!/usr/bin/env python3
"""Goal: while people search, the policy is changed to and fro; the audit log tells no search behind a change that was judged by the
rules before it. Searches that the change overtook are refused by name and asked again."""
import json
import threading

from appliance import Appliance, check

OPEN = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
CLOSED = OPEN.replace("allow", "deny")
CHANGES, SEARCHERS = 24, 3


with Appliance() as a:
    a.add_tenant("t", OPEN)
    folder = a.dir / "文書"
    folder.mkdir()
    (folder / "旅費.txt").write_text("日当は二千円とする。")
    a.ingest("t", folder, args=("--collection", "c", "--level", "社外秘"))
    token, over, wrong, overtaken = a.token("t", "tanaka"), threading.Event(), [], []

    def search():
        while not over.is_set():
            status, _, body = a.request("POST", "/v1/search", token, {"query": "日当"})
            if status == 409 and (b"policy.changed" in body or b"grant.stale" in body):
                overtaken.append(status)
            elif status != 200:
                wrong.append((status, body))

    threads = [threading.Thread(target=search) for _ in range(SEARCHERS)]
    for thread in threads:
        thread.start()
    files = [a.dir / "closed.yaml", a.dir / "open.yaml"]
    files[0].write_text(CLOSED)
    files[1].write_text(OPEN)
    for i in range(CHANGES):
        a.hisho("policy", "apply", files[i % 2], tenant="t")
    over.set()
    for thread in threads:
        thread.join()
    check(not wrong, wrong[:3])

    rows = json.loads(a.hisho("audit", "show", "--limit", "10000", "--json", tenant="t"))
    changes, found, empty = 0, 0, 0
    for row in rows:  # the first policy is open, and from then on they alternate
        if row["action"] == "policy.apply":
            changes += 1
        elif row["action"] == "search" and row["decision"] == "allowed":
            is_open = changes % 2 == 1
            check(bool(row["chunks"]) == is_open, f"record {row['seq']} behind change {changes} shows {len(row['chunks'])} passages")
            found, empty = found + is_open, empty + (not is_open)
    check(changes == CHANGES + 1 and found > 0 and empty > 0, f"{changes} changes, {found} found, {empty} empty")
print(f"{found + empty} searches over {changes} policies, each judged by the one before it in the log; {len(overtaken)} overtaken")
