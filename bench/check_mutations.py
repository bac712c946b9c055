#!/usr/bin/env python3
"""Cases for hisho-check-cases: sentences that a passage says (copied, or said otherwise), and the same with one thing changed.

usage: check_mutations.py FOLDER... > cases.jsonl
A FOLDER holds corpus.jsonl ({"_id", "title", "text"}), or text files (*.txt, *.md, *.csv). Tables are lines of cells ("a | b", "| a | b |",
a CSV file). Deterministic: the same folders give the same cases. Needs the mecab command.
"""
import csv
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
        if path.suffix in (".txt", ".md", ".csv"):
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                text = path.read_text(encoding="cp932")
            yield as_indexed(text, path.suffix)


def as_indexed(text, kind):
    """Tables as the index has them: a row is a line of cells with tabs between."""
    if kind == ".csv":
        return "\n".join("\t".join(row) for row in csv.reader(text.splitlines()))
    lines = []
    for line in text.split("\n"):
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                lines.append("\t".join(cells))
        else:
            lines.append(line)
    return "\n".join(lines)


def tables(text):
    """Lists of rows, the header first; a row is a list of cells."""
    rows = []
    for line in text.split("\n") + [""]:
        cells = line.split("\t") if "\t" in line else line.split(" | ")
        if len(cells) > 1 and (not rows or len(cells) == len(rows[0])):
            rows.append([cell.strip() for cell in cells])
            continue
        if len(rows) > 2 and len({row[0] for row in rows}) == len(rows):
            yield rows
        rows = []


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
        out = re.sub(r"(?<![\d.,])[0-9]{1,3}(?![\d.,])", lambda m: "".join(chr(ord(c) + 0xfee0) for c in m.group()), s)
    out = out.replace("%", "パーセント").replace("ヶ月", "か月")
    return out if out != s else None


def phrases(batch):
    """The noun phrases of each sentence that carry a case particle: [(phrase, particle, is a name, start)], by MeCab."""
    out = subprocess.run(["mecab", "-d", "/var/lib/mecab/dic/ipadic-utf8"], input="\n".join(batch), capture_output=True,
                         text=True, check=True).stdout
    lists = []
    for block in out.split("EOS\n")[: len(batch)]:
        found, run, at, name = [], "", 0, False
        for row in block.strip().split("\n"):
            if "\t" not in row:
                continue
            surface, features = row.split("\t")[0], row.split("\t")[1].split(",")
            noun = features[0] == "名詞" and features[1] not in ("代名詞", "非自立", "数", "副詞可能") or features[0] == "接頭詞"
            if noun:
                run += surface
                name |= features[1] == "固有名詞"
            else:
                if len(run) >= 2 and features[0] == "助詞" and surface in ("は", "が", "を", "に", "から", "へ") and not re.search(r"\d", run):
                    found.append((run, "が" if surface == "は" else surface, name, at - len(run)))
                run, name = "", False
            at += len(surface)
        lists.append(found)
    return lists


def exchange(s, a, b):
    """Two spans (start, length) of a sentence exchanged."""
    (i, n), (j, m) = sorted((a, b))
    return s[:i] + s[j: j + m] + s[i + n: j] + s[i: i + n] + s[j + m:]


def swap_roles(s, mine):
    """Who and whom: the phrases before が (or は) and before を, に, から exchanged."""
    pairs = [(x, y) for x in mine for y in mine if x[1] == "が" and y[1] in ("を", "に", "から") and x[0] != y[0]
             and s.count(x[0]) == 1 and s.count(y[0]) == 1 and s[x[3]:].startswith(x[0]) and s[y[3]:].startswith(y[0])]
    if not pairs:
        return None
    x, y = random.choice(pairs)
    return exchange(s, (x[3], len(x[0])), (y[3], len(y[0])))


def scrambled(s, mine):
    """The same said in another order: object before subject."""
    for x in mine:
        for y in mine:
            left, right = x[0] + "が", y[0] + "を"
            if x[1] == "が" and y[1] == "を" and left + right in s:
                return s.replace(left + right, right + left)
    return None


def swap_numbers(s):
    """Two numbers with one unit exchanged, unless nothing but an enumeration joins them."""
    hits = [m for m in re.finditer(r"(\d[\d,.]*\d|\d)(円|%|人|名|年|日|時間|メートル|km|歳|件|社|万円|億円|百万円|度|月|回|台|店|室|床)", s)]
    pairs = [(a, b) for i, a in enumerate(hits) for b in hits[i + 1:] if a.group(2) == b.group(2) and a.group(1) != b.group(1)
             and len(re.findall(r"[一-龠ァ-ヴー]", s[a.end(): b.start()])) >= 2]
    if not pairs:
        return None
    a, b = random.choice(pairs)
    return exchange(s, a.span(1)[:1] + (len(a.group(1)),), b.span(1)[:1] + (len(b.group(1)),))


def swap_names(s, mine):
    """Two names of a sentence exchanged, unless they are only enumerated."""
    spans = [(s.index(n), len(n)) for n, _ in mine if s.count(n) == 1]
    pairs = [(a, b) for a in spans for b in spans if a[0] + a[1] < b[0]
             and len(re.findall(r"[一-龠]", s[a[0] + a[1]: b[0]])) >= 1 and not re.fullmatch(r"[・、とや（(].{0,3}", s[a[0] + a[1]: b[0]])]
    if not pairs:
        return None
    return exchange(s, *random.choice(pairs))


def number_nearby(s, text):
    """A number for another one with the same unit that stands elsewhere in the same paragraph."""
    hits = list(re.finditer(r"(\d[\d,.]*\d|\d)(円|%|人|名|年|日|時間|メートル|km|歳|件|社|万円|億円|度|月|回|台)", s))
    random.shuffle(hits)
    for m in hits:
        others = sorted({x.group(1) for x in re.finditer(r"(\d[\d,.]*\d|\d)" + re.escape(m.group(2)), text)} - {m.group(1)})
        others = [x for x in others if x + m.group(2) not in s]
        if others:
            return s[: m.start(1)] + random.choice(others) + s[m.end(1):]
    return None


def name_nearby(s, mine, text_names):
    """A name for another of its kind that stands elsewhere in the same paragraph."""
    for surface, kind in random.sample(mine, len(mine)):
        others = sorted({n for n, k in text_names if k == kind and n not in s and surface not in n and n not in surface})
        if others and s.count(surface) == 1:
            return s.replace(surface, random.choice(others))
    return None


def replaced(table, s):
    hits = [(a, b) for a, b in table if a in s]
    if not hits:
        return None
    a, b = max(hits, key=lambda x: len(x[0]))
    at = s.rindex(a)
    return s[:at] + b + s[at + len(a):]


NECESSITY = [("必要である", "不要である"), ("必要です", "不要です"), ("必要がある", "必要がない"), ("必要とする", "必要としない"), ("なければならない", "なくてもよい"),
             ("なければなりません", "なくてもかまいません"), ("必要はない", "必要がある"), ("必要な", "不要な"), ("不要", "必要"), ("義務がある", "義務はない")]
ABILITY = [("できる", "できない"), ("できない", "できる"), ("できます", "できません"), ("できません", "できます"), ("てはならない", "てもよい"),
           ("てはいけない", "てもよい"), ("可能である", "不可能である"), ("可能で", "不可能で"), ("できた", "できなかった"), ("できなかった", "できた")]


def emit(kind, sentence, passages, supported, question=None):
    random.shuffle(passages)
    print(json.dumps({"kind": kind, "question": question, "sentence": sentence, "passages": passages, "supported": supported},
                     ensure_ascii=False))


def said_of_cell(header, row, k, form):
    """What a cell says, as a model or a person would."""
    value, of = row[k], header[k]
    unit = re.search(r"[(（](百万円|円|千円|%|人|名|日|km|時間|件)[)）]", of)
    of = of[: unit.start()] + of[unit.end():] if unit else of
    said = value + unit.group(1) if unit and re.fullmatch(r"[\d,.△▲-]+", value) else value
    if len(header) == 2:
        return random.choice([f"{row[0]}は{said}です。", f"{row[0]}は、{said}である。"]) if form else f"{header[0]}: {row[0]}、{header[1]}: {value}"
    return [f"{header[0]}: {row[0]}、{header[k]}: {value}", f"{row[0]}の{of}は{said}です。", f"{of}は、{row[0]}の場合{said}とする。"][form]


def table_cases(text, put):
    for rows in tables(text):
        header = rows[0]
        cells = [(r, k) for r in range(1, len(rows)) for k in range(1, len(header)) if len(rows[r][k]) > 1 and rows[r][0]]
        for r, k in random.sample(cells, min(len(cells), 8)):
            form, row = random.randrange(3), rows[r]
            true = said_of_cell(header, row, k, form)
            put("table", true, True)
            column = sorted({x[k] for x in rows[1:] if x[k] and not x[k].startswith(row[k]) and not row[k].startswith(x[k])})
            if column:
                wrong = list(row)
                wrong[k] = random.choice(column)
                put("row", said_of_cell(header, wrong, k, form), False)
            labels = sorted({x[0] for x in rows[1:] if x[0] and x[k] != row[k]})
            if labels:
                put("label", said_of_cell(header, [random.choice(labels)] + row[1:], k, form), False)
            beside = [x for i, x in enumerate(row) if i not in (0, k) and x and x not in row[k] and row[k] not in x
                      and bool(re.search(r"\d", x)) == bool(re.search(r"\d", row[k]))]
            if beside:
                wrong = list(row)
                wrong[k] = random.choice(beside)
                put("column", said_of_cell(header, wrong, k, form), False)


def main(folders):
    counts = {}
    for folder in map(Path, folders):
        texts = [t for t in paragraphs(folder) if len(t) > 40]
        base = [(s, i) for i, t in enumerate(texts) for s in sentences(t)]
        random.shuffle(base)
        base = base[:6000]
        names = proper_nouns([s for s, _ in base])
        roles = phrases([s for s, _ in base])
        of_text = {}
        for (s, i), mine in zip(base, names):
            of_text.setdefault(i, []).extend(mine)
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

        def putter(i):
            def put(kind, sentence, supported, own=texts[i]):
                key = (str(folder), kind)
                if not sentence or counts.get(key, 0) >= PER_KIND:
                    return
                counts[key] = counts.get(key, 0) + 1
                emit(kind, sentence, [own] + random.sample(texts[:i] + texts[i + 1:], min(DISTRACTORS, len(texts) - 1)), supported)
            return put

        for i in random.sample(range(len(texts)), len(texts)):
            table_cases(texts[i], putter(i))
        for (s, i), mine, phrased in zip(base, names, roles):
            put = putter(i)
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
            put("necessity", replaced(NECESSITY, said), False)
            put("ability", replaced(ABILITY, said), False)
            put("scrambled", scrambled(s, phrased), True)
            put("roles", swap_roles(s, phrased), False)
            put("numbers", swap_numbers(said), False)
            put("names", swap_names(s, mine), False)
            put("number nearby", number_nearby(said, texts[i]), False)
            put("name nearby", name_nearby(s, mine, of_text[i]), False)
            if counts.get((str(folder), "elsewhere"), 0) < PER_KIND:
                other = random.randrange(len(texts))
                if other != i and s not in texts[other]:
                    counts[(str(folder), "elsewhere")] = counts.get((str(folder), "elsewhere"), 0) + 1
                    emit("elsewhere", s, [texts[other]], False)


if __name__ == "__main__":
    main(sys.argv[1:])
