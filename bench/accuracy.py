#!/usr/bin/env python3
"""What bf16 and int8 cost in accuracy: vectors against fp32's, on real weights and real inputs, and on seeded weights.

    tools/materials.py vit-s-focus minilm e5-small gcompris-photos
    cmake --preset release && cmake --build build
    python3 bench/accuracy.py            # needs numpy

For each model and precision: the least and the mean cosine to fp32; the least once the mean of all vectors is taken
away, which is harsher where all lie close together; of all inputs as queries among the others, how many find the same
nearest one, and by how much (of fp32's cosine) the worst miss is farther away; and, where there are right answers (a
Korean question's English answer, a sentence's paraphrase, photos' labels by their five nearest), how many are found.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
CACHE = pathlib.Path(os.environ.get("KINDRED_CACHE") or pathlib.Path.home() / ".cache/kindred")


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def lines(name):
    return [line.split("\t") for line in (ROOT / "tests/data" / name).read_text().splitlines()]


def embed(options, model, precision, inputs, texts):
    with tempfile.TemporaryDirectory() as scratch:
        out, listed = pathlib.Path(scratch) / "v.npy", pathlib.Path(scratch) / "texts"
        if texts:
            listed.write_text("\n".join(inputs) + "\n")
        subprocess.run([options.build / "kindred", "embed", "-m", model, "--precision", precision, "--quiet", "-o", out,
                        *(["--texts", listed] if texts else inputs)], check=True, stdout=subprocess.DEVNULL)
        return unit(np.load(out).astype(float))


def nearest(x):
    products = x @ x.T
    np.fill_diagonal(products, -2)
    return products


def compare(exact, rounded):
    cosines = (exact * rounded).sum(1)
    mean = exact.mean(0)
    centred = (unit(exact - mean) * unit(rounded - mean)).sum(1)
    truth = nearest(exact)
    best, found = truth.argmax(1), nearest(rounded).argmax(1)
    rows = np.arange(len(exact))
    return {"inputs": len(exact), "least": cosines.min(), "mean": cosines.mean(), "least_centred": centred.min(),
            "same_top1": float((best == found).mean()), "worst_miss": (truth[rows, best] - truth[rows, found]).max()}


def pairs_found(x):
    """Rows 2i and 2i + 1 belong together: how many first find the other among all second ones."""
    return int(((x[0::2] @ x[1::2].T).argmax(1) == np.arange(len(x) // 2)).sum())


def labels_found(labels):
    def count(x):
        x = unit(x - x.mean(0))
        near = np.argsort(-nearest(x), axis=1)[:, :5]
        right = 0
        for i, row in enumerate(near):
            votes = [labels[j] for j in row]
            right += max(sorted(set(votes)), key=votes.count) == labels[i]
        return right
    return count


def cases():
    """name, model, inputs, whether these are texts, what counts right answers (or None), of how many"""
    photos = sorted((CACHE / "gcompris-photos").rglob("*.webp"))
    labelled = [p for p in photos if "labelled" in p.parts]
    labels = [p.parent.name for p in labelled]
    sentences = sorted({t for row in lines("minilm/order.tsv") for t in row} |
                       {row[0] for row in lines("e5/sentences.txt")} | {row[1] for row in lines("e5/pairs.tsv")})
    both = [t for row in lines("e5/pairs.tsv") for t in row]
    paraphrases = [t for row in lines("minilm/order.tsv") for t in row[:2]]
    yield "ViT-S/14 (real)", "vit-s-focus", photos, False, None, 0
    yield "ViT-S/14 (real), labels", "vit-s-focus", labelled, False, labels_found(labels), len(labels)
    yield "all-MiniLM-L6-v2 (real)", "minilm", sentences, True, None, 0
    yield "all-MiniLM-L6-v2 (real), paraphrases", "minilm", paraphrases, True, pairs_found, len(paraphrases) // 2
    yield "multilingual-e5-small (real)", "e5-small", both + sentences, True, None, 0
    yield "multilingual-e5-small (real), answers", "e5-small", both, True, pairs_found, len(both) // 2
    for name in ("clip-vit-b-32", "dinov2-small"):
        yield f"{name} (seeded), photos", f"seeded/{name}", photos, False, None, 0
    yield "clip-vit-b-32 (seeded), texts", "seeded/clip-vit-b-32", sentences, True, None, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="default: build")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here too")
    parser.add_argument("--only", default="", help="models whose name holds this")
    options = parser.parse_args()
    rows = []
    print(f"{'':40} {'':5} {'inputs':>6} {'least':>8} {'mean':>8} {'centred':>8} {'top 1':>7} {'miss':>7}  right")
    for name, model, inputs, texts, count, total in cases():
        if options.only not in name or not (CACHE / model).exists():
            continue
        inputs = list(map(str, inputs))
        exact = embed(options, CACHE / model, "fp32", inputs, texts)
        for precision in ("bf16", "int8"):
            rounded = embed(options, CACHE / model, precision, inputs, texts)
            row = {"name": name, "precision": precision, **compare(exact, rounded)}
            right = ""
            if count:
                row["right"], row["right_fp32"], row["of"] = count(rounded), count(exact), total
                right = f"{row['right']} of {total} (fp32 {row['right_fp32']})"
            rows.append(row)
            print(f"{name:40} {precision:5} {row['inputs']:6} {row['least']:8.5f} {row['mean']:8.5f} "
                  f"{row['least_centred']:8.5f} {row['same_top1']:7.1%} {row['worst_miss']:7.4f}  {right}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
