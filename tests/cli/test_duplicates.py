"""kindred duplicates: bytes and pictures in folders and a store, vectors; CSV and JSON; bad input."""
import csv
import hashlib
import io
import json
import os
import random
import struct
import zlib

from support import CommandTest, main, make_bert
from test_cluster import npy


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def landscape(seed, width=120, height=90, step=1):
    """A grey PNG of some discs, different for each seed; every `step`-th pixel of it."""
    r = random.Random(seed)
    discs = [(r.randrange(width), r.randrange(height), r.randrange(5, 30), r.randrange(256)) for _ in range(25)]
    rows = []
    for y in range(0, height, step):
        row = bytearray(b"\0")
        for x in range(0, width, step):
            level = 128
            for cx, cy, radius, grey in discs:
                if (x - cx) ** 2 + (y - cy) ** 2 < radius ** 2:
                    level = grey
            row.append(level)
        rows.append(bytes(row))
    head = struct.pack(">IIBBBBB", len(rows[0]) - 1, len(rows), 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) +
            chunk(b"IEND", b""))


class Duplicates(CommandTest):
    def duplicates(self, *args, **options):
        return self.run_kindred("duplicates", *args, **options)

    def groups(self, *args, **options):
        """[[(name in the folder, kind), ...], ...], the best first."""
        self.told = json.loads(self.duplicates(*args, "--json", **options).out)
        root = os.path.realpath(self.folder)
        return [[(os.path.relpath(os.path.join(root, copy.get("path") or copy["name"]), root), copy["kind"])
                 for copy in group] for group in self.told["groups"]]

    def put_photos(self):
        for i in range(4):
            self.put(f"photos/{i}.png", landscape(i))
        self.put("photos/small/1.png", landscape(1, step=2))
        self.put("photos/copy of 2.png", landscape(2))
        os.utime(self.folder / "photos/copy of 2.png", (1, 1))

    def test_exact(self):
        self.put_photos()
        self.put("photos/a.txt", "the cat")
        self.put("photos/b.md", "the cat")
        os.symlink("a.txt", self.folder / "photos/link.txt")
        os.link(self.folder / "photos/2.png", self.folder / "photos/hard.png")
        self.assertEqual(self.groups("photos", "--exact", "--csv", "o.csv"), [
            [("photos/copy of 2.png", "best"), ("photos/2.png", "bytes"), ("photos/hard.png", "link")],
            [("photos/a.txt", "best"), ("photos/b.md", "bytes")]])
        size = len(landscape(2))
        self.assertEqual((self.told["copies"], self.told["bytes"]), (2, size + 7))
        digest = hashlib.sha256(landscape(2)).hexdigest()
        rows = list(csv.DictReader(io.StringIO((self.folder / "o.csv").read_text())))
        self.assertEqual([(row["group"], row["kind"], row["name"]) for row in rows],
                         [("1", "best", "photos/copy of 2.png"), ("1", "bytes", "photos/2.png"),
                          ("1", "link", "photos/hard.png"), ("2", "best", "photos/a.txt"),
                          ("2", "bytes", "photos/b.md")])
        self.assertEqual((rows[0]["sha256"], rows[0]["bytes"]), (digest, str(size)))
        out = self.duplicates("photos", "--exact").out
        self.assertIn("2 groups among 9 items: 2 copies beside the best", out)

    def test_pictures(self):
        self.put_photos()
        expected = [[("photos/1.png", "best"), ("photos/small/1.png", "picture")],
                    [("photos/copy of 2.png", "best"), ("photos/2.png", "bytes")]]
        self.assertEqual(self.groups("photos", "--model", self.clip), expected)
        near = self.told["groups"][0][1]
        self.assertEqual((near["width"], near["height"]), (60, 45))
        self.assertGreater(near["likeness"], 0.8)
        self.assertLess(near["hash_distance"], 9)
        self.run_kindred("index", "--model", self.clip, "photos", "-q")
        self.assertEqual(self.groups(), expected)
        self.put("photos/broken.png", b"no picture")
        self.assertEqual(self.groups("photos", "--model", self.clip, status=3), expected)
        (self.folder / "photos/small/1.png").unlink()
        result = self.duplicates(status=3)
        self.assertIn("small/1.png: No such file", result.err)
        self.assertIn("1 group among", result.out)

    def test_documents(self):
        bert = make_bert(self.folder / "bert")
        text = "The cat sat by the road. The dog did not. " * 20
        for name in ("a.txt", "b.txt"):
            self.put(f"texts/{name}", text)
        self.put("texts/c.txt", "The dog.")
        self.assertEqual(self.groups("texts", "--model", bert), [[("texts/a.txt", "best"), ("texts/b.txt", "bytes")]])
        self.assertEqual(self.told["items"], 3)

    def test_vectors(self):
        self.put("x.npy", npy([[1, 0], [0, 1], [2, 0.01], [-1, 0]]))
        self.assertEqual(self.groups("x.npy"), [[("row 0", "best"), ("row 2", "vector")]])
        self.assertEqual(self.groups("x.npy", "--min-cosine", 1), [])
        self.assertIn("no duplicates among 4 items", self.duplicates("x.npy", "--min-cosine", 1).out)

    def test_bad_input(self):
        self.put("x.npy", npy([[1, 0], [0, 1]]))
        (self.folder / "none").mkdir()
        for args, status, message in (
                (["--texts", "x.txt", "--exact"], 2, "--exact is for files"),
                (["x.npy", "--neighbours", 0], 2, "--neighbours must be at least 1"),
                (["x.npy", "--min-cosine", 2], 2, "--min-cosine must be"),
                (["none", "--exact"], 1, "no pictures or documents in none"),
                (["none", "--model", self.clip], 1, "no pictures in none"), (["none"], 2, "--model"),
                (["missing.npy"], 1, "missing.npy"), (["gone", "--exact"], 1, "gone"), ([], 1, "kindred.db")):
            self.assertIn(message, self.duplicates(*args, status=status).err, args)


if __name__ == "__main__":
    main()
