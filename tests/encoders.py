#!/usr/bin/env python3
"""Compare what `hisho model import` makes of encoders with Hugging Face transformers and tokenizers: ids, vectors, scores. The models
are tiny and random, saved as makers save theirs; the vocabularies are real. Not part of the test run; for whoever changes the importer.

Needs a Python with torch, transformers 4.57, gguf and sentencepiece (all from PyPI), a BEIR corpus for texts, the GGUF of
multilingual-e5-small (for XLM-R's vocabulary) and a SentencePiece model of kind Unigram with byte fallback:
    python tests/encoders.py build corpus.jsonl e5-small.gguf llm-jp.model /tmp/encoders
"""
import json
import pathlib
import shutil
import subprocess
import sys

import gguf
import sentencepiece
import torch
import transformers as hf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

N_TEXTS, N_RUN = 1000, 20
SIZES = dict(hidden_size=64, num_attention_heads=4, intermediate_size=96)


def xlm_roberta(path):
    fields = gguf.GGUFReader(path).fields
    get = lambda name: fields["tokenizer.ggml." + name].contents()
    pieces = list(zip(get("tokens"), map(float, get("scores"))))[:250002]
    t = Tokenizer(models.Unigram(pieces, 3, False))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(bytes(get("precompiled_charsmap"))),
                                         normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                               pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                                     special_tokens=[("<s>", 0), ("</s>", 2)])
    t.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return t


def japanese(path):
    sp = sentencepiece.SentencePieceProcessor(model_file=path)
    n = sp.get_piece_size()
    names = [sp.id_to_piece(i) for i in range(n)]
    bos, eos = names[sp.bos_id()], names[sp.eos_id()]
    t = Tokenizer(models.Unigram([(names[i], float(sp.get_score(i))) for i in range(n)], sp.unk_id(), True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    t.post_processor = processors.TemplateProcessing(single=f"{bos} $A {eos}", pair=f"{bos} $A {eos} {bos}:1 $B:1 {eos}:1",
                                                     special_tokens=[(bos, sp.bos_id()), (eos, sp.eos_id())])
    t.add_special_tokens([AddedToken(names[i], special=True, normalized=False)
                          for i in range(n) if sp.is_control(i) or sp.is_unknown(i)])
    return t, n


def save(folder, model, tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    for name, p in model.named_parameters():  # numbers that a half holds
        size = 0.3 if p.dim() < 2 else 0.08
        p.data = (torch.randn(p.shape) * size + ("norm" in name.lower() and name.endswith("weight"))).half().float()
    model.save_pretrained(folder, safe_serialization=True)
    if tokenizer:
        tokenizer.save(str(folder / "tokenizer.json"))
    if type(model).__name__.endswith("Model"):
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))


def make(e5, spm, work):
    torch.manual_seed(7)
    xlm, (ja, n) = xlm_roberta(e5), japanese(spm)
    bert = dict(SIZES, num_hidden_layers=2, num_labels=1)
    modern = dict(SIZES, num_hidden_layers=4, vocab_size=n + 7, max_position_embeddings=512, local_attention=8, pad_token_id=0,
                  cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, reference_compile=False, num_labels=1,
                  classifier_pooling="mean")
    save(work / "e5", hf.BertModel(hf.BertConfig(**bert, vocab_size=250037, max_position_embeddings=512)), xlm)
    save(work / "xlmr-rank", hf.XLMRobertaForSequenceClassification(hf.XLMRobertaConfig(
        **bert, vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1)), xlm)
    save(work / "bert-rank", hf.BertForSequenceClassification(hf.BertConfig(
        **bert, vocab_size=250037, max_position_embeddings=512, type_vocab_size=1)), xlm)
    save(work / "modern", hf.ModernBertModel(hf.ModernBertConfig(**modern)), ja)
    save(work / "modern-rank", hf.ModernBertForSequenceClassification(hf.ModernBertConfig(**modern)), ja)
    save(work / "modern-spm", hf.ModernBertModel(hf.ModernBertConfig(**modern)), None)
    shutil.copy(spm, work / "modern-spm/tokenizer.model")


def run(program, *arguments, given):
    done = subprocess.run([program, *arguments], input=given.encode(), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def compare_ids(build, made, folder, texts):
    lines = run(build / "tests/system/token_ids", made, given="\0".join(texts) + "\0")
    ours = [[int(x) for x in line.rstrip(" =!").split()] for line in lines]
    if (folder / "tokenizer.json").exists():
        t = Tokenizer.from_file(str(folder / "tokenizer.json"))
        theirs = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
    else:
        theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).encode(texts)
    return sum(a == b for a, b in zip(ours, theirs))


def compare_numbers(build, made, folder, texts):
    ranks = folder.name.endswith("rank")
    lines = [texts[i][:40] + "\t" + texts[i + 1][:150] if ranks else texts[i][:200] for i in range(N_RUN)]
    rows = run(build / "tests/system/encode_texts", made, "exact", given="\n".join(lines) + "\n")
    model = (hf.AutoModelForSequenceClassification if ranks else hf.AutoModel).from_pretrained(folder, attn_implementation="eager").eval()
    t = Tokenizer.from_file(str(folder / "tokenizer.json"))
    worst = largest = 0
    for line, row in zip(lines, rows):
        ids = torch.tensor([t.encode(*line.split("\t")).ids])
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        want = out.logits[0] if ranks else torch.nn.functional.normalize(out.last_hidden_state[0].mean(0), dim=0)
        worst = max(worst, (want - torch.tensor([float(v) for v in row.split()])).abs().max().item())
        largest = max(largest, want.abs().max().item())
    return worst / largest


def main():
    build, corpus, e5, spm, work = (pathlib.Path(p) for p in sys.argv[1:6])
    torch.set_grad_enabled(False)
    make(str(e5), str(spm), work)
    with corpus.open() as lines:
        raw = [json.loads(line)["text"] for _, line in zip(range(N_TEXTS), lines)]
    flat = [" ".join(text.split()) for text in raw]
    failed = False
    for folder in sorted(p for p in work.iterdir() if p.is_dir()):
        made = work / (folder.name + ".gguf")
        pooling = [] if (folder / "tokenizer.json").exists() else ["--pooling", "mean"]
        subprocess.run([build / "cli/hisho", "model", "import", *pooling, folder, made], check=True)
        same = compare_ids(build, made, folder, raw), compare_ids(build, made, folder, flat)
        off = compare_numbers(build, made, folder, flat) if (folder / "tokenizer.json").exists() else 0
        print(f"{folder.name}: ids of {same[0]} and {same[1]} of {len(raw)} texts, numbers within {off:.1e}")
        failed |= same != (len(raw), len(raw)) or off > 1e-4
    sys.exit(failed)


main()
