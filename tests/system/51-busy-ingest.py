#!/usr/bin/env python3
"""Goal: hisho ingest against an appliance that takes no more submissions just now tries again, shows that it waits, and ends with each
document filed or named. The places are held by submissions that begin and do not go on."""
import json
import os
import pty
import re
import subprocess
import threading
import time

from appliance import BUILD, Appliance, CommandFailed, check, wait_for

UPLOADS_MAX = 32  # HS_TENANT_UPLOADS_MAX
LARGE = 66 << 20  # HS_SUBMISSION_MAX; HS_TENANT_UPLOAD_BYTES_MAX has room for seven
POLICY = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
WHERE = ("--collection", "c", "--level", "社外秘")


def begin_submission(a, token, length=1000):
    c = a.connection()
    c.putrequest("POST", "/v1/documents")
    for name, value in (("Authorization", f"Bearer {token}"), ("Content-Type", "application/octet-stream"), ("Content-Length", str(length))):
        c.putheader(name, value)
    c.endheaders(b"begun")
    return c


def answer_of(c):
    """Its status, where it answers before the body has come; else None."""
    c.sock.settimeout(0.5)
    try:
        return c.getresponse().status
    except TimeoutError:
        return None


def takes_a_large_one(a, token):
    c = begin_submission(a, token, LARGE)
    try:
        return answer_of(c) is None
    finally:
        c.close()


def on_terminal(command):
    """What the command writes to a terminal, and its exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["LC_ALL"] = "C.UTF-8"
        os.execv(command[0], command)
    seen = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:  # how a terminal ends
            break
        if not piece:
            break
        seen += piece
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode(errors="replace")


with Appliance() as a:
    a.add_tenant("t", POLICY)
    token = a.token("t", "tanaka", "ingest")
    folder = a.dir / "文書"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.txt").write_text(f"第{i}号の日当は{i}千円とする。\n")
    (folder / "large.txt").write_text("控えは五年間保存する。\n" * 100000)

    # What is promised counts, though nothing of it came: the eighth large one is refused, a small one is not (it is no submission).
    large = [begin_submission(a, token, LARGE) for _ in range(8)]
    answers = [answer_of(c) for c in large]
    check(answers == [None] * 7 + [429], answers)
    check(a.request("POST", "/v1/documents", token, b"x" * 10)[0] == 400, "a small one beside large ones")
    for c in large:
        c.close()
    wait_for("their room to be free", lambda: takes_a_large_one(a, token))

    held = [begin_submission(a, token) for _ in range(UPLOADS_MAX)]
    wait_for("all places to be taken", lambda: a.request("POST", "/v1/documents", token, b"x" * 10)[0] == 429)
    status, headers, body = a.request("POST", "/v1/documents", token, b"x" * 10)
    check((status, headers.get("retry-after"), json.loads(body)["error"]["code"]) == (429, "1", "request.busy"), (status, headers, body))

    # Patience has an end, and then the documents are named.
    try:
        a.ingest("t", folder / "0.txt", args=(*WHERE, "--wait", "2"))
        raise AssertionError("filed where there was no place")
    except CommandFailed as e:
        check("0.txt: request.busy" in str(e) and "0 filed, 0 unchanged, 1 failed" in str(e), e)

    result = []
    command = [str(BUILD / "cli" / "hisho"), "ingest", "--sender", str(a.sender_key("t")), *WHERE, str(folder), "--dir", str(a.state),
               "--tenant", "t"]
    thread = threading.Thread(target=lambda: result.extend(on_terminal(command)))
    thread.start()
    time.sleep(3)
    check(thread.is_alive(), result)
    for c in held:
        c.close()
    thread.join()
    check(result[0] == 0 and "7 filed, 0 unchanged, 0 failed" in result[1], result)
    check(re.search(r"the appliance is busy: \d wait", result[1]), result[1][-2000:])
    check(len(a.search("t", "tanaka", "日当", k=10)) >= 6, "all are found")

    # Several at one time: more submissions than there are places.
    runs = []
    for n in range(4):
        key, files = a.dir / f"{n}.sender", a.dir / f"more{n}"
        files.mkdir()
        for i in range(8):
            (files / f"{i}.txt").write_text(f"{n}組の{i}番の規程は本日から施行する。\n")
        public = a.hisho("sender", "keygen", key).strip().split()[-1]
        a.hisho("sender", "add", f"s{n}", public, tenant="t")
        runs.append(subprocess.Popen([str(BUILD / "cli" / "hisho"), "ingest", "--sender", str(key), *WHERE, str(files), "--dir",
                                      str(a.state), "--tenant", "t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for run in runs:
        out, err = run.communicate(timeout=300)
        check(run.returncode == 0 and "8 filed" in out, (run.returncode, out, err))
print("waited, shown, filed; without patience named")
