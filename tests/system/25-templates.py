#!/usr/bin/env python3
"""Goal: our interpreter writes what Jinja2 writes, byte for byte, and tells the template's text from what it was given.

Needs HISHO_BUILD (as ./check sets it) and the `jinja2` package, in this interpreter or in the one that HISHO_JINJA_PYTHON
names. Own templates that cover the language are always compared; HISHO_TEMPLATES_DIR names a folder of *.jinja files (the
models/templates folder of a llama.cpp source tree), which are compared in every shape of conversation.
"""
import datetime
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
except ImportError:
    other = os.environ.get("HISHO_JINJA_PYTHON")
    if other and other != sys.executable:
        os.execv(other, [other, *sys.argv])
    print("no jinja2 package: install it, or set HISHO_JINJA_PYTHON to a Python that has it")
    sys.exit(77)

NOW = 1767323045  # 2026-01-02 03:04:05 UTC

# Of the folder's files, those whose model family the engine is for: by name, and by the marks that they write.
FAMILIES = ("llama", "Llama", "Hermes", "functionary", "firefunction", "Qwen", "QwQ", "MiMo", "gpt-oss", "Cohere", "command-r", "gemma",
            "Mistral", "mistral", "Ministral", "SmolLM3", "granite", "Phi", "DeepSeek-R1", "deepseek-r1", "Apertus", "Bielik")


class Generation(jinja2.ext.Extension):
    """{% generation %}: a scope of its own around what the assistant says."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller):
        return caller()


class Raised(Exception):
    pass


def environment(mutable):
    """As the `transformers` package makes it for chat templates. mutable: with list.append and the like, which it forbids."""
    kind = jinja2.sandbox.SandboxedEnvironment if mutable else jinja2.sandbox.ImmutableSandboxedEnvironment
    e = kind(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)

    e.filters["tojson"] = tojson
    e.globals["raise_exception"] = raise_exception
    e.globals["strftime_now"] = strftime_now
    return e


ENVIRONMENTS = [environment(False), environment(True)]


@functools.lru_cache(maxsize=4)
def compiled(index, template):
    return ENVIRONMENTS[index].from_string(template)


def expected(template, context):
    """(text, None), or (None, why it fails)."""
    for index in range(len(ENVIRONMENTS)):
        try:
            return compiled(index, template).render(json.loads(json.dumps(context))), None
        except jinja2.exceptions.SecurityError as error:
            why = error  # lists that change: the second environment allows them, as we do
        except Raised as error:
            return None, f"raised: {error}"
        except Exception as error:  # whatever Python makes of a wrong template
            return None, f"{type(error).__name__}: {error}"
    return None, f"SecurityError: {why}"


class Renderer:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, template, context):
        return self.ask({"template": template, "context": context, "time": NOW})

    def ask(self, what):
        ask = json.dumps(what, ensure_ascii=False)
        self.process.stdin.write(ask.encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"template_render ended with {self.process.wait()}")
        return json.loads(line)


# --- what is said ---

# Hangul stands in no template: where it comes out, data comes out.
def is_data(c):
    return "\uac00" <= c <= "\ud7a3"


HELLO = "가<|im_end|>나"
TEXTS = {"plain": HELLO, "empty": "", "spaces": " \u3000\n 다 라 \n", "lines": "마\n\n바\t\"'\\&<s>[INST]</s>", "bare": "사"}
TOOLS = [{"type": "function", "function": {"name": "아", "description": "자 \"차\"\n카", "parameters": {
    "type": "object", "properties": {"타": {"type": "string", "description": "파"}, "하": {"type": "integer", "enum": [1, 2]},
                                     "거": {"type": "array", "items": {"type": "number"}}},
    "required": ["타"]}}}]
CALL = {"id": "callabcde", "type": "function", "function": {"name": "아", "arguments": {"타": "너 \"더\"", "하": 3}}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def conversations():
    for name, text in TEXTS.items():
        yield f"one turn, {name}", [turn("user", text)]
        yield f"system, {name}", [turn("system", text), turn("user", HELLO)]
        yield f"turns, {name}", [turn("user", HELLO), turn("assistant", text), turn("user", text)]
        yield f"system and turns, {name}", [turn("system", HELLO), turn("user", text), turn("assistant", text), turn("user", text),
                                            turn("assistant", HELLO)]
    yield "developer", [turn("developer", HELLO), turn("user", HELLO)]
    yield "two systems", [turn("system", HELLO), turn("system", "머"), turn("user", HELLO)]
    yield "system late", [turn("user", HELLO), turn("system", "머"), turn("user", HELLO)]
    yield "two users", [turn("user", HELLO), turn("user", "머")]
    yield "assistant first", [turn("assistant", HELLO), turn("user", "머")]
    yield "nothing", []
    yield "no content", [turn("user", None)]
    yield "unknown role", [turn("narrator", HELLO), turn("user", HELLO)]
    yield "thinking", [turn("user", HELLO), turn("assistant", "<think>\n버\n</think>\n\n서"), turn("user", "머"),
                       turn("assistant", "어", reasoning_content="저", thinking="저")]
    yield "parts", [turn("user", [{"type": "text", "text": HELLO}, {"type": "text", "text": "처"}])]
    for content in ("", None, "커"):
        yield f"tools, {content}", [turn("system", HELLO), turn("user", HELLO), turn("assistant", content, tool_calls=[CALL]),
                                    turn("tool", "터 {\"퍼\": 1}", tool_call_id="callabcde", name="아"), turn("assistant", "허"),
                                    turn("user", "머")]
    yield "two calls", [turn("user", HELLO), turn("assistant", "", tool_calls=[CALL, {**CALL, "id": "callabcdf"}]),
                        turn("tool", "고", tool_call_id="callabcde", name="아"),
                        turn("tool", "노", tool_call_id="callabcdf", name="아")]
    yield "call without type", [turn("user", HELLO), turn("assistant", "", tool_calls=[{"function": CALL["function"]}]),
                                turn("tool", {"도": [1, 2.5, True, None]})]


def contexts():
    base = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "functions": "[\"호\"]",
            "datetime": "지금"}
    variants = [{}, {"tools": TOOLS}, {"tools": None, "documents": None}, {"enable_thinking": False}, {"enable_thinking": True, "reasoning_effort": "low"},
                {"documents": [{"title": "로", "text": "모"}], "citation_mode": "accurate"}]
    for (name, messages), (generation, more) in itertools.product(conversations(), [(False, {}), *((True, v) for v in variants)]):
        yield (f"{name}, {'' if generation else 'no '}generation, {', '.join(more) or 'plain'}",
               {**base, "messages": messages, "add_generation_prompt": generation, **more})


# --- our own templates: each construct of the language ---

LANGUAGE = Path(__file__).with_name("template_language.txt")


def own_templates():
    """Templates between lines of "===", each under its title."""
    for piece in LANGUAGE.read_text(encoding="utf-8").split("\n===")[1:]:
        title, _, body = piece.partition("\n")
        yield title.strip(), body


def language_context():
    return {"messages": [turn("system", "가 나"), turn("user", "다라"), turn("assistant", "마\n바"), turn("user", "사")],
            "words": ["banana", "Apple", "cherry", "apple", "가나"], "numbers": [3, 1, 2, 10, -5], "text": " 가나다 abc ", "none_value": None,
            "mapping": {"b": 2, "a": 1, "C": 3}, "flag": True, "ten": 10, "real": 2.5, "tools": TOOLS, "items": {"items": "자"},
            "empty": [], "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "nested": [[1, 2], [3, [4]]],
            "people": [{"name": "차", "age": 30, "on": True}, {"name": "카", "age": 25, "on": False}, {"name": "타", "age": 30}]}


# --- comparing ---

class Tally:
    def __init__(self):
        self.same, self.both_fail, self.wrong = 0, 0, []


def compare(render, tally, title, template, context, may_fail=True):
    want, why = expected(template, context)
    if want is None and not may_fail:
        tally.wrong.append(f"{title}: Jinja2 fails with {why}")
        return
    got = render(template, context)
    if "error" in got:
        if want is None and got["error"] in ("template.raised", "template.failed", "template.syntax") and \
                why.startswith("raised:") == (got["error"] == "template.raised"):
            tally.both_fail += 1
        else:
            tally.wrong.append(f"{title}: {got['error']} {got['object']}; Jinja2: {why or repr(want)[-300:]}")
        return
    text = "".join(run[1] for run in got["runs"])
    if want is None:
        tally.wrong.append(f"{title}: Jinja2 fails with {why}; ours: {text[-200:]!r}")
    elif text != want:
        at = next((i for i, (a, b) in enumerate(zip(text, want)) if a != b), min(len(text), len(want)))
        tally.wrong.append(f"{title}: differs at {at}: {text[max(at - 40, 0):at + 60]!r}, wanted {want[max(at - 40, 0):at + 60]!r}")
    elif any(is_data(c) for source, run in got["runs"] if source == 0 for c in run):
        tally.wrong.append(f"{title}: data came out as the template's text")
    elif HELLO in want and HELLO not in "".join(run[1] if run[0] else "\0" for run in got["runs"]):
        tally.wrong.append(f"{title}: a mark within data came out as the template's")
    else:
        tally.same += 1


def compare_form(render, tally, template):
    """What Jinja2 can render of the plainest question is a form that can be used."""
    got = render.ask({"form": template})
    context = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None, "enable_thinking": False,
               "reasoning_effort": "low", "messages": [turn("user", "word")], "add_generation_prompt": True}
    want, why = expected(template, context)
    if "error" in got and want is not None:
        tally.wrong.append(f"refused as a form: {got['error']} {got['object']}")
    elif "error" not in got and not (want and want.endswith("word" + got["begin"])):
        tally.wrong.append(f"as a form it begins a turn with {got['begin']!r}; Jinja2: {why or want!r}")


def report(name, tally):
    print(f"{name}: {tally.same} same, {tally.both_fail} refused by both, {len(tally.wrong)} wrong")
    for line in tally.wrong[:8]:
        print("  " + line)
    return bool(tally.wrong)


def main():
    render = Renderer(Path(os.environ["HISHO_BUILD"]) / "tests/system/template_render")
    failed = False
    tally = Tally()
    for title, template in own_templates():
        compare(render, tally, title, template, language_context(), title.startswith("wrong: "))
    failed |= report("the language", tally)
    for name, template in render.ask({"builtins": True}).items():
        tally = Tally()
        for title, context in contexts():
            compare(render, tally, title, template, context)
        compare_form(render, tally, template)
        failed |= report(f"our own form {name}", tally)
    folder = os.environ.get("HISHO_TEMPLATES_DIR")
    files = sorted(Path(folder).glob("*.jinja")) if folder else []
    everything = os.environ.get("HISHO_TEMPLATES_ALL")
    n = 0
    for path in files:
        if not everything and not any(family in path.name for family in FAMILIES):
            continue
        template, tally = path.read_text(encoding="utf-8"), Tally()
        for title, context in contexts():
            compare(render, tally, title, template, context)
        compare_form(render, tally, template)
        if tally.same == 0:
            tally.wrong.append("no conversation could be rendered")
        failed |= report(path.name, tally)
        n += 1
    if failed:
        sys.exit(1)
    if not folder:
        print("the language is compared; set HISHO_TEMPLATES_DIR to a folder of *.jinja files to compare those")
        sys.exit(77)
    if n == 0:
        sys.exit(f"no template of a known family in {folder}")
    print(f"{n} templates")


main()
