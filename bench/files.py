#!/usr/bin/env python3
"""From files to vectors: ours, sentence-transformers, rclip and faster-clip, the same photos, weights and threads.

    python3 -m venv peers
    peers/bin/pip install sentence-transformers rclip faster-clip onnx onnxruntime torch transformers pillow numpy
    peers/bin/python tools/materials.py gcompris-photos
    peers/bin/python bench/files_photos.py ~/.cache/kindred/gcompris-photos /tmp/photos
    cmake --preset release && cmake --build build
    peers/bin/python bench/encode.py clip-vit-b-32 --batches 1 --rounds 1     # exports the ONNX file for rclip
    peers/bin/python bench/files.py /tmp/photos --json files.json

Each of five rounds takes 200 of the small photos, other ones each time, and every other one of the 12 megapixel ones
through every tool in turn; a process that waits doesn't spin. The table shows the least, the median and the greatest rate, and for ours the part of the
time during which the encoder was running. Vectors are compared as well, with the first tool's. `--round N` measures one
round alone and adds it to the JSON file; `--show` prints the table of that file.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
PEERS = ("sentence-transformers", "rclip", "faster-clip")
OURS = {"kindred fp32": ["fp32"], "kindred bf16": ["bf16"], "kindred bf16 fast": ["bf16", "fast"],
        "kindred int8": ["int8"]}  # "fast": --fast-decode
ROUNDS = 5


class Tool:
    def __init__(self, name, options):
        self.name = name
        if name in OURS:
            command = [options.build / "bench/bench-files", options.model, str(options.threads), *OURS[name]]
        else:
            command = [sys.executable, ROOT / "bench/files_peer.py", name, options.model, str(options.threads),
                       options.exports]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def embed(self, listing, out):
        print(listing, out, file=self.process.stdin, flush=True)
        return self.answer()


def cosine(path, reference):
    a, b = (np.fromfile(p, np.float32).reshape(-1, 512) for p in (path, reference))
    return float((a * b).sum(1).min())


def measure(options, tools, number, scratch):
    """One round; a row a tool and kind of photo."""
    rows = []
    for kind in options.kinds:
        paths = sorted((options.photos / kind).glob("*.jpg"))
        listing = scratch / kind
        warm = scratch / f"{kind}.warm"
        paths = paths[number % 2::2] if len(paths) <= 100 else paths[number::ROUNDS]
        listing.write_text("".join(f"{p}\n" for p in paths))
        warm.write_text("".join(f"{p}\n" for p in paths[:2]))
        for p in paths:
            p.read_bytes()  # into the page cache
        for i, tool in enumerate(tools):
            tool.embed(warm, scratch / "warm")
            time.sleep(0.3)  # threads of the one before stop spinning
            row = {"tool": tool.name, "kind": kind, "round": number, **tool.embed(listing, scratch / f"{kind}.{i}")}
            row["cosine"] = cosine(scratch / f"{kind}.{i}", scratch / f"{kind}.0")
            rows.append(row)
            print(f"  {tool.name:26} {kind} {row['files'] / row['seconds']:8.2f}/s", file=sys.stderr, flush=True)
    return rows


def show(rows, order):
    for kind in dict.fromkeys(r["kind"] for r in rows):
        print(f"\n{kind} photos, files/s: least, median, greatest of {len({r['round'] for r in rows})} rounds")
        for name in order:
            mine = [r for r in rows if r["tool"] == name and r["kind"] == kind]
            if not mine:
                continue
            rates = [r["files"] / r["seconds"] for r in mine]
            print(f"  {name:26} {min(rates):8.2f} {statistics.median(rates):8.2f} {max(rates):8.2f}"
                  f"   cosine {min(r['cosine'] for r in mine):.5f}", end="")
            if "encoder_share" in mine[0]:
                print(f"   encoder runs {statistics.median(r['encoder_share'] for r in mine):.1%} of the time", end="")
            print()


def main():
    cache = pathlib.Path.home() / ".cache/kindred"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=pathlib.Path, help="what bench/files_photos.py made")
    parser.add_argument("--kinds", type=lambda s: s.split(","), default=["small", "large"])
    parser.add_argument("--tools", type=lambda s: s.split(","), help="default: all")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--round", type=int, choices=range(ROUNDS), help="this one alone")
    parser.add_argument("--show", action="store_true", help="only print the table of --json's file")
    parser.add_argument("--json", type=pathlib.Path, help="keep the figures here; rounds that are there stay")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="default: build")
    parser.add_argument("--model", type=pathlib.Path, default=cache / "seeded/clip-vit-b-32")
    parser.add_argument("--exports", type=pathlib.Path, default=cache / "onnx")
    options = parser.parse_args()
    names = options.tools or [*OURS, *PEERS]
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    if not options.show:
        numbers = range(ROUNDS) if options.round is None else [options.round]
        rows = [r for r in rows if r["round"] not in numbers or r["tool"] not in names or r["kind"] not in options.kinds]
        tools = [Tool(n, options) for n in names]
        with tempfile.TemporaryDirectory() as scratch:
            for number in numbers:
                rows += measure(options, tools, number, pathlib.Path(scratch))
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1))
    show(rows, names)


if __name__ == "__main__":
    main()
