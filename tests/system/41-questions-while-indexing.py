#!/usr/bin/env python3
"""Goal: while a large document is being indexed, searches and questions are answered, each recorded in the audit log before it is, and do
not wait for who writes; and whoever writes comes in between the document's steps. Counted by order: a search that was asked after a write
and answered before it; a write that was asked after the first step and answered before the last."""
import json
import re
import threading
import time

from appliance import Appliance, check, wait_for

POLICY = """version: 1
collections: [c]
users: [{name: tanaka}, {name: sato}]
roles: [{role: admin, users: [sato]}]
rules:
  - {id: all, allow: [ask], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
PAST = 5  # in front of all writes; without a thread of its own the audit log lets none or a chance one past
BETWEEN = 3  # writes


with Appliance() as a:
    a.add_tenant("t", POLICY)
    folder = a.dir / "文書"
    folder.mkdir()
    (folder / "旅費.txt").write_text("日当は二千円とする。宿泊費は実費とする。")
    a.ingest("t", folder, args=("--collection", "c", "--level", "社外秘"))
    ask, admin = a.token("t", "tanaka"), json.loads(a.hisho("token", "add", "sato", "--scopes", "admin,ingest", "--json", tenant="t"))["token"]
    check(len(a.search("t", "tanaka", "日当")) == 1, "the small document is found")

    big = a.dir / "big.txt"
    big.write_text("".join(f"{i}番の申請は、総務部長が{i % 28 + 1}日までに承認し、経理課が控えを五年間保存する。\n" for i in range(120000)))
    a.ingest("t", big, args=("--collection", "c", "--level", "社外秘", "--no-wait"))
    job = re.findall(r"job_[a-z2-7]{26}", next(a.dir.glob("t.sender.*.state")).read_text())[-1]

    def state():
        return json.loads(a.request("GET", f"/v1/jobs/{job}", admin)[2])["state"]

    wait_for("the job to begin", lambda: state() != "waiting")
    writes, between, reads, kept, refused, over = [], [], [], [], [], threading.Event()

    def staged():
        """Passages that are written and not to be seen yet."""
        return json.loads(a.request("GET", "/v1/admin/status", admin)[2])["dirty"]

    def write():
        while not over.is_set():
            going_on, begun = staged() > 0, time.monotonic()
            status, _, body = a.request("POST", "/v1/admin/links", admin, {"user": "sato"})
            writes.append((begun, time.monotonic()))
            if going_on and state() == "running":
                between.append(writes[-1])
            if status != 201:
                refused.append((status, body))
            time.sleep(0.05)

    def keep():
        """Questions that are kept: evidence is shown at once, and only the end waits until question and answer are written."""
        while not over.is_set():
            connection = a.connection(timeout=300)
            connection.request("POST", "/v1/chat/completions", body=json.dumps({
                "stream": True, "hisho": {"conversation": "new"}, "messages": [{"role": "user", "content": "日当はいくらですか"}]}),
                headers={"Authorization": f"Bearer {ask}", "Content-Type": "application/json"})
            response, seen, last = connection.getresponse(), None, ""
            for line in response:
                last = line.decode() if line.strip() else last
                if "二千円" in last and not seen:
                    seen = time.monotonic()
            kept.append((seen or time.monotonic(), time.monotonic()))
            if response.status != 200 or not seen or "[DONE]" not in last:
                refused.append((response.status, last))
            connection.close()

    threads = [threading.Thread(target=write), threading.Thread(target=keep)]
    for thread in threads:
        thread.start()
    while state() == "running":
        for path, body in (("/v1/search", {"query": "日当"}),
                           ("/v1/chat/completions", {"messages": [{"role": "user", "content": "日当はいくらですか"}]})):
            begun = time.monotonic()
            status, _, reply = a.request("POST", path, ask, body)
            reads.append((begun, time.monotonic()))
            check(status == 200 and "二千円" in reply.decode(), f"{path}: {status} {reply.decode()[:200]}")
    over.set()
    for thread in threads:
        thread.join()
    check(not refused, refused)
    check(state() == "done", f"the document: {state()}")
    past = sum(1 for w in writes for r in reads if w[0] < r[0] and r[1] < w[1])
    behind = sum(1 for k in kept for r in reads if k[0] < r[0] and r[1] < k[1])
    check(past >= PAST, f"{past} of {len(reads)} were answered while a write waited for a step")
    check(behind >= PAST, f"{behind} of {len(reads)} were answered between a kept answer's evidence and its end")
    check(len(between) >= BETWEEN, f"{len(between)} of {len(writes)} writes came in between")
    check(staged() == 0, "passages are left over")
    shown = json.loads(a.hisho("audit", "show", "--limit", "10000", "--json", tenant="t"))
    listed, more = [], True
    while more:  # a page has fifty
        page = json.loads(a.request("GET", "/v1/conversations" + (f"?after={listed[-1]['id']}" if listed else ""), ask)[2])
        listed, more = listed + page["data"], page["more"]
    check(len(listed) == len(kept) and all(c["messages"] == 2 for c in listed), f"{len(listed)} of {len(kept)} are kept")
    recorded = [r for r in shown if r["action"] in ("search", "ask") and r["decision"] == "allowed"]
    check(len(recorded) == len(reads) + len(kept) + 1, f"{len(recorded)} records of {len(reads) + len(kept) + 1} searches and questions")
    check(len(a.search("t", "tanaka", "119999番の申請")) > 0, "the large document is found")

    # A power cut between two steps: the job is begun again, and what its first attempt wrote is never seen.
    def status():
        return json.loads(a.request("GET", "/v1/admin/status", admin)[2])

    before = status()
    again = a.dir / "again.txt"
    again.write_text(big.read_text())
    a.ingest("t", again, args=("--collection", "c", "--level", "社外秘", "--no-wait"))
    wait_for("a step", lambda: staged() > 0, 300)
    check(status()["chunks"] == before["chunks"], "passages are seen before their document is there")
    a.kill()
    a.start()
    wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="t") is not None)
    wait_for("the document", lambda: status()["documents"] == 3, 600)
    after = status()
    check(after["chunks"] - before["chunks"] == before["chunks"] - 1, f"passages twice, or none: {before} {after}")
print(f"{len(reads)} searches and questions answered and recorded while one document was indexed, {past} in front of a write, "
      f"{behind} behind an answer that was shown and waited to be kept; {len(between)} of {len(writes)} writes came in between its steps; a power cut between two left nothing")
