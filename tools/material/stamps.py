"""tuxpaint-stamps: 535 cut-out pictures of animals, plants, food, vehicles and things, with English and Korean captions.

captions.jsonl has a line for each picture that has both: {"path": ..., "captions": {"en": ..., "ko": ...}}. What is
transparent becomes white: an encoder would else see whatever colour lies hidden there.
"""
import concurrent.futures
import json

from . import fetch, png

PACKAGE, VERSION = "tuxpaint-stamps-default", "2022.06.04-1"
SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
COUNT = 535
KOREAN = "ko.utf8="
CREDITS = f"""Stamps out of Debian's {PACKAGE} {VERSION}, copyright 2002-2022 by Bill Kendrick and others, GPL-2; the package's
documentation names the authors. For tests and demonstrations.
"""


def captions(text):
    """The contents of a stamp's .txt -> {language: caption}: the first line is English."""
    lines = text.splitlines()
    found = {"en": lines[0].strip()} if lines else {}
    found.update({"ko": line[len(KOREAN):].strip() for line in lines if line.startswith(KOREAN)})
    return {language: caption for language, caption in found.items() if caption}


def lay_on_white(source, target):
    target.write_bytes(png.flatten(source.read_bytes()))


def build(folder, scratch):
    root = fetch.debian(PACKAGE, VERSION, SHA256, scratch) / "usr/share/tuxpaint/stamps"
    lines, sources, targets = [], [], []
    for words in sorted(root.rglob("*.txt")):
        picture = words.with_suffix(".png")
        name = picture.relative_to(root)
        if name.parts[0] == "symbols" or not picture.exists():
            continue
        found = captions(words.read_text(encoding="utf-8", errors="replace"))
        if set(found) != {"en", "ko"}:
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sources.append(picture)
        targets.append(folder / name)
        lines.append(json.dumps({"path": str(name), "captions": found}, ensure_ascii=False))
    if len(lines) != COUNT:
        raise fetch.MaterialError(f"{PACKAGE} gave {len(lines)} stamps with captions, expected {COUNT}")
    fetch.log("laying the stamps onto white ...")
    with concurrent.futures.ProcessPoolExecutor() as pool:
        list(pool.map(lay_on_white, sources, targets, chunksize=8))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "CREDITS").write_text(CREDITS)
