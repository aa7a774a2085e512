"""fortunes: 1,558 quotations and jokes of Debian's fortunes in ten topics, a folder each.

TOPIC/TOPIC.jsonl has a line {"text": ...} for each of 40 to 400 characters, without the author's name; sayings that
occur under two topics are left out. labels.txt has the topic of each, in the order of sayings.txt.
"""
import json
import re

from . import fetch

PACKAGE, VERSION = "fortunes", "1:1.99.1-7.3"
SHA256 = "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"
TOPICS = ["computers", "education", "food", "law", "love", "medicine", "pets", "politics", "science", "sports"]
MOST, COUNT = 250, 1558
CREDITS = f"""Sayings out of Debian's {PACKAGE} {VERSION}, collected by Ken Arnold, Amy A. Lewis and others, public domain or
BSD; the package's documentation tells more. For tests and demonstrations.
"""


def sayings(text):
    """The contents of a fortune file -> its sayings on one line each, without attribution."""
    for part in re.split(r"\n%\n", text):
        lines = []
        for line in part.strip("%\n").splitlines():
            if re.match(r"\s+-- ", line):
                break
            lines.append(line)
        saying = re.sub(r"\s+", " ", " ".join(lines)).strip()
        if 40 <= len(saying) <= 400:
            yield saying


def build(folder, scratch):
    root = fetch.debian(PACKAGE, VERSION, SHA256, scratch) / "usr/share/games/fortunes"
    found = {topic: list(sayings((root / topic).read_text(encoding="utf-8", errors="replace"))) for topic in TOPICS}
    times = {}
    for topic in TOPICS:
        for saying in set(found[topic]):
            times[saying] = times.get(saying, 0) + 1
    lines, labels = [], []
    for topic in TOPICS:
        kept = [saying for saying in dict.fromkeys(found[topic]) if times[saying] == 1][:MOST]
        (folder / topic).mkdir()
        (folder / topic / f"{topic}.jsonl").write_text(
            "".join(json.dumps({"text": saying}, ensure_ascii=False) + "\n" for saying in kept), encoding="utf-8")
        lines += kept
        labels += [topic] * len(kept)
    if len(lines) != COUNT:
        raise fetch.MaterialError(f"{PACKAGE} gave {len(lines)} sayings, expected {COUNT}")
    (folder / "sayings.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    (folder / "CREDITS").write_text(CREDITS)
