#!/usr/bin/env python3
"""Goal: what `hisho VERB --help`, the bash completion and the man page say of verbs and options is one and the same."""
import os
import re
import subprocess

from appliance import BUILD, ROOT, check

HISHO = BUILD / "cli" / "hisho"
ENV = {**os.environ, "LC_ALL": "C", "PATH": f"{HISHO.parent}:{os.environ['PATH']}"}
COMPLETE = f"""
source {ROOT}/packaging/completions/hisho
COMP_WORDS=(hisho "$@")
COMP_CWORD=$#
_hisho
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def hisho(*args):
    done = subprocess.run([HISHO, *args], capture_output=True, text=True, env=ENV)
    check(done.returncode == 0 and not done.stderr, f"hisho {' '.join(args)}: {done.returncode} {done.stderr}")
    return done.stdout


def completed(*words):
    out = subprocess.run(["bash", "-c", COMPLETE, "hisho", *words], capture_output=True, text=True, env=ENV, check=True).stdout
    return set(out.split())


def options(text):
    return set(re.findall(r"^  --([a-z-]+)", text, re.M))


def manual():
    """{"tenant add": {"option", ...}} of the section VERBS, and the common options."""
    source = (ROOT / "docs" / "man" / "hisho.1").read_text().replace("\\-", "-")
    sections = dict(re.findall(r"^\.SH (.+)\n((?:(?!\.SH ).*\n)*)", source, re.M))
    verbs = {}
    for paragraph in re.split(r"^\.TP\n", sections["VERBS"], flags=re.M)[1:]:
        heading, text = paragraph.split("\n", 1)
        name = re.match(r'\.BI? "?hisho ([a-z]+(?: [a-z]+)?)', heading)
        check(name and name[1] not in verbs, f"a heading of the page: {heading}")
        verbs[name[1]] = set(re.findall(r"--([a-z-]+)", re.split(r"^\.(?:SS|PP)", text, flags=re.M)[0]))
    return verbs, set(re.findall(r"--([a-z-]+)", sections["COMMON OPTIONS"]))


told, common = manual()
common |= {"help"}
verbs = hisho("--verbs").split()
check(set(re.findall(r"^  ([a-z]+) ", hisho("--help"), re.M)) == set(verbs), "hisho --help lists other verbs")
check(completed("") == set(verbs) | {"--help", "--version"}, f"verbs are completed to {completed('')}")
known = {}
for verb in verbs:
    text = hisho(verb, "--help")
    inner = re.findall(rf"^hisho {verb} ([a-z]+)\b", text, re.M) if not options(text) else []
    if inner:
        check(completed(verb, "") == set(inner), f"hisho {verb} is completed to {completed(verb, '')}")
    for words in [(verb, word) for word in inner] or [(verb,)]:
        whole = options(hisho(*words, "--help"))
        check(common <= whole, f"{words} lacks {common - whole}")
        check(completed(*words, "--") == {f"--{o}" for o in whole}, f"{words}: completed to {completed(*words, '--')}")
        known[" ".join(words)] = whole - common
check(set(told) == set(known), f"the man page has other verbs: {set(told) ^ set(known)}")
for name, own in known.items():
    check(told[name] - common == own, f"the man page on {name}: {(told[name] - common) ^ own}")
print(f"{len(known)} verbs with {sum(map(len, known.values()))} options are told alike in three places")
