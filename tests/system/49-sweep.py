#!/usr/bin/env python3
"""Goal: what a crash leaves in a tenant's folder is swept when the tenant opens: temporary files, and blobs that no document names.
Killed again and again while it takes documents in, the tenant loses none that was acknowledged and keeps no file of a lost moment."""
import os
import signal
import subprocess
import threading
import time

from appliance import BUILD, Appliance, check, wait_for

POLICY = """version: 1
collections: [規程]
users: [{name: tanaka}]
rules:
  - {id: 規程, allow: [ask], who: {users: [tanaka]}, collections: [規程], level: {up_to: 社外秘}}
"""
DOCUMENTS = 60
KILLS = 6


def kill_sometimes(a, over):
    """The tenant's process ends in the middle of what it does; hishod starts it again."""
    for i in range(KILLS):
        pids = wait_for("the tenant", lambda: a.pids("hisho-tenant") or over.is_set())
        time.sleep(0.1 + 0.13 * i)  # anywhere between two jobs
        if over.is_set():
            return
        try:
            os.kill(pids[0], signal.SIGKILL)
        except (ProcessLookupError, TypeError):
            pass
        wait_for("it to be away", lambda: not os.path.exists(f"/proc/{pids[0]}"))


with Appliance() as a:
    a.add_tenant("tokai", POLICY)
    folder = a.dir / "documents"
    folder.mkdir()
    for i in range(DOCUMENTS):  # every other one is too large for its blobs to lie in the database
        (folder / f"{i}.txt").write_text(f"第{i}条　日当は{i * 100}円とする。\n" * (200 if i % 2 else 2000))
    tenant = next((a.state / "tenants").glob("ten_*"))
    blobs = tenant / "blobs"

    over = threading.Event()
    killer = threading.Thread(target=kill_sometimes, args=(a, over))
    killer.start()
    command = [BUILD / "cli" / "hisho", "ingest", "--sender", a.sender_key("tokai"), "--collection", "規程", "--level", "社外秘", folder,
               "--dir", a.state, "--tenant", "tokai"]
    for _ in range(20):  # each run stops where nobody answers, and goes on where the last one was
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 0:
            break
        time.sleep(0.5)
    over.set()
    killer.join()
    check(done.returncode == 0, f"everything is filed in the end: {done.stdout}{done.stderr}")
    token = a.token("tokai", "tanaka")

    def documents():
        status, _, body = a.request("GET", "/v1/documents?limit=1000", token)
        return body.count(b'"doc_') if status == 200 else -1

    wait_for("the documents", lambda: documents() == DOCUMENTS)

    # Planted, as a power cut between two steps would leave them; and what is not ours.
    a.stop()
    planted = [blobs / ("blb_" + "a" * 26), blobs / ("blb_" + "b" * 26 + ".new"), tenant / "audit.log.head.abcdefghijklm.new",
               a.state / "keys" / "heads" / (tenant.name + ".abcdefghijklm.new"), a.state / "keys" / "keyring.abcdefghijklm.new"]
    foreign = [blobs / "README", tenant / "notes.new", a.state / "keys" / "root.old"]
    for path in planted + foreign:
        path.write_bytes(b"left behind")
    a.start()
    wait_for("the sweep", lambda: not any(path.exists() for path in planted))
    check(all(path.exists() for path in foreign), "what is not Hisho's stays")
    foreign[0].unlink()

    # A version is two blobs: what was read out of it, and what was received. A kill between taking a document and saying so makes the
    # sender file it once more.
    large = DOCUMENTS // 2
    names = sorted(path.name for path in blobs.iterdir())
    check(not any(name.endswith(".new") for name in names), "a temporary file is left")
    check(len(names) % 2 == 0 and large <= len(names) // 2 <= large + KILLS, f"{len(names)} files for {large} documents")
    wait_for("the documents", lambda: documents() == DOCUMENTS)
    check("日当" in str(a.search("tokai", "tanaka", "第7条の日当")), "they are still found")
print(f"{DOCUMENTS} documents, {KILLS} kills: nothing lost, nothing left")
