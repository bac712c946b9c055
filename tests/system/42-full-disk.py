#!/usr/bin/env python3
"""Goal: on a full disk nothing is taken in, by name and with what to do, and everyone's questions are answered and recorded. What
was accepted before waits, and is indexed when there is room again. Runs on a small file system of its own."""
import json
import os
import re
import subprocess
import sys
import tempfile

from appliance import BUILD, Appliance, check, skip, wait_for

INSIDE = "HISHO_TEST_MOUNT"  # set where this script runs again, in a mount namespace of its own
MIB = 1 << 20
POLICY = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask, download], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""


if not os.environ.get(INSIDE):
    where = tempfile.mkdtemp(prefix="hisho-full-")
    try:
        mount = f"mount -t tmpfs -o size=700m none {where} && echo mounted"
        tried = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, text=True)
        if "mounted" not in tried.stdout:
            skip(f"no file system of its own can be mounted here: {tried.stderr.strip()}")
        again = f'mount -t tmpfs -o size=700m none {where} && exec "$0" "$@"'
        env = {**os.environ, INSIDE: where, "TMPDIR": where}
        sys.exit(subprocess.run(["unshare", "--mount", "sh", "-c", again, sys.executable, __file__], env=env).returncode)
    finally:
        os.rmdir(where)


class Ballast:
    """A file that leaves so many bytes free."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "ballast")

    def leave(self, free):
        self.drop()
        while not os.path.exists(self.path):
            st = os.statvfs(os.path.dirname(self.path))
            try:
                with open(self.path, "wb") as f:
                    os.posix_fallocate(f.fileno(), 0, st.f_bavail * st.f_frsize - free)
            except OSError:  # the appliance took some meanwhile
                self.drop()

    def drop(self):
        if os.path.exists(self.path):
            os.unlink(self.path)


def ingest(a, *paths, args=()):
    command = [BUILD / "cli" / "hisho", "ingest", "--sender", a.sender_key("t"), "--collection", "c", "--level", "社外秘", *args, *paths,
               "--dir", a.state, "--tenant", "t"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=600)
    return done.returncode, done.stdout + done.stderr


def status(a):
    return json.loads(a.hisho("status", "--json", tenant="t"))


def recorded(a):
    rows = json.loads(a.hisho("audit", "show", "--limit", "10000", "--json", tenant="t"))
    return sum(1 for r in rows if r["action"] in ("search", "ask") and r["decision"] == "allowed")


with Appliance() as a:
    check(str(a.dir).startswith(os.environ[INSIDE]), a.dir)
    ballast = Ballast(os.environ[INSIDE])
    a.add_tenant("t", POLICY)
    folder = a.dir / "文書"
    folder.mkdir()
    (folder / "旅費.txt").write_text("日当は二千円とする。")
    (folder / "古い.txt").write_text("旧規程の日当は千円とする。")
    code, said = ingest(a, folder)
    check(code == 0, said)
    check(len(a.search("t", "tanaka", "日当")) == 2, "both are found")
    late = a.dir / "宿泊.txt"
    late.write_text("宿泊費の上限は一万円とする。")

    # below the floor: nothing is taken in; what is there is searched, and may be deleted
    ballast.leave(40 * MIB)
    code, said = ingest(a, late)
    check(code == 1 and "tenant.disk_low" in said and "Make room" in said, f"{code} {said}")
    check(status(a)["disk_low"] is True, status(a))
    a.hisho("docs", "rm", "--sender", a.sender_key("t"), folder / "古い.txt", tenant="t")
    wait_for("the deletion", lambda: len(a.search("t", "tanaka", "日当")) == 1)

    # not a byte left: still nothing is taken in, and every question is answered and recorded
    before = recorded(a)
    ballast.leave(0)
    code, said = ingest(a, late)
    check(code == 1 and "tenant.disk_low" in said, f"{code} {said}")
    for i in range(300):
        check(len(a.search("t", "tanaka", "日当")) == 1, f"search {i} on a full disk")
    answer = a.ask("t", "tanaka", "日当はいくらですか")
    check("二千円" in json.dumps(answer, ensure_ascii=False), answer)
    # also where it cannot be kept; and it does not say that it was
    unkept = a.ask("t", "tanaka", "日当はいくらですか", hisho={"conversation": "new"})
    check("二千円" in json.dumps(unkept, ensure_ascii=False) and not {"conversation", "message"} & unkept["hisho"].keys(), unkept)
    check(recorded(a) == before + 302, f"{recorded(a) - before} of 302 were recorded")

    a.kill()
    a.start()
    wait_for("the tenant to open on a full disk", lambda: a.request("GET", "/v1/me", a.token("t", "tanaka"))[0] == 200)
    check(len(a.search("t", "tanaka", "日当")) == 1, "a search after a power cut on a full disk")

    # room again: the same document is taken, having never counted as filed
    ballast.drop()
    code, said = ingest(a, late)
    check(code == 0 and "1 filed, 0 unchanged, 0 failed" in said, f"{code} {said}")
    check(len(a.search("t", "tanaka", "宿泊費の上限")) == 1, "the late document is found")
    check(status(a)["disk_low"] is False, status(a))
    kept = a.ask("t", "tanaka", "日当はいくらですか", hisho={"conversation": "new"})["hisho"]
    listed = json.loads(a.request("GET", "/v1/conversations", a.token("t", "tanaka"))[2])["data"]
    check([c["id"] for c in listed] == [kept["conversation"]], f"{listed}")

    # accepted, and then there is no room to index it: it waits, and fails by nothing
    big = a.dir / "big.txt"
    big.write_text("".join(f"{i}番の稟議は、総務部長が承認する。控えは経理課が五年間保存する。\n" for i in range(60000)))
    ballast.leave(64 * MIB + 6 * big.stat().st_size)
    code, said = ingest(a, big, args=("--wait", "15"))
    check(code == 1 and said.count("tenant.disk_low") == 1 and "waits" in said and "cli.follow" in said, f"{code} {said}")
    job = re.findall(r"job_[a-z2-7]{26}", next(a.dir.glob("t.sender.*.state")).read_text())[-1]
    feed = json.loads(a.hisho("token", "add", "tanaka", "--scopes", "ingest", "--json", tenant="t"))["token"]

    def look():
        return json.loads(a.request("GET", f"/v1/jobs/{job}", feed)[2])

    first = wait_for("the job to be put off", lambda: [j for j in [look()] if j.get("error") and j["state"] == "waiting"])[0]
    check(first["error"]["code"] == "tenant.disk_low" and first["error"]["hint"], first)
    wait_for("a second attempt", lambda: look()["updated"] > first["updated"], 120)
    check(look()["state"] in ("waiting", "running"), look())
    ballast.drop()
    wait_for("the document to be begun", lambda: look()["state"] != "waiting", 120)
    ballast.leave(0)  # and under its hands there is none again, and the power goes
    a.kill()
    a.start()
    wait_for("the tenant to open again", lambda: a.request("GET", "/v1/me", a.token("t", "tanaka"))[0] == 200)
    check(len(a.search("t", "tanaka", "日当")) == 1, "a search with a job that was cut off")
    ballast.drop()
    wait_for("the document", lambda: look()["state"] == "done", 300)
    # the index is swapped after the commit that says "done"
    wait_for("the big document", lambda: len(a.search("t", "tanaka", "59999番の稟議")) > 0)
    check(status(a)["failed_jobs"] == 0, status(a))
print("a full disk refuses documents and no question; what waited for room was indexed")
