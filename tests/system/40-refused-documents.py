#!/usr/bin/env python3
"""Goal: a document that could not be taken is named with its reason and what to do, in English and Japanese; it is counted, listed,
and filed again at the next run, until it can be taken. An acknowledgement alone makes nothing `unchanged`. A reader that is
ended under a document costs the document nothing."""
import json
import os
import re
import signal
import subprocess

from appliance import BUILD, ROOT, Appliance, check, wait_for

POLICY = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask, download], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
CATALOGUE = (ROOT / "po" / "ja.po").read_text()
REFUSED = {
    "空.txt": (b"", "doc.empty"),
    "雑音.txt": (b"\x00\x01\x02\x00" * 64, "doc.binary"),
    "表.csv": ('品名,数量\n"鉛筆,3\n'.encode(), "doc.csv_quote"),
    "図.pdf": (b"%PDF-1.7\nnothing of a PDF follows\n", "doc.damaged_pdf"),
    "絵.png": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 64, "doc.unsupported"),
}


def table():
    """code -> sentence, as text/document.c has them."""
    return dict(re.findall(r'\{"(doc\.[a-z_]+)", HS_N_\("([^"]*)"\)\}', (ROOT / "text" / "document.c").read_text()))


def every_code_has_its_words():
    used = set()
    for room in ("base", "text", "crypto", "policy", "ingest", "retrieval", "daemon", "cli"):
        for source in (ROOT / room).rglob("*.[ch]"):
            used |= set(re.findall(r'"(doc\.[a-z_]+)"', source.read_text()))
    hints = table()
    check(len(used) > 15, f"{len(used)} codes were read from the sources")
    check(not used - set(hints), f"without a sentence: {sorted(used - set(hints))}")
    intake = re.findall(r'^\t\{"[a-z]+\.[a-z_]*", HS_N_\("([^"]*)"\)\}', (ROOT / "daemon/tenant/intake.c").read_text(), re.M)
    check(len(intake) > 8, "sentences for a job's other codes")
    for sentence in [*hints.values(), *intake]:
        check(re.search(rf'^msgid "{re.escape(sentence)}"\nmsgstr "[^"]+', CATALOGUE, re.M), f"no Japanese for: {sentence}")
    return hints


def ingest(a, *paths, args=(), japanese=False):
    """(exit status, counts, what was said on standard error)"""
    language = {"LANGUAGE": "ja", "HISHO_LOCALEDIR": str(BUILD / "po")} if japanese else {"LANGUAGE": "C"}
    command = [BUILD / "cli" / "hisho", "ingest", "--sender", a.sender_key("t"), "--collection", "c", "--level", "社外秘", *args, *paths,
               "--dir", a.state, "--tenant", "t"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8", **language},
                          timeout=600)
    numbers = re.findall(r"\d+", done.stdout.splitlines()[-1]) if done.stdout else []
    return done.returncode, tuple(map(int, numbers)), done.stderr


def failed(a, *args):
    return json.loads(a.hisho("docs", "failed", "--json", *args, tenant="t"))


def status(a):
    return json.loads(a.hisho("status", "--json", tenant="t"))


hints = every_code_has_its_words()
with Appliance() as a:
    a.add_tenant("t", POLICY)
    folder = a.dir / "文書"
    folder.mkdir()
    (folder / "旅費.txt").write_text("日当は二千円とする。")
    for name, (content, _) in REFUSED.items():
        (folder / name).write_bytes(content)
    n = len(REFUSED)

    # named, with code and words
    code, counts, said = ingest(a, folder)
    check(code == 4 and counts == (n + 1, 0, n), f"{code} {counts} {said}")
    for name, (_, reason) in REFUSED.items():
        line = next((x for x in said.splitlines() if name in x), "")
        check(reason in line and hints[reason] in line, f"{name}: {line!r}")
        check(line.count(name) == 1, f"the name stands once: {line!r}")
    check(len(a.search("t", "tanaka", "日当")) == 1, "what could be taken is found")

    # counted and listed: names to the sender, opaque sources to everyone else
    check(wait_for("the count", lambda: status(a)["failed_jobs"] == n), "")
    rows = failed(a, "--sender", a.sender_key("t"), folder)
    check({r["name"].split("/")[-1]: r["error"]["code"] for r in rows} == {k: v[1] for k, v in REFUSED.items()}, rows)
    plain = json.dumps(failed(a), ensure_ascii=False)
    check(not any(name.split(".")[0] in plain for name in REFUSED), f"no name without the sender's key: {plain}")
    check(all(r["source"].startswith("src_") and r["error"]["hint"] for r in failed(a)), plain)
    one = json.loads(a.hisho("docs", "failed", "--json", tenant="t"))[0]["id"]
    ask, feed = a.token("t", "tanaka"), json.loads(a.hisho("token", "add", "tanaka", "--scopes", "ingest", "--json", tenant="t"))["token"]
    for path in ("/v1/jobs", f"/v1/jobs/{one}"):
        check(a.request("GET", path, ask)[0] == 403, f"{path} for one who may only ask")
        check(a.request("GET", path, feed)[0] == 200, f"{path} for one who may file")
    first = json.loads(a.request("GET", "/v1/jobs?limit=2", feed)[2])["data"]
    rest = json.loads(a.request("GET", f"/v1/jobs?limit=100&after={first[-1]['id']}", feed)[2])["data"]
    check(len(first) == 2 and len(first) + len(rest) == n, "the list is read page by page")

    # filed again, never called unchanged; each is listed once
    code, counts, said = ingest(a, folder, japanese=True)
    check(code == 4 and counts == (n, 1, n), f"{code} {counts} {said}")
    check("文字認識" in said or "PDF" in said, said)
    check(hints["doc.csv_quote"] not in said and "表.csv" in said, f"words in Japanese: {said}")
    check(len(failed(a)) == n, "a document that fails twice is listed once")

    # mended, or taken back: no longer listed
    (folder / "表.csv").write_text('品名,数量\n"鉛筆",3\n')
    (folder / "図.pdf").unlink()
    a.hisho("docs", "rm", "--sender", a.sender_key("t"), folder / "図.pdf", tenant="t")
    code, counts, said = ingest(a, folder)
    check(code == 4 and counts == (n - 1, 1, n - 2), f"{code} {counts} {said}")
    check(len(a.search("t", "tanaka", "鉛筆")) == 1, "the mended document is found")
    check({r["error"]["code"] for r in wait_for("the list", lambda: len(failed(a)) == n - 2 and failed(a))}
          == {"doc.empty", "doc.binary", "doc.unsupported"}, failed(a))

    # seen by who administers: no longer listed or counted, nor refused another time
    seen = failed(a)[0]["id"]
    a.hisho("docs", "dismiss", seen, tenant="t")
    check(len(failed(a)) == n - 3 and seen not in [r["id"] for r in failed(a)], failed(a))
    wait_for("the count", lambda: status(a)["failed_jobs"] == n - 3)
    check(a.try_hisho("docs", "dismiss", seen, tenant="t") is None, "dismissed twice")

    # nobody waited: the next run asks
    late = a.dir / "late"
    late.mkdir()
    (late / "bad.txt").write_bytes(b"\x00" * 100)
    (late / "good.txt").write_text("宿泊費は一万円を上限とする。")
    code, counts, said = ingest(a, late, args=("--no-wait",))
    check(code == 0 and counts == (2, 0, 0), f"{code} {counts} {said}")
    wait_for("both to end", lambda: status(a)["waiting_jobs"] == 0)
    code, counts, said = ingest(a, late)
    check(code == 4 and counts == (1, 1, 1) and "bad.txt" in said, f"asked for at the next run: {code} {counts} {said}")

    # the reader is killed under a document, more often than a document may fail
    big = a.dir / "big.txt"
    big.write_text("".join(f"第{i}条 出張の日当は{i}円とする。{'旅費は実費を支給する。' * 20}\n" for i in range(8000)))
    code, counts, said = ingest(a, big, args=("--no-wait",))
    check(code == 0 and counts == (1, 0, 0), f"{code} {counts} {said}")
    job = re.findall(r"job_[a-z2-7]{26}", next(a.dir.glob("t.sender.*.state")).read_text())[-1]

    def state():
        j = json.loads(a.request("GET", f"/v1/jobs/{job}", feed)[2])
        return j["state"], j.get("error", {}).get("code")

    kills = 0
    while kills < 5 and state()[0] != "done":
        if state()[0] == "running":
            for pid in a.pids("hisho-extract"):
                os.kill(pid, signal.SIGKILL)
                kills += 1
        check(state()[0] != "failed", f"after {kills} kills: {state()}")
    wait_for("the document", lambda: state()[0] in ("done", "failed"), 300)
    check(state()[0] == "done", f"{kills} kills: {state()}")
print(f"{n} kinds of refusal are named, counted, listed and tried again; {kills} lost readers cost nothing")
