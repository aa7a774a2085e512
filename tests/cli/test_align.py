"""kindred align: captions in every form, the bridge as a model, and what is refused."""
import json
import shutil

from support import CommandTest, cosine, main, make_bert, read_npy

COUNT = 40
WORDS = ("the", "cat", "dog", "road")


class Align(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bert = cls.shared / "bert"
        make_bert(cls.bert)

    def setUp(self):
        super().setUp()
        self.names = [f"{i}.png" for i in range(COUNT)]
        self.put_pictures(*self.names)

    def caption(self, i):
        return " ".join(WORDS[i // 4 ** place % 4] for place in range(3))

    def align(self, captions, *options, status=0):
        return self.run_kindred("align", "-i", self.dino, "-t", self.bert, "-c", captions, "-o", "bridge", "--json",
                                *options, status=status)

    def jsonl(self, name="captions.jsonl", **more):
        lines = [json.dumps({"path": picture, "captions": {"en": self.caption(i), "ko": self.caption(i) + "."}} | more)
                 for i, picture in enumerate(self.names)]
        self.put(name, "\n".join(lines) + "\n")
        return name

    def test_json_lines_by_language(self):
        report = json.loads(self.align(self.jsonl()).out)
        self.assertEqual((report["pictures"], report["captions"], report["failed"]), (COUNT, COUNT, 0))
        self.assertEqual(list(report["recall"]), ["en", "ko"])
        self.assertEqual(report["recall"]["en"]["queries"], COUNT)
        config = json.loads((self.folder / "bridge/config.json").read_text())
        self.assertEqual((config["model_type"], config["image_model"]), ("kindred_bridge", str(self.dino)))

    def test_bridge_is_a_model(self):
        for method in ("kernel", "ridge"):
            self.align(self.jsonl(), "--method", method, "--lambda", "0.01", "--holdout", "0")
            self.run_kindred("embed", "-q", "-m", "bridge", "3.png", "-t", self.caption(3), "-t", self.caption(9), "-o",
                             "v.npy")
            picture, own, other = read_npy(self.folder / "v.npy")
            self.assertGreater(cosine(picture, own), cosine(picture, other))
            self.run_kindred("index", "-q", "-m", "bridge", "--store", f"{method}.db", *self.names)
            found = self.run_kindred("search", "--store", f"{method}.db", "-n", "10", self.caption(3)).out
            self.assertEqual(len(found.splitlines()), 10)

    def test_csv_and_folder_give_the_same_bridge(self):
        rows = "".join(f'{name},"{self.caption(i)}"\r\n' for i, name in enumerate(self.names))
        self.put("captions.csv", "path,caption\r\n" + rows)
        for i, name in enumerate(self.names):
            self.put(name.replace(".png", ".txt"), self.caption(i) + "\nmore words\n")
        weights = []
        for captions in ("captions.csv", "."):
            self.align(captions, "--holdout", "0")
            weights.append((self.folder / "bridge/bridge.safetensors").read_bytes())
        self.assertEqual(len(weights[0]), len(weights[1]))

    def test_same_bits_for_any_number_of_threads(self):
        found = []
        for threads in ("1", "3"):
            self.align(self.jsonl(), "--threads", threads)
            found.append((self.folder / "bridge/bridge.safetensors").read_bytes())
        self.assertEqual(found[0], found[1])

    def test_unreadable_pictures_are_left_out(self):
        self.put("5.png", "no picture")
        result = self.align(self.jsonl(), status=3)
        self.assertIn("5.png", result.err)
        report = json.loads(result.out)
        self.assertEqual((report["pictures"], report["failed"]), (COUNT - 1, 1))

    def test_noise_is_poor(self):
        report = json.loads(self.align(self.jsonl(), "--holdout", "0.5").out)
        self.assertTrue(report["poor"], report)

    def test_refused_captions(self):
        for name, text, message in (
                ("a.jsonl", '{"path": "0.png"}\n', 'line 1 needs "path" and "caption"'),
                ("b.jsonl", "{\n", "b.jsonl: line 1"),
                ("c.jsonl", "\n", "no pictures with captions"),
                ("d.csv", "file,caption\n", "must name the columns"),
                ("e.csv", "path,caption\n0.png\n", "record 2"),
                ("f.txt", "x", ".jsonl file, a .csv file or a folder"),
                ("g.jsonl", '{"path": "0.png", "caption": "x"}\n', "too few to learn from")):
            self.put(name, text)
            self.assertIn(message, self.align(name, status=1).err)

    def test_refused_options(self):
        captions = self.jsonl()
        for options, message in ((["--method", "magic"], "not one of kernel, ridge"),
                                 (["--holdout", "0.9"], "--holdout must be"),
                                 (["--blocks", "1,x"], "--blocks takes")):
            self.assertIn(message, self.align(captions, *options, status=2).err)
        self.assertIn("block 99", self.align(captions, "--blocks", "99", status=1).err)

    def test_changed_model_is_refused(self):
        shutil.copytree(self.bert, self.folder / "texts")
        self.run_kindred("align", "-i", self.dino, "-t", "texts", "-c", self.jsonl(), "-o", "bridge", "-q")
        shutil.rmtree(self.folder / "texts")
        result = self.run_kindred("model", "info", "bridge", status=1)
        self.assertIn("text_model", result.err)
        make_bert(self.folder / "texts", context=12)
        result = self.run_kindred("model", "info", "bridge", status=1)
        self.assertIn("not the model that the bridge was fitted to", result.err)

    def test_bridge_over_itself(self):
        self.align(self.jsonl(), "--holdout", "0")
        path = self.folder / "bridge/config.json"
        config = json.loads(path.read_text())
        config["image_model"] = str(self.folder / "bridge")
        path.write_text(json.dumps(config))
        self.assertIn("is a bridge itself", self.run_kindred("model", "info", "bridge", status=1).err)


if __name__ == "__main__":
    main()
