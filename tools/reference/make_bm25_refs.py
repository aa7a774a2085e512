#!/usr/bin/env python3
"""Write tests/data/words/bm25.jsonl: scores of the package rank_bm25 (BM25Okapi, k1 = 1.2, b = 0.75) for English sentences.

    pip install rank_bm25 && tools/reference/make_bm25_refs.py

The first lines are the documents, already lower-case words; the others are queries with all scores above 0. A query's words are
each in less than half of the documents: in others rank_bm25 and SQLite replace the negative weight by different small ones.
"""
import json
import pathlib
import random
import re

from rank_bm25 import BM25Okapi

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    texts = json.loads((ROOT / "tests/data/texts.json").read_text(encoding="utf-8"))
    sentences = (ROOT / "tests/data/e5/sentences.txt").read_text(encoding="utf-8").splitlines()
    found = {" ".join(re.findall(r"[a-z]+", text.lower())) for text in texts + sentences if text.isascii()}
    documents = sorted(d for d in found if 2 <= len(d.split()) <= 40)
    # Some of each length, and words that come more than once.
    documents += [f"{a} {b} {a}" for a, b in zip(documents[0::3], documents[1::3])]
    words = [d.split() for d in documents]
    bm25 = BM25Okapi(words, k1=1.2, b=0.75)
    # Shorter words may stand in the random name of a test's folder.
    rare = sorted({w for d in words for w in d if len(w) > 3 and sum(w in other for other in words) < len(words) / 2})
    generator = random.Random(3)
    with open(ROOT / "tests/data/words/bm25.jsonl", "w") as out:
        for document in documents:
            print(json.dumps({"document": document}), file=out)
        for size in (1, 1, 2, 3, 5, 8, 3, 2):
            query = generator.sample(rare, size)
            scores = {i: round(float(s), 7) for i, s in enumerate(bm25.get_scores(query)) if s > 0}
            print(json.dumps({"query": " ".join(query), "scores": scores}), file=out)


if __name__ == "__main__":
    main()
