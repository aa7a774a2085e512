#!/usr/bin/env python3
"""Write tests/parity/text/NAME.digests: 64-bit digests of the reference tokenizer's ids, one for every ten lines of the
corpus of tools/make_text_corpus.py.

    tools/reference/make_token_refs.py [NAME...]
    tools/reference/make_token_refs.py --show LINE NAME

Needs the packages tokenizers and transformers. A digest is FNV-1a over, for each line, the ids without a limit and then
the ids cut to the model's limit, each list as 32-bit little-endian words, its length first.
"""
import argparse
import array
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests/parity/text"
BLOCK = 10


def from_material(name):
    """tokenizer.json of a material, or of a committed folder, through the tokenizers library alone."""
    return lambda: Tokenizer.from_file(str(folder_of(name) / "tokenizer.json"))


def folder_of(name):
    if (HERE / name).is_dir():
        return HERE / name
    printed = subprocess.run([sys.executable, ROOT / "tools/materials.py", name], check=True, stdout=subprocess.PIPE)
    return pathlib.Path(printed.stdout.decode().strip())


def clip_files():
    """CLIP's class in transformers, from vocab.json and merges.txt."""
    from transformers import CLIPTokenizer
    folder = folder_of("clip-vocab")
    return CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))._tokenizer


# name: (the reference tokenizer, its limit)
TOKENIZERS = {
    "clip": (from_material("clip-vocab"), 77),
    "clip-files": (clip_files, 77),
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
