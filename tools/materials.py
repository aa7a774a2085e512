#!/usr/bin/env python3
"""Make sure that a material (real weights, photos, vocabularies) lies in the cache folder, and print its folder.

    tools/materials.py vit-s-focus
    tools/materials.py --all
    tools/materials.py --list

Each is downloaded once, checked by SHA-256, and laid out in a temporary folder that is renamed at the end, so that an
interrupted run leaves nothing half done. Needs only Python's standard library, pip and apt-get.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from material import e5, fetch, focus, fortunes, minilm, photos, sentences, stamps, vocabularies

# name: (recipe, its revision: raise it to rebuild what lies in users' caches, what it is)
MATERIALS = {
    "vit-s-focus": (focus.build, 2, "a real ViT-S/14 of DINOv2's shape (90 MB download, 86 MB)"),
    "gcompris-photos": (photos.build, 2, "246 real photos in labelled folders (44 MB download, 13 MB)"),
    "tuxpaint-stamps": (stamps.build, 2, "535 cut-out pictures with captions (161 MB download, 24 MB)"),
    "clip-vocab": (vocabularies.build_clip, 1, "CLIP's tokenizer files (2 MB download, 4 MB)"),
    "e5-small": (e5.build, 1, "the real multilingual-e5-small, rounded to four bits (91 MB download, 246 MB)"),
    "fortunes": (fortunes.build, 1, "1,558 sayings in ten topics (1 MB download, 1 MB)"),
    "sentences": (sentences.build, 1, "10,300 sentences out of the same package (1 MB download, 1 MB)"),
    "minilm": (minilm.build, 1, "the real all-MiniLM-L6-v2 (83 MB download, 92 MB)"),
}
STAMP = ".material"


def default_cache():
    return pathlib.Path(os.environ.get("KINDRED_CACHE") or os.path.expanduser("~/.cache/kindred"))


def current(folder, revision):
    try:
        return (folder / STAMP).read_text() == str(revision)
    except OSError:
        return False


def ensure(name, cache):
    """The material's folder, made if it isn't there."""
    build, revision, _ = MATERIALS[name]
    folder = cache / name
    if current(folder, revision):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
        fresh = pathlib.Path(scratch) / "material"
        fresh.mkdir()
        build(fresh, pathlib.Path(scratch))
        (fresh / STAMP).write_text(str(revision))
        try:
            fresh.rename(folder)
        except OSError:
            # An older revision is in the way, or another process was faster.
            if not current(folder, revision):
                shutil.rmtree(folder)
                fresh.rename(folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", metavar="NAME", help="which material")
    parser.add_argument("--cache", type=pathlib.Path, metavar="DIR", help="default: $KINDRED_CACHE or ~/.cache/kindred")
    parser.add_argument("--all", action="store_true", help="every material")
    parser.add_argument("--list", action="store_true", help="name the materials")
    options = parser.parse_args()
    names = list(MATERIALS) if options.all else options.name
    if options.list or not names:
        for name, (_, _, what) in MATERIALS.items():
            print(f"{name:16} {what}")
        return 0
    unknown = set(names) - set(MATERIALS)
    if unknown:
        parser.error(f"no material {' or '.join(sorted(unknown))}; there are {', '.join(MATERIALS)}")
    status = 0
    for name in names:
        try:
            print(ensure(name, (options.cache or default_cache()).absolute()))
        except (fetch.MaterialError, OSError) as error:
            print(f"materials.py: {name}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
