"""kindred store: stats, check and compact, with tiny models."""
import json

from support import CommandTest, main


class Store(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures(*(f"p/{i}.png" for i in range(6)))
        self.run_kindred("index", "-m", self.clip, "p")

    def json(self, *args, status=0):
        return json.loads(self.run_kindred("store", *args, "--json", status=status).out)

    def flip(self, name, at):
        with open(self.folder / name, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0] ^ 1
            file.seek(at)
            file.write(bytes([byte]))


class Stats(Store):
    def test_counts_and_files(self):
        (self.folder / "p/0.png").unlink()
        self.run_kindred("index", "p")
        self.run_kindred("index", "-m", self.dino, "p")
        stats = self.json("stats")
        self.assertEqual([stats[key] for key in ("items", "vectors", "holes")], [5, 10, 1])
        self.assertEqual([(c["vectors"], c["holes"], c["dim"]) for c in stats["collections"]], [(5, 1, 32), (5, 0, 64)])
        self.assertEqual(stats["collections"][1]["model"], str(self.dino.resolve()))
        sizes = {f["path"]: f["bytes"] for f in stats["files"]}
        for kind in ("catalogue", "lock", "vectors"):
            self.assertIn(kind, [f["kind"] for f in stats["files"]])
        vectors = str(self.folder.resolve() / "kindred.db.vectors")
        self.assertEqual(sizes[vectors], 4096 + 6 * 192)
        self.assertEqual(stats["bytes"], sum(sizes.values()))
        lines = self.run_kindred("store", "stats").out
        for part in ("5 items, 5 vectors of 32 floats, 1 holes", str(self.clip), "kindred.db.2.vectors", "5,248"):
            self.assertIn(part, lines)

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "stats", "-s", "no.db", status=1).err)
        self.assertFalse((self.folder / "no.db").exists())


class Check(Store):
    def test_a_whole_store(self):
        self.assertEqual(self.run_kindred("store", "check").out,
                         "./kindred.db: 6 rows of 1 collection checked, no problems\n")
        self.assertEqual(self.json("check"), {"ok": True, "collections": 1, "rows": 6, "words_checked": True,
                                              "problems": []})
        self.assertEqual(self.run_kindred("store", "check", "-q").out, "")

    def test_damaged_bytes_are_found_and_named(self):
        self.flip("kindred.db.vectors", 4096 + 2 * 192 + 70)
        found = self.json("check", status=1)
        self.assertFalse(found["ok"])
        problem, = found["problems"]
        self.assertEqual(problem["file"], str(self.folder.resolve() / "kindred.db.vectors"))
        self.assertIn("row 2: wrong checksum", problem["problem"])
        self.assertIn(".png", problem["problem"])
        self.assertIn("kindred collections --drop 1", problem["fix"])
        lines = self.run_kindred("store", "check", status=1).out.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[1].startswith("    fix: "))
        self.assertTrue(lines[2].endswith("1 problem"))
        # The way out that it names.
        self.run_kindred("collections", "--drop", "1")
        self.run_kindred("index", "-m", self.clip, "p")
        self.assertTrue(self.json("check")["ok"])

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "check", "-s", "no.db", status=1).err)


class Compact(Store):
    def test_space_is_given_back(self):
        self.put_pictures(*(f"p/{i}.png" for i in range(6, 40)))
        for i in range(30):
            (self.folder / f"p/{i}.png").unlink()
        self.run_kindred("index", "p")
        before = self.run_kindred("search", "cat", "--json").out
        result = self.json("compact")
        self.assertEqual(result["holes"], 6)
        self.assertLess(result["bytes_after"], result["bytes_before"])
        self.assertEqual(result["bytes_after"], self.json("stats")["bytes"])
        self.assertEqual(self.run_kindred("search", "cat", "--json").out, before)
        self.assertTrue(self.json("check")["ok"])
        self.assertIn(": 0 holes closed, ", self.run_kindred("store", "compact").out)
        self.assertEqual(self.run_kindred("store", "compact", "-q").out, "")

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "compact", "-s", "no.db", status=1).err)
        self.assertFalse((self.folder / "no.db").exists())


class Parts(Store):
    def test_usage(self):
        self.assertIn("stats, check, compact", self.run_kindred("store", "burn", status=2).err)
        self.assertIn("which store", self.run_kindred("store", "check", "x.db", status=2).err)
        for part in ("stats", "check", "compact"):
            self.assertIn("Examples:", self.run_kindred("store", part, "--help").out)


if __name__ == "__main__":
    main()
