#!/usr/bin/env python3
"""Does hybrid search find more? nDCG@10 of words (BM25), vectors and both, on queries that people judged.

    cmake --preset release && cmake --build build && tools/materials.py minilm
    bench/hybrid.py --collection DIR

DIR holds the Cranfield collection as it is distributed: cran.all.1400, cran.qry and cranqrel (1,400 abstracts, 225 questions,
each abstract judged by the people who asked). Every other question is for development: the weight of the weighted sum is chosen
on those alone, and the figures that count are those of the other half. Whatever was judged 1 to 4 counts as relevant.
"""
import argparse
import math
import os
import pathlib
import random
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
WEIGHTS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def records(path):
    """The fields of each record, which begin with .I, .T, .A, .B, .W."""
    for text in re.split(r"^\.I ", path.read_text(encoding="latin-1"), flags=re.M)[1:]:
        number, *rest = re.split(r"^\.([TABW])\s*$", text, flags=re.M)
        fields = dict(zip(rest[0::2], rest[1::2]))
        yield int(number), {key: " ".join(value.split()) for key, value in fields.items()}


def judgements(path):
    relevant = {}
    for line in path.read_text().splitlines():
        query, document, grade = (int(part) for part in line.split()[:3])
        if 1 <= grade <= 4:
            relevant.setdefault(query, set()).add(document)
    return relevant


def ndcg(found, relevant, depth=10):
    gain = sum(1 / math.log2(i + 2) for i, document in enumerate(found[:depth]) if document in relevant)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(depth, len(relevant))))


def search(options, documents, queries, folder):
    """found[way][query]: the numbers of the 10 best documents."""
    texts, store = folder / "texts", folder / "kindred.db"
    texts.mkdir(exist_ok=True)
    for number, fields in documents:
        path, text = texts / f"{number}.txt", fields.get("T", "") + "\n\n" + fields.get("W", "") + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    subprocess.run([options.build / "kindred", "index", "-q", "--store", store, "--model", options.model, texts], check=True)
    out = subprocess.run([options.build / "bench/bench-hybrid", store, options.model, *map(str, WEIGHTS)], check=True, text=True,
                         input="".join(query + "\n" for query in queries), stdout=subprocess.PIPE).stdout
    found = {}
    for line in out.splitlines():
        number, way, *names = line.split("\t")
        found.setdefault(way, {})[int(number)] = [int(pathlib.Path(name).stem) for name in names]
    return found


def better(scores, than, rounds=10000):
    """How often a sample of the questions, drawn with replacement, has a higher mean."""
    generator = random.Random(1)
    difference = [a - b for a, b in zip(scores, than)]
    return sum(sum(generator.choices(difference, k=len(difference))) >= 0 for _ in range(rounds)) / rounds


def mean(values):
    return sum(values) / len(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, help="keep the store here, to go on with it another time")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", default=str(pathlib.Path(
        os.environ.get("KINDRED_CACHE") or os.path.expanduser("~/.cache/kindred")) / "minilm"))
    options = parser.parse_args()
    relevant = judgements(options.collection / "cranqrel")
    # The judgements count the questions, whatever number each has.
    questions = [(i, fields["W"]) for i, (_, fields) in enumerate(records(options.collection / "cran.qry"), 1) if i in relevant]
    documents = list(records(options.collection / "cran.all.1400"))
    with tempfile.TemporaryDirectory() as folder:
        if options.work:
            options.work.mkdir(exist_ok=True)
        found = search(options, documents, [text for _, text in questions], options.work or pathlib.Path(folder))
    scores = {way: [ndcg(lists[i], relevant[number]) for i, (number, _) in enumerate(questions)] for way, lists in found.items()}
    weights = {weight: mean(scores[str(weight)][0::2]) for weight in WEIGHTS}
    best = max(weights, key=weights.get)
    print(f"{len(documents)} documents, {len(questions[0::2])} questions for development, {len(questions[1::2])} for the test")
    print("weights on development: " + ", ".join(f"{weight} {value:.3f}" for weight, value in weights.items()))
    print(f"{'nDCG@10':24} {'development':>12} {'test':>8}   P(at least the better single)")
    single = max((scores["bm25"][1::2], scores["vectors"][1::2]), key=mean)
    for way, name in (("bm25", "BM25"), ("vectors", "vectors"), ("rank", "hybrid, by rank"), (str(best), f"hybrid, --weight {best}")):
        line = f"{name:24} {mean(scores[way][0::2]):12.3f} {mean(scores[way][1::2]):8.3f}"
        print(line if way in ("bm25", "vectors") else line + f"   {better(scores[way][1::2], single):.3f}")


if __name__ == "__main__":
    main()
