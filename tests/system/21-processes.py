#!/usr/bin/env python3
"""Goal: a process that dies is started again and the others go on; what asked it gets a clear error; what cannot be served is
refused by name, and nothing is left running."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from appliance import BUILD, Appliance, check, wait_for

def start_fails(a, *args):
    done = subprocess.run([BUILD / "daemon" / "hishod", "--state", a.state, *args], capture_output=True, text=True, timeout=60)
    check(done.returncode != 0, f"hishod started although it must not: {done.stderr}")
    return done.stderr


with Appliance() as a:
    a.hisho("tenant", "add", "tokai")
    wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="tokai"))
    a.hisho("user", "add", "tanaka", tenant="tokai")
    token = a.token("tokai", "tanaka")
    check(a.request("GET", "/v1/me", token)[0] == 200, "the tenant answers")

    for program in ("hisho-tenant", "hisho-keyd", "hisho-extract", "hisho-extract-pdf"):
        before = a.pids(program)
        check(len(before) == 1, f"{program}: {before}")
        os.kill(before[0], signal.SIGKILL)
        status = a.request("GET", "/v1/me", token)[0]
        check(status in (200, 503), f"while {program} is away: {status}")
        after = wait_for(program, lambda: [p for p in a.pids(program) if p != before[0]])
        check(len(after) == 1, f"{program}: {after}")
        wait_for("the tenant", lambda: a.request("GET", "/v1/me", token)[0] == 200)
    # The web process comes back too; with port 0 it has another address.
    os.kill(a.pids("hisho-web")[0], signal.SIGKILL)
    url = a.url
    wait_for("the address", lambda: (a.state / "run" / "url").read_text().strip() != url)
    a.url = (a.state / "run" / "url").read_text().strip()
    wait_for("the tenant", lambda: a.request("GET", "/v1/me", token)[0] == 200)
    # A tenant that was made after keyd and web were restarted is wired like the first.
    a.hisho("tenant", "add", "fuji")
    wait_for("the second tenant", lambda: a.try_hisho("tenant", "info", tenant="fuji"))

    check("dir.owned" in start_fails(a), "the second hishod is refused")

    # Sealing ends the process; the seal outlives a restart.
    a.hisho("tenant", "seal", "tokai")
    check(len(a.pids("hisho-tenant")) == 1, "the sealed tenant's process is gone")
    check(a.request("GET", "/v1/me", token)[0] == 401, "a sealed tenant looks unknown")
    pids = a.pids()
    a.stop()
    time.sleep(0.2)
    check(not any(os.path.exists(f"/proc/{pid}") for pid in pids), "a stopped appliance leaves no process")
    a.start()
    check('"sealed"' in a.hisho("tenant", "list", "--json"), "the seal was kept")
    a.hisho("tenant", "unseal", "tokai")
    wait_for("the tenant", lambda: a.request("GET", "/v1/me", token)[0] == 200)

    # hishod itself dies: its children notice and end.
    pids = a.pids()
    a.process.kill()
    a.process.wait()
    wait_for("the children", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    a.process = None

    # Named refusals.
    form = a.state / "format"
    form.write_text("hisho-state 2\n")
    check("state.format" in start_fails(a), "an unknown format is refused by name")
    form.write_text("hisho-state 1\n")
    config = a.state / "hisho.yaml"
    good = config.read_text()
    for bad, what in (("colour: red\n", "config.invalid"), ("version: 9\n", "config"), ("threads: many\n", "config.invalid")):
        config.write_text(bad if bad.startswith("version") else good + bad)
        check(what in start_fails(a), f"{bad!r} is refused")
    config.write_text(good)
    root = a.state / "keys" / "root"
    secret = root.read_bytes()
    root.write_bytes(bytes(32))
    check("keyring.root" in start_fails(a), "another root secret is refused")
    root.write_bytes(secret)
    keyring = a.state / "keys" / "keyring"
    keyring.rename(keyring.with_suffix(".away"))
    check("keyring.missing" in start_fails(a), "a lost keyring is not replaced by a new one")
    keyring.with_suffix(".away").rename(keyring)
    a.start()
    wait_for("the tenant", lambda: a.request("GET", "/v1/me", token)[0] == 200)

# A keyring that a passphrase opens: asked for at each start, a wrong one told, and stored nowhere.
phrase = "正しい馬の電池のホチキス"
with tempfile.TemporaryDirectory(prefix="hisho-passphrase-") as folder:
    state, file = pathlib.Path(folder, "state"), pathlib.Path(folder, "phrase")
    init = [BUILD / "cli" / "hisho", "init", "--dir", state, "--listen", "127.0.0.1:0"]
    file.write_text("too short\n")
    check(subprocess.run([*init, "--passphrase-file", file], capture_output=True).returncode == 1, "a short passphrase is refused")
    check(not (state / "format").exists(), "nothing was made")
    file.write_text(phrase + "\n")
    subprocess.run([*init, "--passphrase-file", file], check=True, capture_output=True)
    check(not (state / "keys" / "root").exists(), "no root secret beside the data")
    check(not any(phrase.encode() in p.read_bytes() for p in state.rglob("*") if p.is_file()), "the passphrase is stored")

    def start():
        return subprocess.Popen([BUILD / "daemon" / "hishod", "--state", state], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    for typed, code in (("another horse altogether\n", "keyring.root"), ("", "keyring.passphrase")):
        process = start()
        said, _ = process.communicate(typed, timeout=60)
        check(process.returncode != 0 and code in said, f"{typed!r}: {said}")
    process = start()
    process.stdin.write(phrase + "\n")
    process.stdin.flush()
    status = [BUILD / "cli" / "hisho", "status", "--dir", state, "--json"]
    told = wait_for("the service", lambda: b'"ready": true' in (out := subprocess.run(status, capture_output=True).stdout) and out)
    check(b'"protects_against_disk_theft": "yes"' in told, "a passphrase protects")
    process.send_signal(signal.SIGTERM)
    check(process.wait(60) == 0, "an orderly end")
print("ok")
