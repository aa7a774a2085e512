"""sentences: 10,300 different English sentences of 30 to 120 characters out of Debian's fortunes, a line each.

They come file by file, so that those near to each other are on like subjects.
"""
import re

from . import fetch, fortunes

COUNT = 10300


def sentences(text):
    for saying in fortunes.sayings(text):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", saying):
            if 30 <= len(sentence) <= 120 and sentence.isascii() and sentence.isprintable():
                yield sentence


def build(folder, scratch):
    root = fetch.debian(fortunes.PACKAGE, fortunes.VERSION, fortunes.SHA256, scratch) / "usr/share/games/fortunes"
    found = {}
    for path in sorted(root.iterdir()):
        if path.is_file() and not path.suffix:
            found.update(dict.fromkeys(sentences(path.read_text(encoding="utf-8", errors="replace"))))
    if len(found) < COUNT:
        raise fetch.MaterialError(f"{fortunes.PACKAGE} gave {len(found)} sentences, expected {COUNT}")
    (folder / "sentences.txt").write_text("\n".join(list(found)[:COUNT]) + "\n")
    (folder / "CREDITS").write_text(fortunes.CREDITS)
