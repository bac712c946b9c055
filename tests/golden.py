#!/usr/bin/env python3
"""Write the numbers that tests/unit/inference/test_golden.c compares with: what Hugging Face transformers compute in fp32
from the tiny models that this test writes. Not part of the test run; for whoever adds a family.

Needs a Python with torch, transformers 4.57 and gguf (all from PyPI):
    HISHO_GOLDEN_OUT=/tmp/golden build/tests/unit/inference_test_golden
    HISHO_GOLDEN_OUT=/tmp/golden build/tests/unit/inference_test_lora    # adapters of llama, qwen2, gemma2 and gpt2: peft, too
    python tests/golden.py /tmp/golden tests/unit/inference/data/golden

Tensor names come from gguf's own table (gguf.get_tensor_name_map), not from this tree, and every tensor of both sides must be
used: a name that only this tree believes in is found here.
"""
import math
import sys
from pathlib import Path

import gguf
import numpy
import torch
import transformers as hf

ADAPTED = ("llama", "qwen2", "gemma2", "gpt2")
N_IDS, N_STEPS, STARTS = 40, 3, [0, 25, 26, 40]


class File:
    """A GGUF: its fields without the architecture's prefix, its tensors as torch's, and which were used."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.arch = self.fields["general.architecture"]
        self.tensors = {t.name: torch.from_numpy(numpy.array(t.data, dtype=numpy.float32)) for t in reader.tensors}
        self.used = set()
        key = [k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == self.arch][0]
        self.names = gguf.get_tensor_name_map(key, self.get("block_count"))

    def get(self, key, default=None):
        return self.fields.get(f"{self.arch}.{key}", default)

    def take(self, name):
        self.used.add(name)
        return self.tensors[name]

    def find(self, theirs):
        return self.names.get_name(theirs, try_suffixes=(".weight", ".bias"))


def scaling(f, truncate=None):
    kind = f.get("rope.scaling.type")
    if not kind:
        return None
    out = {"rope_type": kind, "factor": f.get("rope.scaling.factor")}
    if kind == "yarn":
        out["original_max_position_embeddings"] = f.get("rope.scaling.original_context_length")
        if truncate is not None:
            out["truncate"] = truncate
    return out


def common(f):
    return dict(
        vocab_size=f.tensors["token_embd.weight"].shape[0], hidden_size=f.get("embedding_length"),
        intermediate_size=f.get("feed_forward_length"), num_hidden_layers=f.get("block_count"),
        num_attention_heads=f.get("attention.head_count"), num_key_value_heads=f.get("attention.head_count_kv"),
        max_position_embeddings=f.get("context_length"), rms_norm_eps=f.get("attention.layer_norm_rms_epsilon"),
        layer_norm_eps=f.get("attention.layer_norm_epsilon"), rope_theta=f.get("rope.freq_base", 10000.0),
        head_dim=f.get("attention.key_length", f.get("embedding_length") // f.get("attention.head_count")),
        tie_word_embeddings="output.weight" not in f.tensors, attn_implementation="eager",
        pad_token_id=None, bos_token_id=None, eos_token_id=None)


def unpermute(t, heads):
    return t.reshape(heads, t.shape[0] // heads // 2, 2, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)


def build_llama(f):
    c = common(f)
    experts = f.get("expert_count", 0)
    if experts:
        model = hf.MixtralForCausalLM(hf.MixtralConfig(
            **c, num_local_experts=experts, num_experts_per_tok=f.get("expert_used_count"), sliding_window=None))
    else:
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**c))
    if "rope_freqs.weight" in f.tensors:
        model.model.rotary_emb.inv_freq /= f.take("rope_freqs.weight")
    return model


def build_qwen3moe(f):
    return hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(
        **common(f), num_experts=f.get("expert_count"), num_experts_per_tok=f.get("expert_used_count"),
        moe_intermediate_size=f.get("expert_feed_forward_length"), norm_topk_prob=True, decoder_sparse_step=1))


def build_qwen3(f):
    config = hf.Qwen3Config(**common(f), rope_scaling=scaling(f))
    return hf.Qwen3Model(config) if f.get("pooling_type") else hf.Qwen3ForCausalLM(config)


def build_gemma2(f):
    c = common(f)
    return hf.Gemma2ForCausalLM(hf.Gemma2Config(
        **c, query_pre_attn_scalar=c["head_dim"], sliding_window=f.get("attention.sliding_window"),
        attn_logit_softcapping=f.get("attn_logit_softcapping"), final_logit_softcapping=f.get("final_logit_softcapping")))


def build_gemma3(f):
    c = common(f)
    return hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(
        **c, query_pre_attn_scalar=c["head_dim"], sliding_window=f.get("attention.sliding_window"), rope_scaling=scaling(f)))


def build_gpt_oss(f):
    return hf.GptOssForCausalLM(hf.GptOssConfig(
        **common(f), num_local_experts=f.get("expert_count"), num_experts_per_tok=f.get("expert_used_count"),
        sliding_window=f.get("attention.sliding_window"), rope_scaling=scaling(f, truncate=False)))


def build_gpt2(f):
    c = common(f)
    return hf.GPT2LMHeadModel(hf.GPT2Config(
        vocab_size=c["vocab_size"], n_positions=c["max_position_embeddings"], n_embd=c["hidden_size"],
        n_layer=c["num_hidden_layers"], n_head=c["num_attention_heads"], n_inner=c["intermediate_size"],
        layer_norm_epsilon=c["layer_norm_eps"], tie_word_embeddings=c["tie_word_embeddings"], attn_implementation="eager"))


def build_command_r(f):
    return hf.CohereForCausalLM(hf.CohereConfig(
        **common(f), logit_scale=f.get("logit_scale"), use_qk_norm="blk.0.attn_q_norm.weight" in f.tensors))


def build_cohere2(f):
    return hf.Cohere2ForCausalLM(hf.Cohere2Config(
        **common(f), logit_scale=f.get("logit_scale"), sliding_window=f.get("attention.sliding_window")))


def build_bert(f):
    c = common(f)
    if "cls.output.weight" not in f.tensors:
        return hf.BertModel(hf.BertConfig(**c, type_vocab_size=2), add_pooling_layer=False)
    c["max_position_embeddings"] += 2  # two rows that are never used
    return hf.XLMRobertaForSequenceClassification(hf.XLMRobertaConfig(
        **{**c, "pad_token_id": 1}, type_vocab_size=2, num_labels=f.tensors["cls.output.weight"].shape[0]))


def build_modern_bert(f):
    c = common(f)
    config = hf.ModernBertConfig(
        **{**c, "pad_token_id": 0}, norm_eps=c["layer_norm_eps"], global_rope_theta=c["rope_theta"], local_rope_theta=10000.0,
        local_attention=f.get("attention.sliding_window"), global_attn_every_n_layers=f.get("attention.sliding_window_pattern"),
        classifier_pooling="mean", reference_compile=False, cls_token_id=1, sep_token_id=2)
    if "cls.output.weight" not in f.tensors:
        return hf.ModernBertModel(config)
    config.num_labels = f.tensors["cls.output.weight"].shape[0]
    return hf.ModernBertForSequenceClassification(config)


BUILD = {"llama": build_llama, "qwen2": lambda f: hf.Qwen2ForCausalLM(hf.Qwen2Config(**common(f), rope_scaling=scaling(f))),
         "qwen3": build_qwen3, "qwen3moe": build_qwen3moe, "gemma2": build_gemma2, "gemma3": build_gemma3,
         "gpt-oss": build_gpt_oss, "gpt2": build_gpt2, "command-r": build_command_r, "cohere2": build_cohere2,
         "bert": build_bert, "modern-bert": build_modern_bert}


def expert_weight(f, name):
    """One expert's matrix, or gpt-oss's joined ones; None for other names."""
    parts = name.split(".")
    if "experts" not in parts:
        return None
    block = f"blk.{parts[parts.index('layers') + 1]}"
    kinds = {"w1": "gate", "w2": "down", "w3": "up", "gate_proj": "gate", "down_proj": "down", "up_proj": "up"}
    after = parts[parts.index("experts") + 1:]
    if after[0].isdigit():
        return f.take(f"{block}.ffn_{kinds[after[1]]}_exps.weight")[int(after[0])]
    what = "bias" if after[0].endswith("_bias") else "weight"
    if after[0].startswith("down"):
        t = f.take(f"{block}.ffn_down_exps.{what}")
    else:  # gate and up take turns
        t = torch.stack([f.take(f"{block}.ffn_{k}_exps.{what}") for k in ("gate", "up")], dim=2)
        t = t.reshape(t.shape[0], -1, *t.shape[3:])
    return t if what == "bias" else t.transpose(1, 2)


def weight(f, model, name):
    t = expert_weight(f, name)
    if t is not None:
        return t
    if name.endswith("self_attn.sinks"):
        return f.take(f"blk.{name.split('.')[2]}.attn_sinks.weight")
    special = {"classifier.dense.weight": "cls.weight", "classifier.dense.bias": "cls.bias", "head.dense.weight": "cls.weight",
               "head.norm.weight": "cls.norm.weight", "classifier.out_proj.weight": "cls.output.weight",
               "classifier.out_proj.bias": "cls.output.bias", "classifier.weight": "cls.output.weight",
               "classifier.bias": "cls.output.bias"}
    ours = special.get(name)
    for form in (name, "model." + name, name.removeprefix("model."), name.removeprefix("roberta."), name.removeprefix("transformer.")):
        ours = ours or f.find(form)
    if ours is None:
        raise SystemExit(f"{f.arch}: no name for {name}")
    t = f.take(ours)
    if f.arch == "llama" and ("q_proj" in name or "k_proj" in name):
        t = unpermute(t, f.get("attention.head_count" if "q_proj" in name else "attention.head_count_kv"))
    if f.arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        t = t - 1
    if f.arch == "gpt2" and name.split(".")[-2] in ("c_attn", "c_proj", "c_fc") and name.endswith("weight"):
        t = t.T
    if name == "roberta.embeddings.position_embeddings.weight":
        t = torch.cat([torch.zeros(2, t.shape[1]), t])
    return t


def fill(f, model):
    tied = model.config.tie_word_embeddings
    for name, p in model.named_parameters():
        if tied and name == "lm_head.weight":
            continue
        t = weight(f, model, name)
        if p.shape != t.shape:
            raise SystemExit(f"{f.arch}: {name} is {tuple(p.shape)} here and {tuple(t.shape)} there")
        p.data = t.clone().contiguous()
    if tied and hasattr(model, "lm_head"):
        model.tie_weights()
    left = set(f.tensors) - f.used
    if left:
        raise SystemExit(f"{f.arch}: no place for {sorted(left)}")


def run(f, model):
    n_vocab = f.tensors["token_embd.weight"].shape[0]
    ids = torch.tensor([[i * 31 % n_vocab for i in range(N_IDS)]])
    if f.get("pooling_type") is None:
        return model(input_ids=ids).logits[0, -N_STEPS:]
    out = []
    for start, end in zip(STARTS, STARTS[1:]):
        part = ids[:, start:end]
        more = {"attention_mask": torch.ones_like(part)}
        if isinstance(model, hf.XLMRobertaForSequenceClassification):
            more["position_ids"] = torch.arange(2, 2 + end - start)[None]
        got = model(input_ids=part, **more)
        if "cls.output.weight" in f.tensors:
            out.append(got.logits[0])
            continue
        x = got.last_hidden_state[0]
        x = x.mean(0) if f.get("pooling_type") == 1 else x[-1] if f.get("pooling_type") == 3 else x[0]
        out.append(x / x.norm())
    return torch.stack(out)


def adapt(f, model, path):
    """The model with an adapter of ours on it, by peft; every tensor of the adapter must be used."""
    import peft
    reader = gguf.GGUFReader(path)
    tensors = {t.name: torch.from_numpy(numpy.array(t.data, dtype=numpy.float32)) for t in reader.tensors}
    rank = next(t.shape[0] for name, t in tensors.items() if name.endswith("lora_a"))
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    theirs = {name: f.find(name.removeprefix("transformer.") + ".weight") for name, _ in model.named_modules() if name}
    targets = {name: ours for name, ours in theirs.items() if ours and ours + ".lora_a" in tensors}
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), fan_in_fan_out=f.arch == "gpt2")
    model = peft.get_peft_model(model, config).eval()
    modules = dict(model.base_model.model.named_modules())
    for name, ours in targets.items():
        a, b = tensors.pop(ours + ".lora_a"), tensors.pop(ours + ".lora_b")
        if f.arch == "llama" and name.rsplit(".", 1)[-1] in ("q_proj", "k_proj"):
            b = unpermute(b, f.get("attention.head_count" if "q_proj" in name else "attention.head_count_kv"))
        for pair, t in ((modules[name].lora_A, a), (modules[name].lora_B, b)):
            assert pair["default"].weight.shape == t.shape, (name, t.shape)
            pair["default"].weight.data = t.clone()
    if tensors:
        raise SystemExit(f"{f.arch}: no place for {sorted(tensors)}")
    return model


def write(target, name, rows):
    assert all(math.isfinite(v) for row in rows for v in row.tolist())
    (target / f"{name}.txt").write_text("\n".join(" ".join(f"{v:.7g}" for v in row.tolist()) for row in rows) + "\n")
    print(name, tuple(rows.shape), f"largest {rows.abs().max():.3f}")


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    torch.set_grad_enabled(False)
    for path in sorted(path for path in source.glob("*.gguf") if not path.stem.endswith("-lora")):
        f = File(path)
        model = BUILD[f.arch](f).eval().float()
        fill(f, model)
        write(target, path.stem, run(f, model))
        adapter = path.with_name(f"{path.stem}-lora.gguf")
        if adapter.exists() and path.stem in ADAPTED:
            write(target, adapter.stem, run(f, adapt(f, model, adapter)))


main()
