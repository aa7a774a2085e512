"""Pulling models from a hub on loopback: what is fetched, by which names, and what lies on disk afterwards."""

import hashlib
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hub_test  # noqa: E402
from fake_hub import Repo, git_sha1  # noqa: E402
from hub_test import CLIP, CLIP_WANTED, DRIVER, WEIGHTS, noise, HubTest  # noqa: E402

FIXTURES = os.path.dirname(os.path.abspath(__file__))


class Layout(HubTest):
    def test_only_what_is_needed(self):
        directory, notes = self.pull()
        self.assertEqual(directory, os.path.join(self.folder(), "snapshots", self.repo.commit))
        self.assert_pulled(directory)
        total = sum(len(CLIP[n]) for n in CLIP_WANTED)
        self.assertIn("progress: %d/%d bytes, 8/8 files" % (total, total), notes)

    def test_same_as_the_python_tools_make(self):
        # layout.json: made by tools/reference/hub_layout.py with huggingface_hub, from the same repository.
        with open(os.path.join(FIXTURES, "layout.json")) as f:
            reference = json.load(f)
        self.pull()
        found = {}
        for where, _, files in os.walk(self.cache):
            for name in files:
                path = os.path.join(where, name)
                key = os.path.relpath(path, self.cache)
                if os.path.islink(path):
                    found[key] = "-> " + os.readlink(path)
                else:
                    with open(path, "rb") as f:
                        found[key] = hashlib.sha256(f.read()).hexdigest()
        with open(os.path.join(self.cache, "CACHEDIR.TAG")) as f:
            self.assertTrue(f.read().startswith("Signature: 8a477f597d28d172789f06886806bc55\n"))
        del found["CACHEDIR.TAG"]
        for key, value in reference.items():
            self.assertEqual(found.pop(key, None), value, key)
        self.assertEqual(found, {})

    def test_second_pull_fetches_nothing(self):
        self.pull()
        before = len(self.hub.requests("cdn")), len(self.hub.requests("hub", "GET", "config.json"))
        self.pull()
        self.assertEqual((len(self.hub.requests("cdn")), len(self.hub.requests("hub", "GET", "config.json"))), before)

    def test_new_revision_shares_contents(self):
        first, _ = self.pull()
        changed = dict(CLIP, **{"config.json": b'{"model_type": "clip", "new": 1}'})
        self.hub.repos["org/clip"] = Repo(changed)
        second, _ = self.pull()
        self.assertNotEqual(first, second)
        self.assert_pulled(first)
        self.assert_pulled(second, files=changed)
        self.assertEqual(len(self.hub.requests("cdn", "GET", "model.safetensors")), 1)
        self.assertEqual(self.run_driver("find", "org/clip")[1], second)
        self.assertEqual(self.run_driver("find", "org/clip@" + self.repo.commit)[1], first)

    def test_commit_as_revision_leaves_no_ref(self):
        self.pull("org/clip@" + self.repo.commit)
        self.assertFalse(os.path.exists(os.path.join(self.folder(), "refs", "main")))
        self.assertEqual(self.run_driver("find", "org/clip")[0], "KIN_ERR_NOT_FOUND")

    def test_proposed_conversion(self):
        no_safetensors = {k: v for k, v in CLIP.items() if k != "model.safetensors"}
        converted = Repo(CLIP, revisions=("refs/pr/3",))
        self.hub.repos["org/clip"] = Repo(no_safetensors)
        self.refuse("KIN_ERR_UNSUPPORTED", "pytorch_model.bin", "refs/pr/N")
        self.hub.repos["org/clip"] = converted
        directory, _ = self.pull("org/clip@refs/pr/3")
        with open(os.path.join(self.folder(), "refs", "refs", "pr", "3")) as f:
            self.assertEqual(f.read(), converted.commit)
        self.assertEqual(self.run_driver("find", "org/clip")[1], directory)

    def test_known_conversion_is_taken_by_itself(self):
        name = "openai/clip-vit-base-patch32"
        self.hub.repos[name] = Repo({k: v for k, v in CLIP.items() if k != "model.safetensors"})
        converted = Repo(CLIP, revisions=("refs/pr/15",))
        self.hub.repos[name].proposals = {"refs/pr/15": converted, converted.commit: converted}
        directory, _ = self.pull("clip-vit-b-32")
        self.assertEqual(os.path.basename(directory), converted.commit)
        self.assertEqual(self.run_driver("find", "clip-vit-b-32")[1], directory)
        self.refuse("KIN_ERR_UNSUPPORTED", "no safetensors", name=name + "@main")

    def test_shards(self):
        files = {"config.json": b'{"model_type": "clip"}', "model-00001-of-00002.safetensors": noise(4000, 7),
                 "model-00002-of-00002.safetensors": noise(5000, 8), "unrelated-00003.safetensors": noise(10, 9)}
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        self.hub.repos["org/big"] = Repo(files)
        directory, _ = self.pull("org/big")
        self.assert_pulled(directory, set(files) - {"unrelated-00003.safetensors"}, files)
        index["weight_map"]["c"] = "../../../evil.safetensors"
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        self.hub.repos["org/big"] = Repo(files)
        self.refuse("KIN_ERR_FORMAT", "tensor c", "evil", name="org/big")

    def test_sentence_transformers(self):
        modules = [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Dense"}]
        files = {"modules.json": json.dumps(modules).encode(), "config.json": b'{"model_type": "distilbert"}',
                 "sentence_bert_config.json": b"{}", "config_sentence_transformers.json": b"{}",
                 "1_Pooling/config.json": b'{"pooling": 1}', "2_Dense/config.json": b'{"in_features": 768}',
                 "2_Dense/model.safetensors": noise(2000, 10), "vocab.txt": b"[PAD]\n",
                 "model.safetensors": noise(3000, 11)}
        extra = {"2_Dense/pytorch_model.bin": b"x", "pytorch_model.bin": b"y", "onnx/model.onnx": b"z",
                 "openvino/openvino_model.xml": b"w"}
        self.hub.repos["sentence-transformers/clip-ViT-B-32-multilingual-v1"] = Repo({**files, **extra})
        directory, _ = self.pull("clip-multilingual")
        self.assert_pulled(directory, set(files), files)
        self.assertEqual(os.readlink(os.path.join(directory, "2_Dense", "config.json")),
                         "../../../blobs/" + git_sha1(files["2_Dense/config.json"]))
        self.assertEqual(self.run_driver("find", "clip-multilingual")[1], directory)

    def test_sentence_transformers_without_safetensors_in_a_module(self):
        modules = [{"idx": 0, "path": ""}, {"idx": 1, "path": "2_Dense"}]
        self.hub.repos["org/st"] = Repo({"modules.json": json.dumps(modules).encode(), "config.json": b"{}",
                                         "model.safetensors": b"w", "2_Dense/config.json": b"{}",
                                         "2_Dense/pytorch_model.bin": b"x"})
        self.refuse("KIN_ERR_UNSUPPORTED", "2_Dense/pytorch_model.bin", name="org/st")

    def test_encoder_in_a_module_folder(self):
        modules = [{"idx": 0, "path": "0_CLIPModel"}]
        files = {"modules.json": json.dumps(modules).encode(), "0_CLIPModel/config.json": b'{"model_type": "clip"}',
                 "0_CLIPModel/model.safetensors": noise(100, 12), "0_CLIPModel/vocab.json": b"{}"}
        self.hub.repos["org/st"] = Repo({**files, "0_CLIPModel/pytorch_model.bin": b"x"})
        directory, _ = self.pull("org/st")
        self.assert_pulled(directory, set(files), files)

    def test_open_clip(self):
        files = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": noise(3000, 13),
                 "tokenizer.json": b"{}", "vocab.json": b"{}", "merges.txt": b"x"}
        timm = {"config.json": b'{"architecture": "resnet50_clip"}', "model.safetensors": noise(900, 14),
                "open_clip_pytorch_model.bin": b"x", "pytorch_model.bin": b"y"}
        self.hub.repos["timm/resnet50_clip.openai"] = Repo({**files, **timm})
        directory, _ = self.pull("clip-rn50")
        self.assert_pulled(directory, set(files), files)
        # With transformers' layout in the same repository that one is taken.
        self.hub.repos["laion/clip"] = Repo({**CLIP, **files, "config.json": b'{"model_type": "clip"}'})
        directory, _ = self.pull("laion/clip")
        self.assertEqual(self.names(directory), CLIP_WANTED)

    def test_no_model(self):
        self.hub.repos["org/text"] = Repo({"README.md": b"nothing"})
        self.refuse("KIN_ERR_UNSUPPORTED", "no model.safetensors", name="org/text")

    def test_listing_without_sizes(self):
        self.hub.sizes = False
        self.assert_pulled(self.pull()[0])

    def test_repairs_a_link_and_a_cut_blob(self):
        directory, _ = self.pull()
        blob = os.path.realpath(os.path.join(directory, "model.safetensors"))
        with open(blob, "r+b") as f:
            f.truncate(10)
        os.unlink(os.path.join(directory, "config.json"))
        os.symlink("nowhere", os.path.join(directory, "config.json"))
        self.pull()
        self.assert_pulled(directory)

    def test_odd_name(self):
        files = {**CLIP, "model.safetensors": WEIGHTS}
        self.hub.repos["org/m"] = Repo({**files, "../../evil/config.json": b"x", "/etc/config.json": b"y"})
        directory, _ = self.pull("org/m")
        self.assertEqual(self.names(directory), CLIP_WANTED)
        self.assertFalse(os.path.exists(os.path.join(self.cache, "evil")))


class Names(HubTest):
    def test_directory_wins(self):
        directory = os.path.join(self.cache, "here")
        os.mkdir(directory)
        self.assertEqual(self.run_driver("find", directory)[:2], ("KIN_OK", directory))

    def test_not_there(self):
        status, message, _, _ = self.run_driver("find", "minilm")
        self.assertEqual(status, "KIN_ERR_NOT_FOUND")
        self.assertIn("kindred model pull minilm", message)
        status, message, _, _ = self.run_driver("find", "./no/such")
        self.assertEqual(status, "KIN_ERR_NOT_FOUND")
        self.assertIn("no such directory", message)
        status, message, _, _ = self.run_driver("find", __file__)
        self.assertEqual(status, "KIN_ERR_NOT_FOUND")
        self.assertIn(".py: not a directory", message)
        status, message, _, _ = self.run_driver("find", f"{__file__}/model")
        self.assertEqual(status, "KIN_ERR_IO")
        self.assertIn("/model: can't open: Not a directory", message)

    def test_bad_names(self):
        for name in ("a b", "a/b/c", "a//b", "a--b/c", "org/na..me", "org/name@", "org/name@../../x", "@main", "/x/",
                     "org/name@/x", "org/", "-a/b", "x" * 100):
            self.refuse("KIN_ERR_ARGUMENT", name=name)
        self.assertEqual(self.hub.log, [])

    def test_partial_snapshot(self):
        directory = os.path.join(self.folder(), "snapshots", "a" * 40)
        os.makedirs(directory)
        os.makedirs(os.path.join(self.folder(), "refs"))
        with open(os.path.join(self.folder(), "refs", "main"), "w") as f:
            f.write("a" * 40)
        with open(os.path.join(directory, "config.json"), "w") as f:
            f.write("{}")
        status, message, _, _ = self.run_driver("find", "org/clip")
        self.assertEqual(status, "KIN_ERR_NOT_FOUND")
        self.assertIn("complete it", message)
        self.assertIn("\tpartial\t", self.run_driver("list")[3])

    def test_list(self):
        self.pull()
        self.hub.repos["alone"] = Repo({"config.json": b"{}", "model.safetensors": b"123"}, revisions=("v1.0",))
        self.pull("alone@v1.0")
        rows = [line.split("\t") for line in self.run_driver("list")[3].splitlines()[:-1]]
        self.assertEqual([r[0] for r in rows], ["alone", "org/clip"])
        self.assertEqual(rows[0][2:6], ["v1.0", "5", "2", "complete"])
        self.assertEqual(rows[1][1:3], [self.repo.commit, "main"])
        self.assertEqual(int(rows[1][3]), sum(len(CLIP[n]) for n in CLIP_WANTED))

    def test_list_of_no_cache(self):
        self.assertEqual(self.run_driver("list", "cache=" + self.cache + "/none")[3].strip(), "KIN_OK")

    def test_environment(self):
        def where(**env):
            full = {k: v for k, v in self.environment().items() if k != "HF_HOME"}
            full.update(env, HF_ENDPOINT=self.hub.endpoint + "/")
            out = subprocess.run([DRIVER, "pull", "org/clip", "backoff=20"], stdout=subprocess.PIPE, text=True, env=full,
                                 timeout=60).stdout.strip()
            self.assertTrue(out.startswith("KIN_OK "), out)
            return out[len("KIN_OK "):].split("/models--")[0]

        self.assertEqual(where(), self.cache + "/.cache/huggingface/hub")
        self.assertEqual(where(XDG_CACHE_HOME=self.cache + "/xdg"), self.cache + "/xdg/huggingface/hub")
        self.assertEqual(where(HF_HOME="~/h"), self.cache + "/h/hub")
        self.assertEqual(where(HF_HUB_CACHE="$HOME/${X}", X="c", HF_HOME="/none"), self.cache + "/c")


if __name__ == "__main__":
    hub_test.main()
