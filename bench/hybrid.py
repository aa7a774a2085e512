#!/usr/bin/env python3
"""Does hybrid search find more? nDCG@10 of words (BM25), vectors and both, on queries that people judged.

    cmake --preset release && cmake --build build && tools/materials.py minilm
    bench/hybrid.py --collection DIR

DIR holds the Cranfield collection as it is distributed: cran.all.1400, cran.qry and cranqrel (1,400 abstracts, 225 questions,
each abstract judged by the people who asked). Every other question is for development: the weight of the weighted sum is chosen
on those alone, and the figures that count are those of the other half. Whatever was judged 1 to 4 counts as relevant.
"""
import argparse
import json
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


class Search:
    def __init__(self, binary, model, documents, folder):
        self.binary, self.store = binary, folder / "kindred.db"
        texts = folder / "texts"
        texts.mkdir()
        for number, fields in documents:
            (texts / f"{number}.txt").write_text(fields.get("T", "") + "\n\n" + fields.get("W", "") + "\n")
        self.run("index", "-q", "--model", model, str(texts))

    def run(self, *arguments):
        return subprocess.run([str(self.binary), arguments[0], "--store", str(self.store), *arguments[1:]], check=True,
                              stdout=subprocess.PIPE).stdout

    def __call__(self, query, *options):
        out = self.run("search", "--json", "--group", "file", "-n", "10", *options, "--", query)
        return [int(pathlib.Path(hit["path"]).stem) for hit in json.loads(out)["results"]]


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
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--model", default=str(pathlib.Path(
        os.environ.get("KINDRED_CACHE") or os.path.expanduser("~/.cache/kindred")) / "minilm"))
    options = parser.parse_args()
    relevant = judgements(options.collection / "cranqrel")
    # The judgements count the questions, whatever number each has.
    questions = [(i, fields["W"]) for i, (_, fields) in enumerate(records(options.collection / "cran.qry"), 1) if i in relevant]
    halves = {"development": questions[0::2], "test": questions[1::2]}
    with tempfile.TemporaryDirectory() as folder:
        documents = list(records(options.collection / "cran.all.1400"))
        search = Search(options.build / "kindred", options.model, documents, pathlib.Path(folder))

        def evaluate(half, *how):
            return [ndcg(search(text, *how), relevant[number]) for number, text in halves[half]]

        weights = {weight: mean(evaluate("development", "--hybrid", "--weight", str(weight))) for weight in WEIGHTS}
        best = max(weights, key=weights.get)
        ways = {"BM25": ["--bm25"], "vectors": [], "hybrid, by rank": ["--hybrid"],
                f"hybrid, --weight {best}": ["--hybrid", "--weight", str(best)]}
        results = {way: {half: evaluate(half, *how) for half in halves} for way, how in ways.items()}
    print(f"{len(documents)} documents; {len(halves['development'])} questions for development, {len(halves['test'])} for the test")
    print("weight on development: " + ", ".join(f"{w} {v:.3f}" for w, v in weights.items()))
    print(f"{'nDCG@10':24} {'development':>12} {'test':>8}   P(at least the better single)")
    single = max((results["BM25"]["test"], results["vectors"]["test"]), key=mean)
    for way, scores in results.items():
        line = f"{way:24} {mean(scores['development']):12.3f} {mean(scores['test']):8.3f}"
        print(line + (f"   {better(scores['test'], single):.3f}" if way.startswith("hybrid") else ""))


if __name__ == "__main__":
    main()
