#!/usr/bin/env python3
"""Goal: the demo's forty questions. What may not be read never shows: no answer, evidence or citation holds a forbidden answer or
names a forbidden document. What may be read is found. Prints the shares answered, cited and refused.

Without models answers are sentences of the documents; HISHO_DEMO_GENERATOR and HISHO_DEMO_EMBEDDER name models to take part."""
import json
import os
import pathlib
import re
import sys
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from appliance import Appliance, ROOT, wait_for  # noqa: E402

DEMO = ROOT / "docs/demo"
FOUND_AT_LEAST = 0.85  # of the allowed questions: the evidence names the document


def plain(text):
    return unicodedata.normalize("NFKC", text).replace(",", "").replace(" ", "")


def holds(text, answers):
    """Is one of the answers there? A number counts only whole: 200円 is not in 1,200円."""
    return any(re.search(r"(?<!\d)" + re.escape(plain(answer)), plain(text)) for answer in answers)


def main():
    questions = [json.loads(line) for line in (DEMO / "questions.jsonl").read_text().splitlines()]
    assert len(questions) == 40
    tenants = sorted({q["tenant"] for q in questions})
    leaks, found, evident, answered, cited, silent = [], 0, 0, 0, 0, 0
    named = {kind: os.environ.get(f"HISHO_DEMO_{kind.upper()}") for kind in ("generator", "embedder")}
    models = {kind: pathlib.Path(file) for kind, file in named.items() if file}
    with Appliance(**models) as a:
        for tenant in tenants:
            a.add_tenant(tenant, (DEMO / tenant / "policy.yaml").read_text())
            a.ingest(tenant, DEMO / tenant / "documents")
        for tenant in tenants if "generator" in models else []:
            wait_for("the models", lambda: json.loads(a.hisho("status", "--json", tenant=tenant))["generator"], 120)
        for q in questions:
            reply = a.ask(q["tenant"], q["user"], q["question"])
            hisho, text = reply["hisho"], reply["choices"][0]["message"]["content"]
            everything = json.dumps(reply, ensure_ascii=False)
            if os.environ.get("HISHO_DEMO_SHOW"):
                print(q["right"], hisho["outcome"], q["question"], "->", text, flush=True)
            stem = pathlib.Path(q["document"]).stem if q["document"] else None
            if q["right"] == "denied":
                if holds(everything, q["answers"]) or f'"title": "{stem}"' in everything:
                    leaks.append(q["question"])
                silent += hisho["outcome"] == "not_found"
            elif q["right"] == "absent":
                silent += hisho["outcome"] == "not_found"
            else:
                quotes = " ".join(c["quote"] for c in hisho["evidence"])
                found += any(c["title"] == stem for c in hisho["evidence"])
                evident += holds(quotes, q["answers"])
                answered += holds(text, q["answers"])
                cited += any(c["title"] == stem for c in hisho["citations"])
    allowed = sum(q["right"] == "allowed" for q in questions)
    print(f"allowed {allowed}: document in the evidence {found}, answer in the evidence {evident}, in the answer {answered}, "
          f"document cited {cited}; denied or absent {40 - allowed}: refused {silent}; leaks {len(leaks)}")
    assert not leaks, leaks
    assert found >= FOUND_AT_LEAST * allowed


main()
