#!/usr/bin/env python3
"""Train the small tokenizers under tests/parity/text/ (bert-cased, bert-files, roberta, unigram), which stand for models
whose vocabularies no package ships.

    tools/reference/make_small_tokenizers.py

Needs the package tokenizers; run make_token_refs.py after it.
"""
import base64
import json
import pathlib
import struct
import sys
import unicodedata

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests/parity/text"
sys.path.insert(0, str(ROOT / "tools"))
import make_text_corpus  # noqa: E402
from material import charsmap  # noqa: E402

BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def training_lines():
    seeds = make_text_corpus.SEEDS.read_text(encoding="utf-8").rstrip("\n").split("\n")
    known = set("".join(seeds))
    spelt = ("<s>", "</s>", "<pad>", "<unk>", "<mask>", "<0x")
    return [line for line in make_text_corpus.corpus(seeds)
            if len(line) < 300 and set(line) <= known and not any(token in line for token in spelt)]


def save(name, tokenizer, change=lambda json_: None):
    data = json.loads(tokenizer.to_str())
    change(data)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")


def bert(lines, size, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=BERT_SPECIAL, limit_alphabet=700, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    return tokenizer


def bert_files(lines):
    tokenizer = bert(lines, 2500, lowercase=True, strip_accents=False, handle_chinese_chars=False)
    folder = HERE / "bert-files"
    folder.mkdir(exist_ok=True)
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    (folder / "vocab.txt").write_text("".join(token + "\n" for token, _ in vocab), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False, "cls_token": "[CLS]",
        "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": False, "normalized": False},
        "tokenizer_class": "BertTokenizer"}) + "\n")


def roberta(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=2500, special_tokens=ROBERTA_SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def small_charsmap():
    """In the manner of nmt_nfkc, for some blocks."""
    single = {chr(c): "" for c in [*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]}
    single.update({chr(c): " " for c in [9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0xFEFF, 0xFFFD]})
    for c in [*range(0x80, 0x530), *range(0x900, 0xA80), *range(0x1E00, 0x2200), *range(0x3000, 0x3130),
              *range(0x3200, 0x3300), *range(0xFB00, 0xFB10), *range(0xFF00, 0xFFF0)]:
        new = unicodedata.normalize("NFKC", chr(c))
        if new != chr(c):
            single[chr(c)] = new
    return charsmap.build(charsmap.with_sequences(single))


def unigram(lines):
    rules = small_charsmap()
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Precompiled(rules)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(lines, trainers.UnigramTrainer(
        vocab_size=2200, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])

    def change(data):
        data["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(rules).decode()},
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}]}
        vocab = data["model"]["vocab"]
        # Scores as SentencePiece has them, in 32 bits; and the bytes, for byte_fallback.
        vocab[:] = [[token, struct.unpack("f", struct.pack("f", score))[0]] for token, score in vocab]
        vocab.extend([f"<0x{byte:02X}>", -18.0] for byte in range(256))
        for token in data["added_tokens"]:
            if token["content"] == "<mask>":
                token["id"] = len(vocab)
    save("unigram", tokenizer, change)


def main():
    lines = training_lines()
    print(len(lines), "lines to train on")
    save("bert-cased", bert(lines, 2500, lowercase=False))
    bert_files(lines)
    save("roberta", roberta(lines))
    unigram(lines)


if __name__ == "__main__":
    main()
