#!/usr/bin/env python3
"""Cases for hisho-check-cases: sentences that a passage says (copied, or said otherwise), and the same with one thing changed.

usage: check_mutations.py FOLDER... > cases.jsonl
A FOLDER holds corpus.jsonl ({"_id", "title", "text"}), or text files (*.txt, *.md). Deterministic: the same folders give the same cases.
"""
import json
import random
import re
import subprocess
import sys
from pathlib import Path

PER_KIND = 160
DISTRACTORS = 2
random.seed(20260401)


def paragraphs(folder):
    corpus = folder / "corpus.jsonl"
    if corpus.exists():
        with corpus.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".txt", ".md"):
            try:
                yield path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                yield path.read_text(encoding="cp932")


def sentences(text):
    for line in text.split("\n"):
        line = re.sub(r"^[\s\-*#・]*(?:[(（]?[\d０-９]{1,3}[.)）．、](?!\d)\s*)?", "", line)  # an item's number is no claim
        for s in re.findall(r"[^。]+。", line):
            if 18 <= len(s) <= 160 and "「" not in s[:1] and s.count("(") == s.count(")") and s.count("「") == s.count("」"):
                yield s.strip()


def proper_nouns(batch):
    """Proper nouns of each sentence, by MeCab."""
    out = subprocess.run(["mecab", "-d", "/var/lib/mecab/dic/ipadic-utf8"], input="\n".join(batch), capture_output=True,
                         text=True, check=True).stdout
    lists = []
    for block in out.split("EOS\n")[: len(batch)]:
        names = []
        for row in block.split("\n"):
            if "\t名詞,固有名詞," in row:
                surface = row.split("\t")[0]
                kind = row.split("\t")[1].split(",")[2]
                if len(surface) >= 2:
                    names.append((surface, kind))
        lists.append(names)
    return lists


NUMBER = r"\d[\d,]*(?:\.\d+)?"


def change_number(s):
    hits = [m for m in re.finditer(NUMBER, s) if not re.match(r"[A-Za-z]", s[m.start() - 1:m.start()])]
    if not hits:
        return None
    m = random.choice(hits)
    digits = m.group().replace(",", "")
    if "." in digits:
        other = str(round(float(digits) + random.choice([0.3, 1.2, -0.4, 10]), 2))
    else:
        value = int(digits)
        other = str(max(0, random.choice([value + 1, value + 3, value * 2 + 1, value - 1 if value > 1 else value + 2, value + 10])))
    changed = s[: m.start()] + other + s[m.end():]
    return changed if other != digits else None


def change_year(s):
    m = re.search(r"(1[5-9]\d\d|20\d\d)(?=年)", s)
    if m:
        return s[: m.start()] + str(int(m.group()) + random.choice([-10, -1, 1, 2, 100])) + s[m.end():]
    m = re.search(r"(明治|大正|昭和|平成|令和)(?=[\d元])", s)
    if m:
        return s[: m.start()] + random.choice([e for e in ("明治", "大正", "昭和", "平成") if e != m.group()]) + s[m.end():]
    return None


UNITS = {"円": "ドル", "ドル": "円", "メートル": "キロメートル", "キロメートル": "メートル", "km": "m", "人": "件", "名": "社", "%": "人",
         "か月": "週間", "ヶ月": "週間", "週間": "か月", "日間": "年間", "年間": "日間", "歳": "人", "時間": "分", "分": "時間", "日以内": "年以内",
         "回": "人", "件": "回", "社": "校", "校": "社", "kg": "トン", "トン": "kg", "条": "章", "項": "条"}


def change_unit(s):
    for unit in random.sample(sorted(UNITS), len(UNITS)):
        m = re.search(r"(?<=\d)" + re.escape(unit), s)
        if m and not (unit == "分" and s[m.end():m.end() + 1] in "のと"):
            return s[: m.start()] + UNITS[unit] + s[m.end():]
    return None


NEGATIONS = [("である。", "ではない。"), ("であった。", "ではなかった。"), ("だった。", "ではなかった。"), ("できる。", "できない。"), ("できない。", "できる。"),
             ("ができる", "ができない"), ("している。", "していない。"), ("していた。", "していなかった。"), ("されている。", "されていない。"),
             ("された。", "されなかった。"), ("した。", "しなかった。"), ("する。", "しない。"), ("なった。", "ならなかった。"), ("なる。", "ならない。"),
             ("はない。", "はある。"), ("がある。", "がない。"), ("があった。", "がなかった。"), ("ではない。", "である。"), ("しない。", "する。"),
             ("しなければならない。", "する必要はない。"), ("してはならない。", "してもよい。"), ("必要がある", "必要がない"), ("必要とする", "不要とする"),
             ("必要な", "不要な"), ("可能である", "不可能である"), ("認められる", "認められない"), ("いる。", "いない。"), ("いた。", "いなかった。"),
             ("れる。", "れない。"), ("れた。", "れなかった。"), ("必要です", "不要です"), ("します。", "しません。"), ("できます。", "できません。"),
             ("ありません。", "あります。"), ("しません。", "します。"), ("なければなりません。", "なくてもかまいません。"), ("不可", "可"), ("できません。", "できます。")]


def flip(s):
    hits = [(a, b) for a, b in NEGATIONS if a in s]
    if not hits:
        return None
    a, b = max(hits, key=lambda x: len(x[0]))
    at = s.rindex(a)
    return s[:at] + b + s[at + len(a):]


COMPARATORS = [("以上", "未満"), ("以上", "以下"), ("以下", "以上"), ("未満", "以上"), ("を超える", "以下の"), ("以内", "以上"), ("以降", "以前"), ("以前", "以降"),
               ("まで", "から"), ("から", "まで"), ("を超え", "を下回り"), ("を上回", "を下回"), ("を下回", "を上回"), ("前", "後"), ("後", "前")]


def swap_comparator(s):
    hits = []
    for a, b in COMPARATORS:
        for m in re.finditer(r"(?<=[\d年月日時分円%人名歳回件倍度所点m割])" + a, s):
            if re.search(r"\d\D{0,4}$", s[: m.start()]):
                hits.append((m, b))
    if not hits:
        return None
    m, b = random.choice(hits)
    return s[: m.start()] + b + s[m.end():]


POLITE = [("である。", "です。"), ("であった。", "でした。"), ("だった。", "でした。"), ("した。", "しました。"), ("する。", "します。"), ("いる。", "います。"), ("いた。", "いました。"),
          ("れた。", "れました。"), ("れる。", "れます。"), ("なった。", "なりました。"), ("できる。", "できます。"), ("ない。", "ないです。"), ("ある。", "あります。"), ("あった。", "ありました。")]


def polite(s):
    for a, b in sorted(POLITE, key=lambda x: -len(x[0])):
        if s.endswith(a):
            return s[: -len(a)] + b
    return None


def trimmed(s):
    """The sentence without its first clause, where what is left can stand alone."""
    head, _, rest = s.partition("、")
    return polite(rest) or rest if 15 <= len(rest) and len(head) < 30 else None


def era_of(year):
    for name, first in (("令和", 2019), ("平成", 1989), ("昭和", 1926)):
        if year > first:
            return f"{name}{year - first + 1}"
    return None


def notation(s):
    out = re.sub(r"(19[3-9]\d|20[012]\d)(?=年)", lambda m: era_of(int(m.group())) or m.group(), s)
    if out == s:
        out = re.sub(r"(?<![\d.,])\d{1,3}(?![\d.,])", lambda m: "".join(chr(ord(c) + 0xfee0) for c in m.group()), s)
    out = out.replace("%", "パーセント").replace("ヶ月", "か月")
    return out if out != s else None


def emit(kind, sentence, passages, supported, question=None):
    random.shuffle(passages)
    print(json.dumps({"kind": kind, "question": question, "sentence": sentence, "passages": passages, "supported": supported},
                     ensure_ascii=False))


def main(folders):
    counts = {}
    for folder in map(Path, folders):
        texts = [t for t in paragraphs(folder) if len(t) > 40]
        base = [(s, i) for i, t in enumerate(texts) for s in sentences(t)]
        random.shuffle(base)
        base = base[:6000]
        names = proper_nouns([s for s, _ in base])
        pool = {}
        for found in names:
            for surface, kind in found:
                pool.setdefault(kind, []).append(surface)

        def change_name(s, mine, text):
            if not mine:
                return None
            surface, kind = random.choice(mine)
            others = [n for n in random.sample(pool[kind], min(8, len(pool[kind]))) if n not in text and n not in surface]
            return s.replace(surface, others[0]) if others else None

        for (s, i), mine in zip(base, names):
            def put(kind, sentence, supported, own=texts[i], i=i):
                key = (str(folder), kind)
                if not sentence or counts.get(key, 0) >= PER_KIND:
                    return
                counts[key] = counts.get(key, 0) + 1
                emit(kind, sentence, [own] + random.sample(texts[:i] + texts[i + 1:], min(DISTRACTORS, len(texts) - 1)), supported)

            put("copy", s, True)
            put("polite", polite(s), True)
            put("trimmed", trimmed(s), True)
            put("notation", notation(s), True)
            said = random.choice([s, polite(s) or s])
            put("number", change_number(said), False)
            put("date", change_year(said), False)
            put("unit", change_unit(said), False)
            put("name", change_name(said, mine, texts[i]), False)
            put("negation", flip(s), False)
            put("comparator", swap_comparator(said), False)
            if counts.get((str(folder), "elsewhere"), 0) < PER_KIND:
                other = random.randrange(len(texts))
                if other != i:
                    counts[(str(folder), "elsewhere")] = counts.get((str(folder), "elsewhere"), 0) + 1
                    emit("elsewhere", s, [texts[other]], False)


if __name__ == "__main__":
    main(sys.argv[1:])
