"""A tiny random reranker in the form that makers publish (XLM-R, one layer), for tests of what stands around it: its order means
nothing, and is always the same."""
import json
import random
import struct

HIDDEN, FF, CONTEXT = 32, 48, 256


def tensors(n_vocab):
    yield "roberta.embeddings.word_embeddings.weight", [n_vocab, HIDDEN]
    yield "roberta.embeddings.position_embeddings.weight", [CONTEXT + 2, HIDDEN]
    yield "roberta.embeddings.token_type_embeddings.weight", [1, HIDDEN]
    for part in ("weight", "bias"):
        yield f"roberta.embeddings.LayerNorm.{part}", [HIDDEN]
    layer = "roberta.encoder.layer.0."
    for name, rows, columns in (("attention.self.query", HIDDEN, HIDDEN), ("attention.self.key", HIDDEN, HIDDEN),
                                ("attention.self.value", HIDDEN, HIDDEN), ("attention.output.dense", HIDDEN, HIDDEN),
                                ("intermediate.dense", FF, HIDDEN), ("output.dense", HIDDEN, FF)):
        yield f"{layer}{name}.weight", [rows, columns]
        yield f"{layer}{name}.bias", [rows]
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        yield f"{layer}{name}.weight", [HIDDEN]
        yield f"{layer}{name}.bias", [HIDDEN]
    yield "classifier.dense.weight", [HIDDEN, HIDDEN]
    yield "classifier.dense.bias", [HIDDEN]
    yield "classifier.out_proj.weight", [1, HIDDEN]
    yield "classifier.out_proj.bias", [1]


def write(folder, letters):
    """config.json, model.safetensors, tokenizer.json; a token for each of the letters."""
    folder.mkdir()
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [[m, 0.0] for m in marks] + [[c, -2.0 - 0.01 * i] for i, c in enumerate(["▁", *sorted(set(letters) - {" "})])]
    special = [{"id": i, "content": m, "special": True} for i, m in enumerate(marks)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces}, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}}))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"], "hidden_size": HIDDEN,
        "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": FF, "vocab_size": len(pieces),
        "max_position_embeddings": CONTEXT + 2, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5,
        "hidden_act": "gelu"}))
    random.seed(28)
    header, data = {}, bytearray()
    for name, shape in tensors(len(pieces)):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        begin = len(data)
        data += struct.pack(f"<{count}f", *(centre + random.uniform(-0.6, 0.6) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
