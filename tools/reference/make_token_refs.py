#!/usr/bin/env python3
"""Write tests/parity/text/NAME.digests: 64-bit digests of the reference tokenizer's ids, one for every 20 lines of the
corpus of tools/make_text_corpus.py.

    tools/reference/make_token_refs.py [NAME...]
    tools/reference/make_token_refs.py --show LINE NAME

Needs the packages tokenizers and transformers. A digest is FNV-1a over, for each line, the ids without a limit and then
the ids cut to the model's limit, each list as 32-bit little-endian words, its length first.
"""
import argparse
import array
import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests/parity/text"
BLOCK = 20


def folder_of(name):
    """A committed folder, or a material's."""
    if (HERE / name).is_dir():
        return HERE / name
    printed = subprocess.run([sys.executable, ROOT / "tools/materials.py", name], check=True, stdout=subprocess.PIPE)
    return pathlib.Path(printed.stdout.decode().strip())


def from_json(name, old="", new=""):
    """A folder's tokenizer.json through the tokenizers library alone, with one replacement in its text."""
    def make():
        text = (folder_of(name) / "tokenizer.json").read_text(encoding="utf-8")
        assert old in text
        return Tokenizer.from_str(text.replace(old, new, 1) if old else text)
    return make


def from_files(class_name, name, **files):
    """A folder's other files through their class in transformers."""
    def make():
        import transformers
        folder = folder_of(name)
        config = folder / "tokenizer_config.json"
        options = json.loads(config.read_text()) if config.exists() else {}
        options = {key: value for key, value in options.items()
                   if key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")}
        files_ = {key: str(folder / value) for key, value in files.items()}
        return getattr(transformers, class_name)(**files_, **options)._tokenizer
    return make


METASPACE = '"pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true}'
WORDS = ('"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},'
         '{"type":"Metaspace","replacement":"\u2581","add_prefix_space":true}]}')

# name: (the reference tokenizer, its limit). tests/parity/text/test_token_parity.c has the same list.
TOKENIZERS = {
    "clip": (from_json("clip-vocab"), 77),
    "clip-files": (from_files("CLIPTokenizer", "clip-vocab", vocab="vocab.json", merges="merges.txt"), 77),
    "minilm": (from_json("minilm"), 128),
    "minilm-files": (from_files("BertTokenizer", "minilm", vocab="vocab.txt"), 128),
    "bert-cased": (from_json("bert-cased"), 16),
    "bert-strip": (from_json("bert-cased", '"strip_accents":null', '"strip_accents":true'), 16),
    "bert-files": (from_files("BertTokenizer", "bert-files", vocab="vocab.txt"), 16),
    "roberta": (from_json("roberta"), 16),
    "roberta-prefix": (from_json("roberta", '"add_prefix_space":false', '"add_prefix_space":true'), 16),
    "e5": (from_json("e5-small"), 512),
    "unigram": (from_json("unigram"), 16),
    "unigram-bytes": (from_json("unigram", '"byte_fallback":false', '"byte_fallback":true'), 16),
    "unigram-words": (from_json("unigram", METASPACE, WORDS), 16),
}


def corpus():
    data = subprocess.run([sys.executable, ROOT / "tools/make_text_corpus.py"], check=True, stdout=subprocess.PIPE).stdout
    lines, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        lines.append(data[at + 4:at + 4 + size].decode())
        at += 4 + size
    return lines


def fnv(digest, data):
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def encoded(tokenizer, limit, lines):
    """For each line: its ids, whole and cut."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    whole = [e.ids for e in tokenizer.encode_batch(lines)]
    tokenizer.enable_truncation(limit)
    cut = [e.ids for e in tokenizer.encode_batch(lines)]
    return zip(whole, cut)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, metavar="LINE")
    parser.add_argument("names", nargs="*", default=sorted(TOKENIZERS))
    options = parser.parse_args()
    lines = corpus()
    for name in options.names:
        make, limit = TOKENIZERS[name]
        tokenizer = make()
        if options.show is not None:
            print(*tokenizer.encode(lines[options.show]).ids)
            continue
        digests = array.array("Q")
        for i, lists in enumerate(encoded(tokenizer, limit, lines)):
            if i % BLOCK == 0:
                digests.append(0xCBF29CE484222325)
            for ids in lists:
                digests[-1] = fnv(digests[-1], array.array("I", [len(ids), *ids]).tobytes())
        (HERE / f"{name}.digests").write_bytes(digests.tobytes())
        print(name, len(lines), "lines")


if __name__ == "__main__":
    main()
