"""Tokenizer files: CLIP's vocabulary from the open_clip_torch wheel, as transformers lays it out."""
import gzip
import json

from . import fetch

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
