#!/usr/bin/env python3
"""kindred duplicates on real texts and what was made of them: which copies are found, and what is taken for one wrongly, as
docs/analysis.md has it; beside the best threshold on cosines.

  bench/duplicates_texts.py [--build build] [--seeds 60] [--others 400]

Needs numpy. The texts are Debian's fortunes through MiniLM (tools/materials.py fetches both)."""
import argparse
import json
import pathlib
import random
import re
import string
import subprocess
import tempfile

import numpy as np
from cluster_accuracy import material


def each_word(share, change):
    """Change so many of the words, spread evenly."""
    def edit(text, r):
        words = text.split()
        for i in r.sample(range(len(words)), max(1, round(share * len(words)))):
            words[i] = change(words[i], r)
        return " ".join(words)
    return edit


def typo(word, r):
    at = r.randrange(len(word))
    return word[:at] + r.choice(string.ascii_lowercase) + word[at + 1:]


def swap_sentences(text, r):
    parts = re.split(r"(?<=[.!?;,]) ", text)
    return " ".join(parts[len(parts) // 2:] + parts[:len(parts) // 2]) if len(parts) > 1 else None


def keep(share):
    return lambda text, r: " ".join(text.split()[:round(share * len(text.split()))])


KINDS = {
    "upper case": lambda text, r: text.upper(),
    "no punctuation": lambda text, r: re.sub(r"[^\w\s]", "", text),
    "a typo in a word of 20": each_word(0.05, typo),
    "a typo in a word of 10": each_word(0.1, typo),
    "a typo in a word of 5": each_word(0.2, typo),
    "a word of 10 left out": each_word(0.1, lambda word, r: ""),
    "its halves swapped": swap_sentences,
    "the last fifth cut": keep(0.8),
    "the last half cut": keep(0.5),
    "only the first quarter": keep(0.25),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--others", type=int, default=400)
    options = parser.parse_args()
    kindred, model = pathlib.Path(options.build) / "kindred", material("minilm")
    r = random.Random(1)
    sayings = list(dict.fromkeys((material("fortunes") / "sayings.txt").read_text().splitlines()))
    seeds = r.sample([text for text in sayings if 12 <= len(text.split()) <= 60], options.seeds)
    texts = {text: (text, None) for text in r.sample(sayings, options.others) + seeds}
    for text in seeds:
        for kind, edit in KINDS.items():
            copy = edit(text, r)
            if copy and copy not in texts:
                texts[copy] = (text, kind)
    items = list(texts)
    with tempfile.TemporaryDirectory() as name:
        file = pathlib.Path(name) / "texts.txt"
        file.write_text("".join(f"{text}\n" for text in items))
        subprocess.run([kindred, "embed", "-q", "-m", model, "--texts", file, "-o", f"{name}/x.npy"], check=True)
        x = np.load(f"{name}/x.npy")
        out = json.loads(subprocess.run([kindred, "duplicates", "--texts", file, "--model", model, "--json", "-q"],
                                        check=True, capture_output=True).stdout)
    number = {text: i for i, text in enumerate(items)}
    ours = np.zeros([len(items)] * 2, bool)
    for group in out["groups"]:
        members = [number[copy["name"]] for copy in group]
        ours[np.ix_(members, members)] = True
    origin = np.array([number[texts[text][0]] for text in items])
    same, cosines = origin[:, None] == origin[None], x @ x.T

    def judge(related):
        wrong = np.argwhere(np.triu(related & ~same, 1))
        return ({kind: np.mean([related[i, origin[i]] for i, text in enumerate(items) if texts[text][1] == kind])
                 for kind in KINDS}, wrong)

    def gain(threshold):
        related = cosines >= threshold
        return np.triu(related & same, 1).sum() - np.triu(related & ~same, 1).sum()

    threshold = max(np.arange(0.5, 1, 0.005), key=gain)
    (recall, wrong), (by_cosine, wrong_by_cosine) = judge(ours), judge(cosines >= threshold)
    print(f"| | kindred | cosine from {threshold:.3f} |\n|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {recall[kind]:.2f} | {by_cosine[kind]:.2f} |")
    print(f"| pairs of different texts joined | {len(wrong)} | {len(wrong_by_cosine)} |")
    for i, j in wrong[:8]:
        print(f"joined: {items[i][:90]!r} and {items[j][:90]!r}")


if __name__ == "__main__":
    main()
