#!/usr/bin/env python3
"""Make tests/hub/layout.json: the cache that huggingface_hub fills from the tests' own hub, file by file (contents'
SHA-256, or where a link leads), to compare with what kin_hub_pull makes of the same repository. With --check DIR,
instead read the cache DIR, pulled by Kindred, with huggingface_hub, and download into it again."""

import hashlib
import json
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "hub"))

from fake_hub import Hub, Repo  # noqa: E402
from hub_test import CLIP, CLIP_WANTED  # noqa: E402


def read_layout(cache):
    layout = {}
    for where, _, files in os.walk(cache):
        for name in files:
            path = os.path.join(where, name)
            if os.path.islink(path):
                value = "-> " + os.readlink(path)
            else:
                with open(path, "rb") as f:
                    value = hashlib.sha256(f.read()).hexdigest()
            layout[os.path.relpath(path, cache)] = value
    return layout


def download(cache, hub, **options):
    from huggingface_hub import snapshot_download
    return snapshot_download("org/clip", cache_dir=cache, endpoint=hub.endpoint, token=False,
                             allow_patterns=sorted(CLIP_WANTED), **options)


def main():
    hub = Hub({"org/clip": Repo(CLIP)})
    if sys.argv[1:2] == ["--check"]:
        from huggingface_hub import scan_cache_dir
        cache = sys.argv[2]
        found = scan_cache_dir(cache)
        print(found.warnings, [(r.repo_id, r.size_on_disk, r.nb_files, sorted(r.refs)) for r in found.repos])
        print(download(cache, hub, local_files_only=True))
        print(download(cache, hub))
        print("fetched again:", [r["path"] for r in hub.requests("cdn")])
        return
    with tempfile.TemporaryDirectory() as cache:
        download(cache, hub)
        # Its own notes on the listing (trees/) are no part of what others read; the tag's comment is free text.
        layout = {k: v for k, v in read_layout(cache).items() if "/trees/" not in k and k != "CACHEDIR.TAG"}
    with open(os.path.join(ROOT, "tests", "hub", "layout.json"), "w") as f:
        json.dump(layout, f, indent=1, sort_keys=True)
        f.write("\n")
    hub.close()


if __name__ == "__main__":
    main()
