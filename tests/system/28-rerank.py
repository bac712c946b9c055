#!/usr/bin/env python3
"""Goal: with a reranker the passages of a search and of an answer's evidence stand in the order of its scores, out of what the grant
allows and nothing else; without it, or where it does not answer, they stand as search found them, and both are told."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile

import tiny_reranker
from appliance import BUILD, Appliance, check, wait_for

POLICY = """version: 1
collections: [open, shut]
users: [{name: tanaka}, {name: sato}]
rules:
  - {id: open, allow: [ask], who: {everyone: true}, collections: [open], level: {up_to: 社外秘}}
  - {id: shut, allow: [ask], who: {users: [sato]}, collections: [shut], level: {up_to: 社外秘}}
"""
QUERY = "旅費の申請"
TEXTS = [f"旅費の申請は{who}が{day}日までに行い、{what}を添える。" for who, day, what in (
    ("社員", 3, "領収書"), ("課長", 5, "日程表"), ("部長", 7, "見積書"), ("総務課", 9, "契約書"), ("経理課", 11, "請求書"),
    ("人事課", 13, "承認印"), ("秘書", 15, "旅程"), ("支店長", 17, "報告書"), ("工場長", 19, "名簿"))]
SECRET = "旅費の申請は役員だけが二十一日までに行い、密約を添える。"


def scores(model, texts):
    lines = "".join(f"{QUERY}\t{text}\n" for text in texts)
    done = subprocess.run([BUILD / "tests/system/encode_texts", model], input=lines, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def search(a, user, **more):
    status, _, body = a.request("POST", "/v1/search", a.token("t", user), {"query": QUERY, "mode": "lexical", "k": 9, **more})
    check(status == 200, body)
    return json.loads(body)


def texts_of(found):
    return [hit["text"].strip() for hit in found["data"]]


def ordered(a, user, **more):
    """A search that the reranker took part in: a machine that is busy may make it miss one."""
    return wait_for("a reranked search", lambda: (lambda f: f if f["reranked"] else None)(search(a, user, **more)))


def numbers(a):
    return json.loads(a.hisho("status", "--json", tenant="t"))


with tempfile.TemporaryDirectory() as name, Appliance() as a:
    folder, model = pathlib.Path(name) / "published", pathlib.Path(name) / "reranker.gguf"
    tiny_reranker.write(folder, "".join(TEXTS) + SECRET + QUERY)
    a.hisho("model", "import", "--type", "f32", folder, model)
    a.add_tenant("t", POLICY)
    for collection, texts in (("open", TEXTS), ("shut", [SECRET])):
        documents = a.dir / collection
        documents.mkdir()
        for i, text in enumerate(texts):
            (documents / f"{collection}{i}.txt").write_text(text + "\n")
        a.ingest("t", documents, args=("--collection", collection, "--level", "社外秘"))

    # Off where no reranker is named.
    fused = search(a, "tanaka")
    check(fused["reranked"] is False and len(fused["data"]) == 9, fused)
    check(numbers(a)["rerank_missed"] == 0 and numbers(a)["reranker"] == "", "nothing is missed")

    # hisho.yaml names one: best first by its scores, the same passages as before.
    a.stop()
    (a.state / "models" / "reranker.gguf").write_bytes(model.read_bytes())
    with open(a.state / "hisho.yaml", "a") as yaml:
        yaml.write("reranker: models/reranker.gguf\n")
    a.start()
    wait_for("the reranker", lambda: a.try_hisho("status", "--json", tenant="t") and numbers(a)["reranker"] == "reranker")
    found = texts_of(ordered(a, "tanaka"))
    given = scores(model, found)
    check(sorted(found) == sorted(texts_of(fused)), "the same passages")
    check(given == sorted(given, reverse=True) and len(set(given)) > 1, given)
    check(found != texts_of(fused), "another order than search's")
    check(texts_of(ordered(a, "tanaka", k=3)) == found[:3], "the best of all that were looked at, not of three")

    # The grant decides what it sees: the secret is ranked for the one person and does not exist for the other.
    check(SECRET not in found, "out of reach")
    with_secret = texts_of(ordered(a, "sato", k=10))
    given = scores(model, with_secret)
    check(SECRET in with_secret and given == sorted(given, reverse=True), with_secret)

    # An answer's evidence comes from that order, and says so.
    answer = wait_for("a reranked answer", lambda: (lambda x: x if x["hisho"]["reranked"] else None)(a.ask("t", "tanaka", QUERY)))
    check(answer["hisho"]["evidence"], answer)

    # One that does not answer is not waited for: the order of the search, and the counters tell.
    before = numbers(a)["rerank_missed"]
    for pid in a.pids("hisho-infer"):
        os.kill(pid, signal.SIGSTOP)
    late = search(a, "tanaka")
    check(late["reranked"] is False and texts_of(late) == texts_of(fused), late)
    check(numbers(a)["rerank_missed"] > before, "a missed one is counted")
    for pid in a.pids("hisho-infer"):
        os.kill(pid, signal.SIGCONT)
    check(texts_of(ordered(a, "tanaka")) == found, "and it is back")
    for pid in a.pids("hisho-infer"):
        os.kill(pid, signal.SIGKILL)
    check(texts_of(search(a, "tanaka"))[:1], "found without it")
    wait_for("the reranker again", lambda: numbers(a)["reranker"] == "reranker")
    check(texts_of(ordered(a, "tanaka")) == found, "and it is back")

print("passages stand in the reranker's order, within the grant, and as search found them without it")
