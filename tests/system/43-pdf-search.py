#!/usr/bin/env python3
"""Goal: real PDFs, filed as a person would, are found page by page: for each page of $HISHO_DATA/allganize10/pdf a phrase that stands
on that page alone (by pdftotext, another reader) is searched, and a passage that holds it, of that document, comes back."""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import unicodedata

from appliance import BUILD, Appliance, check, skip

POLICY = """version: 1
collections: [c]
users: [{name: tanaka}]
rules:
  - {id: all, allow: [ask], who: {everyone: true}, collections: [c], level: {up_to: 社外秘}}
"""
JAPANESE = re.compile(r"[ぁ-ゖァ-ヺー一-鿿々]{5,40}")
K = 10


def plain(text):
    """What a reader calls the same: no line breaks, one form of each character."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))


def pages_of(path):
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True).stdout.decode()
    return text.split("\f")[:-1]


folder = pathlib.Path(os.environ.get("HISHO_DATA", "/nonexistent")) / "allganize10" / "pdf"
if not folder.is_dir():
    skip("HISHO_DATA names no folder with allganize10/pdf")
if not shutil.which("pdftotext"):
    skip("pdftotext is not installed")
if not (BUILD / "daemon" / "extract" / "hisho-extract-pdf").exists():
    skip("hisho-extract-pdf is not built")

pages = {(path.stem, n): text for path in sorted(folder.glob("*.pdf")) for n, text in enumerate(pages_of(path), 1)}
whole = {place: plain(text) for place, text in pages.items()}


def phrase_of(place):
    """The longest run of a line of the page that stands on no other page; None where there is none."""
    runs = sorted({r for line in pages[place].splitlines() for r in JAPANESE.findall(line)}, key=lambda r: (-len(r), r))
    return next((r for r in runs if sum(plain(r) in text for text in whole.values()) == 1), None)


with Appliance() as a:
    a.add_tenant("t", POLICY)
    said = a.ingest("t", folder, args=("--collection", "c", "--level", "社外秘"))
    n = len(list(folder.glob("*.pdf")))
    check(f"{n} filed, 0 unchanged, 0 failed" in said, said)
    told, missed, places = collections.Counter(), [], collections.Counter()
    for place in pages:
        phrase = phrase_of(place)
        if not phrase:
            told["no phrase of its own"] += 1
            continue
        hits = a.search("t", "tanaka", phrase, mode="lexical", k=K)
        found = [i for i, h in enumerate(hits)
                 if h["title"] == place[0] and h["page"] in (place[1] - 1, place[1])  # a passage may begin on the page before
                 and plain(phrase) in plain(h["context"] + h["text"])]
        if found:
            told["found"] += 1
            places["first" if found[0] == 0 else "below"] += 1
        else:
            missed.append((*place, phrase))
    for row in missed:
        print("missed:", *row)
    check(not missed and told["found"] > 0, f"{len(missed)} pages are not found")
print(f"{n} PDFs, {len(pages)} pages: {dict(told)}, of these {dict(places)} place")
