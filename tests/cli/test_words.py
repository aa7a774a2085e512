"""kindred search --bm25 and --hybrid, and the captions that they search, with tiny models."""
import json
import pathlib
import shutil

from support import CommandTest, main, make_bert

CAPTIONS = pathlib.Path(__file__).resolve().parents[1] / "data/captions"


class Words(CommandTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bert = make_bert(cls.shared / "bert")

    def index(self, *args):
        return json.loads(self.run_kindred("index", "--json", *args).out)

    def search(self, *args):
        return json.loads(self.run_kindred("search", "--json", *args).out)["results"]

    def names(self, *args):
        return [pathlib.Path(hit["path"]).name for hit in self.search(*args)]

    def put_captioned(self):
        folder = self.folder / "p"
        folder.mkdir()
        for name in ("xmp.jpg", "iptc.jpg", "latin1.jpg", "xmp.png", "none.jpg"):
            shutil.copy(CAPTIONS / name, folder)

    def test_captions_in_pictures(self):
        self.put_captioned()
        self.index("-m", self.clip, "p")
        self.assertEqual(sorted(self.names("--bm25", "도로")), ["xmp.jpg", "xmp.png"])
        self.assertEqual(self.names("--bm25", "바다"), ["iptc.jpg"])
        self.assertEqual(self.names("--bm25", "BRÛLÉE"), ["latin1.jpg"])
        self.assertEqual(self.names("--bm25", "none"), ["none.jpg"])
        self.assertEqual(self.names("--bm25", "nothing"), [])
        self.assertEqual(self.names("--bm25", '"without people"', "--where", "name glob '*.png'"), ["xmp.png"])

    def test_sidecars_and_lists(self):
        self.put_captioned()
        self.put("p/none.txt", "ａ ｓｎｏｗｙ ｆｉｅｌｄ\n눈밭에 선 아이")
        self.put("lists/captions.csv", "path,caption\n../p/none.jpg,\"a lorry, red\"\nmissing.jpg,lorry\n")
        result = self.index("-m", self.clip, "p", "--captions", "lists/captions.csv")
        self.assertEqual(result["captions"], 1)
        for words in ("snowy", "아이", "눈", "lorry"):
            self.assertEqual(self.names("--bm25", words), ["none.jpg"], words)
        self.put("p/none.txt", "a green field")
        self.assertEqual(self.index("p")["unchanged"], 5)
        self.assertEqual(self.names("--bm25", "snowy"), [])
        self.assertEqual(self.names("--bm25", "green lorry"), ["none.jpg"])
        self.assertIn("1 with captions", self.run_kindred("index", "p", "--captions", "lists/captions.csv").out)
        (self.folder / "p/none.jpg").unlink()
        self.index("p")
        self.assertEqual(self.names("--bm25", "lorry"), [])

    def test_bm25_needs_no_model(self):
        self.put("n/a.txt", "사람이 없는 도로에서")
        self.put("n/SnowyRoad_01.txt", "the cat")
        model = shutil.copytree(self.bert, self.folder / "model")
        self.index("-m", model, "n")
        shutil.rmtree(model)
        self.run_kindred("search", "도로", status=1)
        hit, = self.search("--bm25", "도로")
        self.assertEqual((hit["passage"], hit["line"]), ("사람이 없는 도로에서", 1))
        self.assertEqual(self.names("--bm25", "snowy"), ["SnowyRoad_01.txt"])
        self.assertEqual(self.names("--bm25", 'NEAR("( * AND'), [])

    def test_hybrid_shows_both_ranks(self):
        self.put("n/a.txt", "the cat")
        self.put("n/b.txt", "the dog dog")
        self.put("n/c.txt", "road dog")
        self.put("n/d.txt", "road road")
        self.index("-m", self.bert, "n")
        vectors = self.names("the dog")
        words = self.names("--bm25", "the dog")
        self.assertEqual(len(vectors), 4)
        self.assertEqual(sorted(words), ["a.txt", "b.txt", "c.txt"])
        for hit in self.search("--hybrid", "the dog"):
            name = pathlib.Path(hit["path"]).name
            self.assertEqual(hit["vector_rank"], vectors.index(name) + 1)
            self.assertEqual(hit["bm25_rank"], words.index(name) + 1 if name in words else None)
            expected = sum(1 / (60 + rank) for rank in (hit["vector_rank"], hit["bm25_rank"]) if rank)
            self.assertAlmostEqual(hit["score"], expected, places=6)
        fused = self.search("--hybrid", "the dog")
        self.assertEqual([h["score"] for h in fused], sorted((h["score"] for h in fused), reverse=True))
        self.assertEqual(self.search("--hybrid", "the dog", "-n", "2", "--offset", "1"), fused[1:3])
        table = self.run_kindred("search", "--hybrid", "the dog").out.splitlines()
        self.assertRegex(table[0], r"^rank +score +vector +bm25$")
        self.assertRegex(table[4], r"^ +4  +0\.0\d+ +\d +- +.*d\.txt:1: ")

    def test_weights(self):
        self.put("n/a.txt", "the cat")
        self.put("n/b.txt", "the dog dog")
        self.put("n/c.txt", "road dog")
        self.index("-m", self.bert, "n")
        self.assertEqual(self.names("--hybrid", "--weight", "1", "the dog"), self.names("the dog"))
        words = self.search("--hybrid", "--weight", "0", "cat")
        self.assertEqual((pathlib.Path(words[0]["path"]).name, words[0]["score"]), ("a.txt", 1))
        near, exact = self.search("road dog"), self.search("--bm25", "road dog")

        def scaled(hits):
            least, most = hits[-1]["score"], hits[0]["score"]
            return {hit["path"]: (hit["score"] - least) / (most - least) for hit in hits}

        near, exact = scaled(near), scaled(exact)
        for hit in self.search("--hybrid", "--weight", "0.7", "road dog"):
            self.assertAlmostEqual(hit["score"], 0.7 * near.get(hit["path"], 0) + 0.3 * exact.get(hit["path"], 0), places=5)

    def test_misuse(self):
        self.put("n/a.txt", "the cat")
        self.index("-m", self.bert, "n")
        for arguments in (["--bm25", "--hybrid", "cat"], ["--weight", "0.5", "cat"], ["--hybrid", "--weight", "1.5", "cat"],
                          ["--bm25"], ["--hybrid"]):
            self.run_kindred("search", *arguments, status=2)


if __name__ == "__main__":
    main()
