"""kindred duplicates: bytes and pictures in folders and a store, vectors; CSV and JSON; bad input."""
import csv
import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import zlib

from support import BIN, CommandTest, main, make_bert, png
from test_cluster import npy
from test_model_compare import Page


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def landscape(seed, width=120, height=90, step=1, mirror=False):
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
        rows.append(bytes(row[:1] + row[:0:-1] if mirror else row))
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
        self.put("texts/d.html", f"<p>{text}</p><p>The end.</p>")
        self.assertEqual(self.groups("texts", "--model", bert), [
            [("texts/d.html", "best"), ("texts/a.txt", "text"), ("texts/b.txt", "text")]])
        self.assertEqual(self.told["items"], 4)
        self.assertEqual(self.remove("texts", "--model", bert, "--delete", "--yes"),
                         {"texts/a.txt": None, "texts/b.txt": None})
        self.put("lines.txt", "the cat sat by the road\nthe dog\nThe cat sat by the road!\n")
        self.assertEqual(self.groups("--texts", "lines.txt", "--model", bert),
                         [[("the cat sat by the road", "best"), ("The cat sat by the road!", "text")]])
        self.assertEqual(self.remove("--texts", "lines.txt", "--model", bert, "--delete", "--yes"), {})

    def test_vectors(self):
        self.put("x.npy", npy([[1, 0], [0, 1], [2, 0.01], [-1, 0]]))
        self.assertEqual(self.groups("x.npy"), [[("row 0", "best"), ("row 2", "vector")]])
        self.assertEqual(self.groups("x.npy", "--min-cosine", 1), [])
        self.assertIn("no duplicates among 4 items", self.duplicates("x.npy", "--min-cosine", 1).out)

    def remove(self, *args, **options):
        """{path in the folder: why it was left, or None} of the files that were to go."""
        told = json.loads(self.duplicates(*args, "--json", **options).out)["removed"]
        self.done = told["done"]
        return {file["path"]: file.get("why") for file in told["files"]}

    def test_delete(self):
        self.put_photos()
        os.link(self.folder / "photos/2.png", self.folder / "photos/hard.png")
        os.symlink("2.png", self.folder / "photos/soft.png")
        before = self.files()
        out = self.duplicates("photos", "--model", self.clip, "--delete", "--follow").out
        self.assertIn("would delete photos/small/1.png\nwould delete photos/2.png\n", out)
        self.assertIn("Nothing was done yet: 2 files", out)
        self.assertIn("Add --yes", out)
        self.assertEqual(self.remove("photos", "--exact", "--delete"), {"photos/2.png": None})
        self.assertFalse(self.done)
        self.assertEqual(self.files(), before)
        self.assertEqual(self.remove("photos", "--exact", "--delete", "--yes", "--follow"), {"photos/2.png": None})
        self.assertTrue(self.done)
        self.assertEqual(self.files(), [name for name in before if name != "photos/2.png"])
        self.assertEqual((self.folder / "photos/hard.png").read_bytes(), landscape(2))
        self.assertIn("1 file deleted", self.duplicates("photos", "--exact", "--delete", "--yes").out)
        self.assertIn("0 files deleted", self.duplicates("photos", "--exact", "--delete", "--yes").out)
        self.assertIn("1 file deleted", self.duplicates("photos", "--model", self.clip, "--delete", "--yes").out)
        self.assertEqual([name for name in self.files() if name.endswith(".png") and "soft" not in name],
                         ["photos/0.png", "photos/1.png", "photos/3.png", "photos/copy of 2.png"])

    def test_edited_copies_stay(self):
        self.put("photos/whole.png", landscape(5, 120, 90))
        self.put("photos/mirrored.png", landscape(5, 120, 90, step=2, mirror=True))
        args = ["photos", "--model", self.clip, "--delete", "--yes"]
        self.assertEqual(self.groups("photos", "--model", self.clip),
                         [[("photos/whole.png", "best"), ("photos/mirrored.png", "mirrored")]])
        self.assertEqual(self.remove(*args), {})
        self.assertEqual(self.remove(*args, "--edited"), {"photos/mirrored.png": None})
        self.assertEqual(self.files(), ["photos", "photos/whole.png"])

    def test_link(self):
        self.put_photos()
        os.chmod(self.folder / "photos/2.png", 0o640)
        self.assertIn("would link photos/2.png", self.duplicates("photos", "--exact", "--link").out)
        self.assertEqual(self.remove("photos", "--model", self.clip, "--link", "--yes"), {"photos/2.png": None})
        self.assertTrue(os.path.samefile(self.folder / "photos/2.png", self.folder / "photos/copy of 2.png"))
        self.assertEqual(self.groups("photos", "--exact"), [])
        self.assertEqual([name for name in self.files() if "kindred-" in name], [])

    def run_beside_page(self, change, *args):
        """Delete exact copies, after `change` while the command waits for a reader of its page."""
        os.mkfifo(self.folder / "page")
        command = [BIN, "duplicates", "photos", "--exact", "--delete", "--yes", "--json", "--html", "page", *args]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with open(self.folder / "page", "rb") as page:
            page.read(1)
            change(process)
            page.read()
        out, err = process.communicate(timeout=60)
        os.unlink(self.folder / "page")
        return process.returncode, json.loads(out) if out else None, err.decode()

    def put_many(self):
        """More pictures in the page than a pipe holds, so that the command waits until it is read."""
        for i in range(20):
            for name in "ab":
                self.put(f"photos/{i:02}{name}.png", png(i, 240, 180))
                os.utime(self.folder / f"photos/{i:02}{name}.png", (ord(name), ord(name)))

    def test_changed_files_stay(self):
        self.put_many()

        def change(_):
            (self.folder / "photos/00a.png").write_bytes(b"another")  # the best of the first
            (self.folder / "photos/01b.png").write_bytes(b"another")
            (self.folder / "photos/02a.png").unlink()
            (self.folder / "photos/03b.png").unlink()
            (self.folder / "photos/04b.png").unlink()
            os.symlink("04a.png", self.folder / "photos/04b.png")
            (self.folder / "photos/05a.png").unlink()
            os.symlink("05b.png", self.folder / "photos/05a.png")  # the best is now but a name of its copy
        status, told, err = self.run_beside_page(change)
        self.assertEqual(status, 3, err)
        left = {file["path"]: file["why"] for file in told["removed"]["files"] if not file["removed"]}
        self.assertEqual(sorted(left), [f"photos/{i:02}b.png" for i in range(6)])
        for i, why in enumerate(("00a.png changed", "01b.png changed", "02a.png: No such", "03b.png: No such",
                                 "symbolic link", "itself")):
            self.assertIn(why, left[f"photos/{i:02}b.png"])
            self.assertIn(f"{i:02}b.png is left alone", err)
        kept = ["00a", "00b", "01a", "01b", "02b", "03a", "04a", "04b", "05a", "05b"] + [f"{i:02}a" for i in range(6, 20)]
        self.assertEqual(sorted(os.listdir(self.folder / "photos")), [name + ".png" for name in kept])

    def test_interrupt(self):
        self.put_many()
        before = self.files()
        status, told, err = self.run_beside_page(lambda process: process.send_signal(signal.SIGINT))
        self.assertEqual((status, told), (130, None), err)
        self.assertEqual([name for name in self.files() if name != "page"], before)

    def test_page(self):
        self.put_photos()
        os.link(self.folder / "photos/2.png", self.folder / "photos/hard<.png")
        self.duplicates("photos", "--model", self.clip, "--html", "page.html", "-q")
        page = Page((self.folder / "page.html").read_text())
        self.assertEqual(page.open, [])
        self.assertEqual(len(page.images), 4)
        self.assertTrue(all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images))
        text = "".join(page.text)
        self.assertIn("2 groups among 7 items: 2 copies beside the best", text)
        self.assertIn("bytes, 120 x 90, 0.6 KB, and 1 link", text)

    def test_bad_input(self):
        self.put("x.npy", npy([[1, 0], [0, 1]]))
        (self.folder / "none").mkdir()
        for args, status, message in (
                (["--texts", "x.txt", "--exact"], 2, "--exact is for files"),
                (["x.npy", "--delete", "--link"], 2, "--delete or --link, not both"),
                (["x.npy", "--yes"], 2, "--yes goes with"), (["x.npy", "--edited"], 2, "--edited goes with"),
                (["x.npy", "--neighbours", 0], 2, "--neighbours must be at least 1"),
                (["x.npy", "--min-cosine", 2], 2, "--min-cosine must be"),
                (["none", "--exact"], 1, "no pictures or documents in none"),
                (["none", "--model", self.clip], 1, "no pictures in none"), (["none"], 2, "--model"),
                (["missing.npy"], 1, "missing.npy"), (["gone", "--exact"], 1, "gone"), ([], 1, "kindred.db")):
            self.assertIn(message, self.duplicates(*args, status=status).err, args)


if __name__ == "__main__":
    main()
