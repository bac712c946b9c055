#!/usr/bin/env python3
"""Goal: our tokenisers give the ids that other people's implementations give, on many texts.

usage: 26-token-ids.py [MODEL.gguf...]

Texts are paragraphs of $HISHO_DATA ($HISHO_TEXTS of them, 1000) and made-up hard cases. Compared are
- every pre-tokeniser of the table: its words with the vocabularies' own regular expressions, run by HF tokenizers;
- BPE and WordPiece vocabularies ($HISHO_VOCABS/*.gguf and the arguments) with HF tokenizers made of the same file;
- SentencePiece vocabularies, Unigram and BPE, trained here on the same texts, $HISHO_VOCABS/*.model, and what those files
  declare as "llama", with SentencePiece;
- $HISHO_VOCABS/NAME.PRE.json, each a tokenizer.json whose pre-tokeniser a GGUF calls PRE, with HF tokenizers as it stands;
- $HISHO_VOCABS/NAME.PRE.tiktoken (a line for each token: base64, rank) with tiktoken, where that package is there too.

Needs HISHO_BUILD (as ./check sets it) and the packages tokenizers, sentencepiece, protobuf and gguf, in this interpreter or in
the one that HISHO_TOKENIZERS_PYTHON names.
"""
import base64
import glob
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata


def skip(reason):
    print(reason)
    sys.exit(77)


if "HISHO_DATA" not in os.environ:
    skip("no $HISHO_DATA with paragraphs")
try:
    import gguf
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
except ImportError as e:
    other = os.environ.get("HISHO_TOKENIZERS_PYTHON")
    if other and other != sys.executable:
        os.execv(other, [other, *sys.argv])
    skip(f"no Python package {e.name}: install it, or set HISHO_TOKENIZERS_PYTHON to a Python that has it")

PROGRAM = os.environ["HISHO_BUILD"] + "/tests/system/token_ids"
COUNT = int(os.environ.get("HISHO_TEXTS", "1000"))
random.seed(20)

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def words(digits, letters=r"\p{L}"):
    return (CONTRACTION + rf"|[^\r\n\p{{L}}\p{{N}}]?[{letters}]+|\p{{N}}{digits}| ?[^\s{letters}\p{{N}}]+[\r\n]*|" + SPACES)


def cased(digits, contraction):
    upper, lower, lead = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[^\r\n\p{L}\p{N}]?"
    return (f"{lead}{upper}*{lower}+{contraction}|{lead}{upper}+{lower}*{contraction}|"
            rf"\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + SPACES)


GPT4O = cased("{1,3}", CONTRACTION + "?")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|" + SPACES)
RULES = {  # tokenizer.ggml.pre: the passes
    "qwen2": [words("")], "deepseek-r1-qwen": [words("")], "qwen35": [words("", r"\p{L}\p{M}")],
    "llama-bpe": [words("{1,3}")], "llama3": [words("{1,3}")], "llama-v3": [words("{1,3}")], "lfm2": [words("{1,3}")],
    "gpt-4o": [GPT4O], "llama4": [GPT4O], "tekken": [cased("", "")],
    "cohere2moe": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O], "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "command-r": [r"\p{N}", GPT2], "starcoder": [r"\p{N}", GPT2], "refact": [r"\p{N}", GPT2],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "gpt-2": [GPT2], "phi-2": [GPT2], "mpt": [GPT2], "olmo": [GPT2], "modern-bert": [GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}
COMPOSED = {"qwen2", "deepseek-r1-qwen", "qwen35", "cohere2moe", "tiny_aya", "command-r", "mpt", "olmo", "modern-bert"}
HTML = set("a b blockquote body br caption code div em footer h1 h2 h3 h4 h5 h6 head hr html i iframe img li ol p pre span strong sub"
           " sup table tbody td tfoot th thead tr u ul".split())
WHOLE_FIRST = {"llama-bpe", "llama3", "llama-v3", "lfm2", "tekken"}

ALPHABET = ("aAzZsSÀßŉǅſ" "あアｱ漢字々〆龥龦" "ーｰ゛゜" "\u3099\u0301\u0308\u093f" "012９٣Ⅷ①½" "  \u3000\u00a0\u2009\t\n\r\n\u0085\u200b"
            "''’.,!?/／-_#@&$+<=>^~|`\\[]{}()。、・「」" "\U0001f642\U0001f1ef\u200d\ufe0f" "ह्िغكЖλΣİıﬁ가각ក្" "ʰ\u02bc\ue000\U0001d400")


def made_up():
    pieces = list(ALPHABET) + ["'s", "'S", "'ll", "'RE", "'ſ", "12345", "1234567", "  ", "\n\n", " \n ", "HTMLParser", "iPhone"]
    for n in (1, 2, 3, 5, 9, 30):
        for _ in range(400):
            yield "".join(random.choice(pieces) for _ in range(n))


def paragraphs():
    found = []
    for path in sorted(glob.glob(os.environ["HISHO_DATA"] + "/*/corpus.jsonl")):
        with open(path, encoding="utf-8") as f:
            found += [row["text"] for row in map(json.loads, f)]
    random.shuffle(found)
    return [text.replace("\0", "") for text in found if text][:COUNT]


def run(arguments, texts):
    data = b"".join(text.encode() + b"\0" for text in texts)
    done = subprocess.run([PROGRAM, *arguments], input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return done.stdout.decode().splitlines()


failures = 0


def judge(name, texts, got, want):
    global failures
    wrong = [(t, g, w) for t, g, w in zip(texts, got, want) if g != w]
    print(f"{name}: {len(texts) - len(wrong)} of {len(texts)}" + ("" if len(got) == len(texts) else " (lines are missing)"))
    for text, g, w in wrong[:3]:
        at = max(0, len(os.path.commonprefix([g, w])) - 40)
        print(f"   {text[:80]!r}\n   ours  ...{g[at:at + 160]}\n   other ...{w[at:at + 160]}")
    failures += bool(wrong) or len(got) != len(texts)


def splitter(rule):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated") for expression in rule])


def check_splits(texts):
    same = {}
    for name, rule in RULES.items():
        same.setdefault(tuple(rule), []).append(name)
    for rule, names in same.items():
        cut = splitter(rule)
        want = []
        for text in texts:
            at, ends = 0, []
            for word, _ in cut.pre_tokenize_str(text):
                at += len(word.encode())
                ends.append(str(at))
            want.append(" ".join(ends))
        for name in names:
            judge(f"words of {name}", texts, run(["--split", name], texts), want)


def fields(path):
    return {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items() if k.startswith("tokenizer.")}


def names_something(text):
    return len(text) > 2 and (text[0] + text[-1] in ("<>", "[]"))


def hf_of(f):
    """The same vocabulary in HF tokenizers; None where it is no BPE or WordPiece, or has a pre-tokeniser we refuse."""
    tokens, kinds = f["tokenizer.ggml.tokens"], f.get("tokenizer.ggml.token_type")
    pre = f.get("tokenizer.ggml.pre")
    if f["tokenizer.ggml.model"] == "bert":
        vocab = {("" if t[:1] == "▁" or names_something(t) else "##") + t.removeprefix("▁"): i for i, t in enumerate(tokens)}
        hf = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
        hf.normalizer = normalizers.BertNormalizer()
        hf.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return hf
    if f["tokenizer.ggml.model"] != "gpt2" or pre not in RULES:
        return None
    merges = [(m[:m.index(" ", 1)], m[m.index(" ", 1) + 1:]) for m in f["tokenizer.ggml.merges"]]
    hf = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, ignore_merges=pre in WHOLE_FIRST))
    if pre in COMPOSED:
        hf.normalizer = normalizers.NFC()
    hf.pre_tokenizer = pre_tokenizers.Sequence([splitter(RULES[pre]),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    hf.add_tokens([AddedToken(t, normalized=False) for i, t in enumerate(tokens) if kinds[i] == 4 and not names_something(t)])
    return hf


def without_back(lines):
    return [line[:-2] for line in lines]


def check_hf(name, hf, path, texts):
    want = [" ".join(map(str, hf.encode(text, add_special_tokens=False).ids)) for text in texts]
    judge(f"ids of {name} (HF)", texts, without_back(run([path], texts)), want)


def check_file(path, texts, folder):
    f = fields(path)
    hf = hf_of(f)
    if hf:
        check_hf(os.path.basename(path), hf, path, texts)
    elif f["tokenizer.ggml.model"] == "llama":
        proto = sentencepiece_model_pb2.ModelProto()
        for text, score, kind in zip(f["tokenizer.ggml.tokens"], f["tokenizer.ggml.scores"], f["tokenizer.ggml.token_type"]):
            named = kind == 4 and names_something(text) and text.strip("</>") not in HTML
            proto.pieces.add(piece=text.replace(" ", "▁"), score=score, type=3 if named else kind)
        unknown = f.get("tokenizer.ggml.unknown_token_id", 0)
        proto.pieces[unknown].type = 2
        proto.trainer_spec.unk_id, proto.trainer_spec.model_type, proto.trainer_spec.byte_fallback = unknown, 2, True
        for i, piece in enumerate(proto.pieces):
            if i != unknown and piece.type == 2:
                piece.type = 3
        proto.normalizer_spec.name = "identity"
        proto.normalizer_spec.remove_extra_whitespaces = False
        proto.normalizer_spec.add_dummy_prefix = f.get("tokenizer.ggml.add_space_prefix", True)
        check_sentencepiece(os.path.basename(path), proto.SerializeToString(), None, texts, path)


def write_bpe(out, path, tokens, kinds, merges):
    w = gguf.GGUFWriter(out, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(path.split(".")[-2])
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges(merges)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def check_json(path, texts, folder):
    """A tokenizer.json, made into a GGUF as converters do it, against itself."""
    with open(path, encoding="utf-8") as file:
        whole = json.load(file)
    vocab = dict(whole["model"]["vocab"])
    added = {t["content"]: t for t in whole["added_tokens"]}
    vocab.update({t["content"]: t["id"] for t in added.values()})
    tokens, kinds = [f"[PAD{i}]" for i in range(max(vocab.values()) + 1)], [5] * (max(vocab.values()) + 1)
    for text, i in vocab.items():
        tokens[i], kinds[i] = text, (3 if added[text]["special"] else 4) if text in added else 1
    out = os.path.join(folder, "vocabulary.gguf")
    write_bpe(out, path, tokens, kinds, [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]])
    texts = [t for t in texts if not any(a in t for a in added)]
    check_hf(os.path.basename(path), Tokenizer.from_file(path), out, texts)


def halves(ranks, token):
    """Every two tokens that make this one: tiktoken joins any of them."""
    pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
    return sorted((p for p in pairs if p[0] in ranks and p[1] in ranks), key=lambda p: (ranks[p[0]], ranks[p[1]]))


def check_tiktoken(path, texts, folder):
    try:
        import tiktoken
    except ImportError:
        print(f"{os.path.basename(path)}: no Python package tiktoken")
        return
    with open(path, "rb") as file:
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file if line.strip())}
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    spelling = {b: chr(b) for b in printable}
    spelling.update({b: chr(0x100 + i) for i, b in enumerate(b for b in range(256) if b not in spelling)})
    spelt = {token: "".join(spelling[b] for b in token) for token in ranks}
    tokens = [spelt[token] for token in sorted(ranks, key=ranks.get)]
    merges = [f"{spelt[a]} {spelt[b]}" for token in sorted(ranks, key=ranks.get) for a, b in halves(ranks, token)]
    out, pre = os.path.join(folder, "vocabulary.gguf"), path.split(".")[-2]
    write_bpe(out, path, tokens, [1] * len(tokens), merges)
    encoding = tiktoken.Encoding("own", pat_str=RULES[pre][-1], mergeable_ranks=ranks, special_tokens={})
    composed = [unicodedata.normalize("NFC", text) if pre in COMPOSED else text for text in texts]
    want = [" ".join(map(str, encoding.encode_ordinary(text))) for text in composed]
    judge(f"ids of {os.path.basename(path)} (tiktoken)", texts, without_back(run([out], texts)), want)


def write_sentencepiece(proto, path, declared):
    """As converters do it: in added pieces a space is a space."""
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model(declared)
    w.add_token_list([p.piece.replace("▁", " ") if p.type == 4 else p.piece for p in proto.pieces])
    w.add_token_scores([p.score for p in proto.pieces])
    w.add_token_types([p.type for p in proto.pieces])
    w.add_unk_token_id(proto.trainer_spec.unk_id)
    w.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    w.add_remove_extra_whitespaces(proto.normalizer_spec.remove_extra_whitespaces)
    if proto.normalizer_spec.precompiled_charsmap:
        w.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def check_sentencepiece(name, model, declared, texts, path):
    """path: the same vocabulary as a GGUF, or where to write it as one declared so."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    if declared:
        write_sentencepiece(proto, path, declared)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    special = {p.piece for p in proto.pieces if p.type in (2, 3) or (p.type == 4 and names_something(p.piece))}
    texts = [t for t in texts if not any(s in t for s in special)]
    want = [" ".join(map(str, sp.encode(text))) for text in texts]
    judge(f"ids of {name} as {declared or 'it is'} (SentencePiece)", texts, without_back(run([path], texts)), want)


TRAININGS = [  # model type, options, as what a GGUF declares it
    ("unigram", dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                     user_defined_symbols=["▁▁", "▁▁▁", "日本", "ab", "\t\t"]), "llama"),
    ("unigram", dict(normalization_rule_name="nmt_nfkc", user_defined_symbols=["東京都", "㍿"]), "t5"),
    ("unigram", dict(byte_fallback=True, normalization_rule_name="nfkc_cf", add_dummy_prefix=False), "t5"),
    ("bpe", dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False), "llama"),
    ("bpe", dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
                 add_dummy_prefix=False, user_defined_symbols=["\n\n", "\t", "▁▁", "▁▁▁", "日本", "ab"]), "llama"),
]


def check_trained(texts, folder):
    sentences = [line for text in texts for line in text.splitlines() if line][:20000]
    for kind, options, declared in TRAININGS:
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=out, vocab_size=6000,
                                                 model_type=kind, character_coverage=0.995, max_sentence_length=20000,
                                                 minloglevel=2, num_threads=1, **options)
        name = f"{kind} {options['normalization_rule_name']}"
        check_sentencepiece(name, out.getvalue(), declared, texts, os.path.join(folder, "vocabulary.gguf"))


def main():
    texts = paragraphs() + list(made_up())
    root = os.environ.get("HISHO_VOCABS", "/nonexistent")
    check_splits(texts)
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(glob.glob(root + "/*.gguf")) + sys.argv[1:]:
            check_file(path, texts, folder)
        check_trained(texts, folder)
        for path in sorted(glob.glob(root + "/*.json")):
            check_json(path, texts, folder)
        for path in sorted(glob.glob(root + "/*.tiktoken")):
            check_tiktoken(path, texts, folder)
        for path in sorted(glob.glob(root + "/*.model")):
            check_sentencepiece(os.path.basename(path), pathlib.Path(path).read_bytes(), "llama", texts,
                                os.path.join(folder, "vocabulary.gguf"))
    sys.exit(failures > 0)


main()
