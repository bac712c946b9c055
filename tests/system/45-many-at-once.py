#!/usr/bin/env python3
"""Goal: documents that are on their way together do not answer for each other: those that cannot be indexed fail with their reason,
the others are found; a file named twice in one run stands once, and the next run files again what failed and nothing else."""
import json
import os
import signal
import subprocess

from appliance import BUILD, Appliance, check, wait_for

POLICY = """version: 1
collections: [%s]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask, download], who: {everyone: true}, collections: [%s], level: {up_to: 社外秘}}
"""
GOOD = 20


def ingest(a, *paths, args=()):
    done = subprocess.run(list(map(str, [BUILD / "cli" / "hisho", "ingest", "--json", "--sender", a.sender_key("t"), "--level", "社外秘",
                                         *args, *paths, "--dir", a.state, "--tenant", "t"])), capture_output=True, text=True, timeout=300)
    check(done.returncode in (0, 3, 4) and done.stdout, f"{done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


with Appliance() as a:
    a.add_tenant("t", POLICY % ("kept, gone", "kept, gone"))
    kept, gone = a.dir / "kept", a.dir / "gone"
    kept.mkdir()
    gone.mkdir()
    for i in range(GOOD):
        (kept / f"{i:02}.txt").write_text(f"第{i}条　日当は{i * 100 + 7}円とする。\n" * 20)
        if i % 5 == 0:
            (kept / f"{i:02}-empty.txt").write_text("")
            (gone / f"{i:02}.txt").write_text(f"消える文書{i}である。\n")

    said = ingest(a, kept, kept / "00.txt", args=("--collection", "kept"))
    check(said["filed"] == GOOD + 4 + 1, said)
    check(said["failed"] == 4 and {e["code"] for e in said["errors"]} == {"doc.empty"}, said)
    check(all(e["file"].endswith("-empty.txt") for e in said["errors"]), said)
    status = json.loads(a.hisho("status", "--json", tenant="t"))
    check(status["documents"] == GOOD, status)
    for i in range(GOOD):
        check(f"{i * 100 + 7}円" in json.dumps(a.search("t", "tanaka", f"第{i}条の日当"), ensure_ascii=False), i)
    again = ingest(a, kept, args=("--collection", "kept"))
    check(again["unchanged"] == GOOD and again["failed"] == 4, again)

    # Those that are extracted wait together; then the collection of some is no more.
    extractors = a.pids("hisho-extract")
    for pid in extractors:
        os.kill(pid, signal.SIGSTOP)
    for i in range(GOOD):
        (kept / f"{i:02}.txt").write_text(f"第{i}条　日当は{i * 100 + 9}円とする。\n" * 20)
    ingest(a, gone, args=("--collection", "gone", "--no-wait"))
    ingest(a, *(kept / f"{i:02}.txt" for i in range(GOOD)), args=("--collection", "kept", "--no-wait"))
    policy = a.dir / "policy.yaml"
    policy.write_text(POLICY % ("kept", "kept"))
    a.hisho("policy", "apply", policy, tenant="t")
    for pid in extractors:
        os.kill(pid, signal.SIGCONT)
    wait_for("all to end", lambda: json.loads(a.hisho("status", "--json", tenant="t"))["waiting_jobs"] == 0)
    status = json.loads(a.hisho("status", "--json", tenant="t"))
    check(status["documents"] == GOOD, status)
    check(status["failed_jobs"] == 8, status)
    for i in range(GOOD):
        check(f"{i * 100 + 9}円" in json.dumps(a.search("t", "tanaka", f"第{i}条の日当"), ensure_ascii=False), i)
print(f"{GOOD} of {GOOD + 8} documents stand, twice")
