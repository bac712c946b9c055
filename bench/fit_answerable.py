#!/usr/bin/env python3
"""Fits the weights of daemon/tenant/answerable.c and shows what they are worth on sets that they were not fitted on.

usage: fit_answerable.py [--plot FILE.svg] signals.jsonl...
Each file is what `hisho-answers judge` printed for one set, each question once with its gold passages and once without. The first two
files are halved by question: the first halves fit, the second halves test; every further file only tests. Rows of a model's answers
(`hisho-answers write` before `judge`) fit the second table. No library is used, and the same files give the same weights. --plot draws the
curves of the first table over the questions that only test.
"""
import bisect
import json
import math
import sys
import zlib
from pathlib import Path

X_MOST = 0.5  # of the plot
PLOTTED = "before, words and vectors"
WRONG = (0.05, 0.10, 0.20)  # shares of answerable questions that go unanswered: the curve
TABLES = {  # name: its signals, in the order of enum hs_signal
    "before, words and vectors": ["coverage", "evidence", "words", "lead", "dense"],
    "before, words alone": ["coverage", "evidence", "words", "lead"],
    "after": ["before", "held", "overlap"],
}


def fit(rows, keys, pull=1.0, steps=3000):
    """Logistic regression over standardised signals; returned in the signals' own units, the constant last."""
    mean = [sum(r[k] for r in rows) / len(rows) for k in keys]
    spread = [(sum((r[k] - m) ** 2 for r in rows) / len(rows)) ** 0.5 or 1.0 for k, m in zip(keys, mean)]
    points = [[(r[k] - m) / s for k, m, s in zip(keys, mean, spread)] + [1.0] for r in rows]
    weights = [0.0] * (len(keys) + 1)
    for _ in range(steps):
        slope = [pull * w for w in weights[:-1]] + [0.0]
        for x, r in zip(points, rows):
            wrong = (1 / (1 + math.exp(-sum(a * b for a, b in zip(weights, x)))) - (1 - r["hidden"])) * r["share"]
            slope = [g + wrong * v for g, v in zip(slope, x)]
        weights = [w - 2 * g / len(rows) for w, g in zip(weights, slope)]
    own = [w / s for w, s in zip(weights, spread)]
    return own + [weights[-1] - sum(w * m for w, m in zip(own, mean))]


def score(weights, keys, row):
    return sum(w * row[k] for w, k in zip(weights, keys)) + weights[-1]


def show(name, rows, key):
    there = sorted(r[key] for r in rows if not r["hidden"])
    gone = [r[key] for r in rows if r["hidden"]]
    if not there or not gone:
        return
    auc = sum((a > b) + 0.5 * (a == b) for a in there for b in gone) / (len(there) * len(gone))
    curve = ", ".join(f"{sum(g < there[int(w * len(there))] for g in gone) / len(gone):.0%} at {w:.0%}" for w in WRONG)
    print(f"  {name:24} {len(there)} with, {len(gone)} without: AUC {auc:.3f}; silent without, at silent with: {curve}")


def curve(rows, key):
    """For each threshold: the share of answerable questions below it, and that of the others."""
    there = sorted(r[key] for r in rows if not r["hidden"])
    gone = sorted(r[key] for r in rows if r["hidden"])
    return [(bisect.bisect_left(there, t) / len(there), bisect.bisect_left(gone, t) / len(gone)) for t in sorted({*there, *gone})] + [(1, 1)]


def plot(path, curves):
    """Silence where there is no answer against silence where there is one. A curve's name stands at its end."""
    left, top, side = 64, 44, 420
    x, y = (lambda v: left + v / X_MOST * side), (lambda v: top + (1 - v) * side)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {top + side + 62}" font-family="sans-serif" font-size="14" fill="#333">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="{left}" y="24" font-size="16">Questions met with silence, by threshold (multilingual-e5-small)</text>']
    for v in range(0, 101, 20):
        out.append(f'<path d="M{left} {y(v / 100):.1f}h{side}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(v / 100) + 5:.1f}" text-anchor="end">{v}%</text>')
    for v in range(0, int(X_MOST * 100) + 1, 10):
        out.append(f'<path d="M{x(v / 100):.1f} {top}v{side}" stroke="#ddd"/>'
                   f'<text x="{x(v / 100):.1f}" y="{top + side + 20}" text-anchor="middle">{v}%</text>')
    out.append(f'<text x="{left + side / 2}" y="{top + side + 44}" text-anchor="middle">of those whose passage is there</text>')
    out.append(f'<text transform="translate(16 {top + side / 2}) rotate(-90)" text-anchor="middle">of those whose passage is not</text>')
    out.append(f'<path d="M{x(0)} {y(0)}L{x(X_MOST)} {y(X_MOST):.1f}" stroke="#aaa" stroke-dasharray="4 4"/>'
               f'<text x="{x(X_MOST) + 8}" y="{y(X_MOST) + 5:.1f}" fill="#888">by chance</text>')
    names = []
    for (name, points), colour in zip(curves, ("#0b6bcb", "#c2410c", "#15803d")):
        inside = [(a, b) for a, b in points if a <= X_MOST]
        line = "".join(f"H{x(a):.1f}V{y(b):.1f}" for a, b in inside)
        out.append(f'<path d="M{x(0)} {y(0)}{line}H{x(X_MOST)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        names.append((y(inside[-1][1]), colour, name))
    below = 0
    for at, colour, name in sorted(names):
        below = max(at + 5, below + 20)  # none over another
        out.append(f'<text x="{x(X_MOST) + 8}" y="{below:.1f}" fill="{colour}">{name}</text>')
    Path(path).write_text("\n".join(out) + "\n</svg>\n", encoding="utf-8")


def half(rows, which):
    return [r for r in rows if zlib.crc32(r["id"].encode()) % 2 == which]


def main(paths):
    picture = paths[1] if paths[:1] == ["--plot"] else None
    paths = paths[2:] if picture else paths
    sets = [(Path(p).stem, [json.loads(line) for line in open(p, encoding="utf-8")]) for p in paths]
    for _, rows in sets[:2]:  # both count alike, however many questions they have
        for r in rows:
            r["share"] = sum(len(other) for _, other in sets[:2]) / (2 * len(rows))
    fitting = [r for _, rows in sets[:2] for r in half(rows, 0)]
    testing = [(f"{n}, other half", half(rows, 1)) for n, rows in sets[:2]] + sets[2:]
    for table, keys in TABLES.items():
        own = [r for r in fitting if table != "after" or r["written"]]
        if not own:
            continue
        weights = fit(own, keys)
        print(f"{table}: " + ", ".join(f"{k} {w:.3f}f" for k, w in zip(keys + ["constant"], weights)) + f"; fitted on {len(own)} rows")
        key = "before" if keys == TABLES["before, words and vectors"] else table
        for _, rows in sets:
            for r in rows:
                r[key] = score(weights, keys, r)
        show("fitted on", own, key)
        there = sorted(r[key] for r in own if not r["hidden"])
        print("  thresholds: " + ", ".join(f"{there[int(w * len(there))]:.2f} at {w:.0%}" for w in WRONG))
        for name, rows in testing:
            show(name, [r for r in rows if table != "after" or r["written"]], key)
        if picture and table == PLOTTED:
            plot(picture, [(name, curve(rows, key)) for name, rows in testing])


if __name__ == "__main__":
    main(sys.argv[1:])
