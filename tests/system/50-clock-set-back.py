#!/usr/bin/env python3
"""Goal: what has expired stays expired where the host's clock is set back, over restarts; status says by how much; and where the clock
had been set forward by mistake, one command of the host's administrator forgets that, on the record. The tenant's process runs
under faketime."""
import json
import os
import pathlib
import shutil
import tempfile

import appliance
from appliance import BUILD, ROOT, Appliance, CommandFailed, check, skip, wait_for

POLICY = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
DAY = 24 * 3600 * 1000
AHEAD = f"+{2 * 24 * 3600 + 1800}"  # two days and what the test may take


def find_faketime():
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        skip("faketime is not installed")
    return found[0]


def make_programs(folder, library):
    """The programs once more, with a hisho-tenant before which the clock stands as the file `offset` says."""
    build = folder / "build"
    (build / "daemon").mkdir(parents=True)
    for entry in (BUILD / "daemon").iterdir():
        if entry.name not in ("hishod", "tenant"):
            (build / "daemon" / entry.name).symlink_to(entry)
    for entry in ("cli", "po"):
        (build / entry).symlink_to(BUILD / entry)
    (folder / "web").symlink_to(ROOT / "web")
    shutil.copy(BUILD / "daemon" / "hishod", build / "daemon" / "hishod")
    program = build / "daemon" / "tenant" / "hisho-tenant"
    program.parent.mkdir()
    real = BUILD / "daemon" / "tenant" / "hisho-tenant"
    program.write_text(f'#!/bin/sh\n[ -s {folder}/offset ] || exec {real} "$@"\n'
                       f'export LD_PRELOAD={library} FAKETIME="$(cat {folder}/offset)" FAKETIME_DONT_FAKE_MONOTONIC=1\n'
                       f'exec {real} "$@"\n')
    program.chmod(0o755)
    return build


def restart(a, file, offset):
    a.stop()
    file.write_text(offset)
    a.start()
    wait_for("the tenant", lambda: a.try_hisho("tenant", "info", tenant="soumu") is not None)


def me(a, token):
    return a.request("GET", "/v1/me", token)[0]


def behind(a):
    return json.loads(a.hisho("status", "--json", tenant="soumu"))["clock_behind_ms"]


def run(a, offset):
    a.add_tenant("soumu", POLICY)
    document = a.dir / "a.txt"
    document.write_text("出張の日当は三千円とする。\n")
    token = json.loads(a.hisho("token", "add", "tanaka", "--scope", "ask", "--days", "1", "--json", tenant="soumu"))["token"]
    check(me(a, token) == 200, "a token of this day")
    check(behind(a) == 0 and "set back" not in a.hisho("status"), "a clock that is right")

    restart(a, offset, AHEAD)
    check(me(a, token) == 401, "a token that has expired")
    wait_for("the refusal's record", lambda: a.hisho("audit", "show", "--action", "denied", "--json", tenant="soumu").strip() != "[]")

    # Set back: by its own clock the host would take the token again.
    for _ in range(2):
        restart(a, offset, "")
        check(me(a, token) == 401, "an expired token came back with the clock")
        late = behind(a)
        check(2 * DAY < late < 2 * DAY + 3600 * 1000, late)
    for words in (a.hisho("status"), a.hisho("status", tenant="soumu")):
        check("soumu: the clock of this host was set back by 2 d 0 h" in words, words)
    japanese = a.hisho("status", env={"LC_ALL": "C.UTF-8", "LANGUAGE": "ja", "HISHO_LOCALEDIR": str(BUILD / "po")})
    check("時計が 2 日 0 時間" in japanese, japanese)
    # What is issued now is good now; a submission is as old as its sender's clock says.
    check(me(a, a.token("soumu", "tanaka")) == 200, "a token of the time that is judged by")
    try:
        a.ingest("soumu", document, args=("--collection", "c", "--level", "社外秘"))
        raise AssertionError("a submission that is two days old was taken")
    except CommandFailed as e:
        check("submission.expired" in str(e), e)

    # It had been the other way round: the clock had been wrong before, and is right now.
    words = a.hisho("tenant", "clock", tenant="soumu")
    check("expiry was judged by" in words, words)
    check(behind(a) == 0 and me(a, token) == 200, "the host's clock does not count again")
    shown = json.loads(a.hisho("audit", "show", "--action", "clock.set", "--json", tenant="soumu"))
    check([(r["principal"], r["decision"]) for r in shown] == [(f"local_{os.getuid()}", "allowed")], shown)
    a.ingest("soumu", document, args=("--collection", "c", "--level", "社外秘"))
    restart(a, offset, "")
    check(behind(a) == 0 and me(a, token) == 200, "the word was forgotten by a restart")


library = find_faketime()
with tempfile.TemporaryDirectory(prefix="hisho-clock-") as folder:
    appliance.BUILD = make_programs(pathlib.Path(folder), library)
    with Appliance() as a:
        run(a, pathlib.Path(folder) / "offset")
print("expired stays expired; the word of the host's administrator counts")
