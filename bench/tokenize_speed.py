#!/usr/bin/env python3
"""Tokenizers: milliseconds to open and megabytes a second, ours and the tokenizers library's: one run, one thread, CPU time.

    python3 -m venv peers && peers/bin/pip install tokenizers
    cmake --preset release && cmake --build build && tools/materials.py clip-vocab minilm e5-small
    peers/bin/python bench/tokenize_speed.py

The text is natural: sentences of many languages, in a random order, and English alone. The peer keeps a cache of words, ours none.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import make_text_corpus  # noqa: E402

FOLDERS = {"CLIP, BPE": "clip-vocab", "MiniLM, WordPiece": "minilm", "e5, Unigram": "e5-small", "RoBERTa-like, BPE": "roberta"}


def texts():
    seeds = make_text_corpus.SEEDS.read_text(encoding="utf-8").rstrip("\n").split("\n")
    random = make_text_corpus.Random(1)
    mixed = [make_text_corpus.shuffled(random, seeds).replace("\n", " ") for _ in range(8000)]
    english = [make_text_corpus.shuffled(random, seeds[:12]).replace("\n", " ") for _ in range(8000)]
    return {"mixed": mixed, "english": english}


def peer(folder, lines, seconds):
    start = time.process_time()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    opened = time.process_time()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rounds = 0
    while time.process_time() - opened < seconds:
        tokens = sum(len(tokenizer.encode(line)) for line in lines)
        rounds += 1
    spent = time.process_time() - opened
    size = sum(len(line.encode()) + 1 for line in lines)
    return {"open_ms": 1e3 * (opened - start), "mb_per_s": 1e-6 * size * rounds / spent, "tokens": tokens}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    cache = pathlib.Path(os.environ.get("KINDRED_CACHE") or os.path.expanduser("~/.cache/kindred"))
    print(f"{'tokenizer':18} {'text':8} {'ours MB/s':>10} {'peer MB/s':>10} {'ours open':>10} {'peer open':>10}")
    for name, folder in FOLDERS.items():
        path = ROOT / "tests/parity/text" / folder
        path = path if path.is_dir() else cache / folder
        for kind, lines in texts().items():
            with tempfile.NamedTemporaryFile(suffix=".txt") as file:
                file.write("\n".join(lines).encode() + b"\n")
                file.flush()
                done = subprocess.run([options.build / "bench/bench-tokenize", path, file.name, str(options.seconds)],
                                      check=True, stdout=subprocess.PIPE)
            ours, theirs = json.loads(done.stdout), peer(path, lines, options.seconds)
            assert ours["tokens"] == theirs["tokens"], (name, kind, ours, theirs)
            print(f"{name:18} {kind:8} {ours['mb_per_s']:10.1f} {theirs['mb_per_s']:10.1f} {ours['open_ms']:7.0f} ms"
                  f" {theirs['open_ms']:7.0f} ms")


if __name__ == "__main__":
    main()
