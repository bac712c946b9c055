#!/usr/bin/env python3
"""Count what a run of `meson test` did, by test function, from its JUnit and JSON logs.

usage: tests/tally.py LOGDIR      prints failures and skip reasons, and "passed failed skipped" on descriptor 3

A program that died, ran out of time or printed no plan counts as one failure even where the functions before it passed.
"""
import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SHOWN_LINES = 40


def tally(logs):
    passed = failed = skipped = 0
    failures = []
    for suite in ElementTree.parse(logs / "testlog.junit.xml").getroot():
        program = suite.get("name", "?")
        for case in suite.iter("testcase"):
            name = f"{program}: {case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                failures.append(name)
                print(f"   FAIL  {name}")
            elif skip is not None:
                skipped += 1
                print(f"   skip  {name}: {(skip.get('message') or skip.text or 'no reason given').strip()}")
            else:
                passed += 1
    with open(logs / "testlog.json", encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            if run["result"] in ("OK", "EXPECTEDFAIL", "SKIP"):
                continue
            short = run["name"].split(" / ")[-1]
            if not any(short in name for name in failures):
                failed += 1
            print(f"   FAIL  {short}: {run['result']}, exit {run['returncode']}")
            for text in ((run.get("stdout") or "") + (run.get("stderr") or "")).splitlines()[-SHOWN_LINES:]:
                print(f"         {text}")
    return passed, failed, skipped


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        counts = tally(Path(sys.argv[1]))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        print(f"   FAIL  the test run left no readable log: {error}")
        counts = 0, 1, 0
    sys.stdout.flush()
    os.write(3, ("%d %d %d\n" % counts).encode())


if __name__ == "__main__":
    main()
