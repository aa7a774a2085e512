"""Pulling models from a hub on loopback: what is fetched, how failures end, what lies on disk afterwards."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_hub import Hub, Repo, git_sha1  # noqa: E402

DRIVER = os.path.join(os.environ.get("KINDRED_DRIVERS", "."), "driver_hub")
FIXTURES = os.path.dirname(os.path.abspath(__file__))


def noise(size, seed):
    """Bytes that don't repeat, the same in every run."""
    out = b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(size // 32 + 1))
    return out[:size]


WEIGHTS = noise(300_000, 1)
CLIP = {
    ".gitattributes": b"*.bin filter=lfs\n",
    "README.md": b"# a model\n",
    "config.json": b'{"model_type": "clip"}',
    "preprocessor_config.json": b'{"size": 224}',
    "tokenizer.json": noise(5000, 2),
    "tokenizer_config.json": b"{}",
    "vocab.json": b"{}",
    "merges.txt": b"#version: 0.2\n",
    "special_tokens_map.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": noise(1000, 3),
    "tf_model.h5": noise(1000, 4),
    "flax_model.msgpack": noise(1000, 5),
    "onnx/model.onnx": noise(1000, 6),
}
CLIP_WANTED = {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
               "merges.txt", "special_tokens_map.json", "model.safetensors"}


class HubTest(unittest.TestCase):
    def setUp(self):
        self.cache = tempfile.mkdtemp(prefix="kindred-hub-")
        self.addCleanup(shutil.rmtree, self.cache, True)
        self.repo = Repo(CLIP)
        self.hub = Hub({"org/clip": self.repo})
        self.addCleanup(self.hub.close)

    def environment(self, extra=()):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
        env.update(HF_HOME=os.path.join(self.cache, "home"), HOME=self.cache, **dict(extra))
        return env

    def start(self, *args, env=()):
        options = ["cache=" + self.cache, "endpoint=" + self.hub.endpoint, "backoff=20"]
        return subprocess.Popen([DRIVER, *args, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(env))

    def run_driver(self, *args, env=()):
        """(status name, message or directory, notes, all output)"""
        process = self.start(*args, env=env)
        out, notes = process.communicate(timeout=60)
        self.assertGreaterEqual(process.returncode, 0, notes)
        self.assertNotIn("Sanitizer", notes)
        status, _, rest = out.strip().split("\n")[-1].partition(" ")
        return status, rest, notes, out

    def pull(self, name="org/clip", *args, env=()):
        status, rest, notes, _ = self.run_driver("pull", name, *args, env=env)
        self.assertEqual(status, "KIN_OK", rest)
        return rest, notes

    def refuse(self, status, *words, name="org/clip", args=(), env=()):
        got, message, notes, _ = self.run_driver("pull", name, *args, env=env)
        self.assertEqual(got, status, message)
        for word in words:
            self.assertIn(word, message)
        return message, notes

    def folder(self, repo="org/clip"):
        return os.path.join(self.cache, "models--" + repo.replace("/", "--"))

    def blobs(self, repo="org/clip"):
        return set(os.listdir(os.path.join(self.folder(repo), "blobs")))

    def names(self, directory):
        return {os.path.relpath(os.path.join(d, f), directory) for d, _, files in os.walk(directory) for f in files}

    def assert_pulled(self, directory, wanted=CLIP_WANTED, files=CLIP):
        self.assertEqual(self.names(directory), set(wanted))
        for name in wanted:
            with open(os.path.join(directory, name), "rb") as f:
                self.assertEqual(f.read(), files[name], name)


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


class Access(HubTest):
    def tokens(self, role):
        return {r["token"] for r in self.hub.log if r["role"] == role}

    def test_token_stays_with_its_host(self):
        self.hub.repos["org/clip"].private = True
        self.pull(env={"HF_TOKEN": " hf_secret\n"})
        self.assertEqual(self.tokens("hub"), {"Bearer hf_secret"})
        self.assertEqual(self.tokens("cdn"), {None})

    def test_token_file(self):
        os.makedirs(os.path.join(self.cache, "home"))
        with open(os.path.join(self.cache, "home", "token"), "w") as f:
            f.write("hf_secret\n")
        self.hub.repos["org/clip"].private = True
        self.pull()
        self.hub.log.clear()
        self.refuse("KIN_ERR_NOT_FOUND", args=("token=",))
        self.assertEqual(self.tokens("hub"), {None})

    def test_no_token(self):
        self.hub.repos["org/clip"].private = True
        self.refuse("KIN_ERR_NOT_FOUND", "HTTP 401", "set HF_TOKEN", "private")

    def test_wrong_token(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 401, {})]
        message, _ = self.refuse("KIN_ERR_NOT_FOUND", "HTTP 401", "refuses the access token", env={"HF_TOKEN": "hf_wrong"})
        self.assertNotIn("hf_wrong", message)

    def test_gated(self):
        self.hub.repos["org/clip"].gated = True
        self.refuse("KIN_ERR_NOT_FOUND", "gated", "HTTP 403", "HF_TOKEN")

    def test_not_found(self):
        self.refuse("KIN_ERR_NOT_FOUND", "HTTP 404", name="org/none", env={"HF_TOKEN": "hf_secret"})
        self.refuse("KIN_ERR_NOT_FOUND", "org/clip@v9", "no such revision", name="org/clip@v9")

    def test_token_with_a_line_break(self):
        self.refuse("KIN_ERR_ARGUMENT", "HF_TOKEN", env={"HF_TOKEN": "a\nX-Evil: 1"})
        self.assertEqual(self.hub.log, [])

    def test_bad_endpoint(self):
        for endpoint in ("ftp://127.0.0.1/", "file:///etc", "http://", "http://127.0.0.1/?x=1"):
            got, message, _, _ = self.run_driver_with("pull", "org/clip", "endpoint=" + endpoint)
            self.assertEqual(got, "KIN_ERR_ARGUMENT", message)

    def run_driver_with(self, *args):
        out = subprocess.run([DRIVER, *args, "cache=" + self.cache, "backoff=20"], stdout=subprocess.PIPE, text=True,
                             env=self.environment(), timeout=60).stdout
        return (*out.strip().split("\n")[-1].partition(" ")[::2], None, out)

    def test_nobody_listens(self):
        started = time.monotonic()
        got, message, _, _ = self.run_driver_with("pull", "org/clip", "endpoint=http://127.0.0.1:9", "backoff=20000")
        self.assertEqual(got, "KIN_ERR_IO")
        self.assertIn("can't reach http://127.0.0.1:9", message)
        self.assertLess(time.monotonic() - started, 15)

    def test_offline(self):
        self.refuse("KIN_ERR_IO", "HF_HUB_OFFLINE", env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(self.hub.log, [])

    def test_proxy(self):
        # The hub plays the proxy, too: it serves http://hub.invalid/PATH as it serves PATH.
        process = subprocess.run([DRIVER, "pull", "org/clip", "cache=" + self.cache, "endpoint=http://hub.invalid",
                                  "retries=1", "backoff=20"], stdout=subprocess.PIPE, text=True, timeout=60,
                                 env=self.environment({"http_proxy": self.hub.endpoint, "no_proxy": "127.0.0.1"}))
        self.assertTrue(process.stdout.startswith("KIN_OK"), process.stdout)


class Transfer(HubTest):
    def cdn_faults(self, *faults):
        """For the requests that reach the CDN: the hub's redirect comes before each."""
        self.hub.faults["GET", "model.safetensors"] = [x for f in faults for x in (None, f)]

    def ranges(self):
        return [r["range"] for r in self.hub.requests("cdn", "GET", "model.safetensors")]

    def test_drop_in_mid_file(self):
        self.cdn_faults(("drop", 100_000), ("drop", 50_000))
        directory, notes = self.pull()
        self.assert_pulled(directory)
        self.assertEqual(self.ranges()[0], None)
        resumed = [int(r[6:-1]) for r in self.ranges()[1:]]
        self.assertEqual(len(resumed), 2)
        self.assertTrue(0 < resumed[0] <= 100_000 and resumed[0] < resumed[1] <= 150_000, resumed)
        self.assertIn("next try in", notes)

    def test_more_drops_than_retries_with_progress(self):
        self.cdn_faults(*[("drop", 20_000)] * 9)
        self.assert_pulled(self.pull("org/clip", "retries=2")[0])

    def test_drops_without_progress(self):
        self.cdn_faults(*[("drop", 0)] * 9)
        self.refuse("KIN_ERR_IO", "model.safetensors", "gave up after 3 tries", args=("retries=2",))
        self.assertFalse(os.path.exists(os.path.join(self.folder(), "refs", "main")))
        self.assertEqual(os.listdir(os.path.join(self.folder(), "snapshots")), [])

    def test_server_without_ranges(self):
        self.cdn_faults(("drop", 100_000), ("no-range",))
        self.assert_pulled(self.pull()[0])
        self.assertEqual(len(self.ranges()), 2)

    def test_compressed_all_the_same(self):
        self.hub.sizes = False
        self.hub.faults["HEAD", "config.json"] = [None, ("gzip",)]
        self.refuse("KIN_ERR_FORMAT", "config.json", "doesn't tell its size")
        self.hub.sizes = True
        self.hub.faults["HEAD", "config.json"] = [None, ("gzip",)]
        self.hub.faults["GET", "config.json"] = [None, ("gzip",)]
        self.assert_pulled(self.pull()[0])

    def test_mirror_that_sends_on(self):
        # A mirror's redirect without an ETag: the other host's answer describes the file, and gets no token.
        other = Hub({"org/clip": self.repo})
        self.addCleanup(other.close)
        for method in ("HEAD", "GET"):
            url = "%s/org/clip/resolve/%s/vocab.json" % (other.endpoint, self.repo.commit)
            self.hub.faults[method, "vocab.json"] = [("location", url)]
        self.assert_pulled(self.pull(env={"HF_TOKEN": "hf_secret"})[0])
        self.assertEqual({r["token"] for r in other.log}, {None})
        self.assertTrue(other.log)

    def test_server_errors_then_well(self):
        for end in ("/revision/main", "model.safetensors", "config.json"):
            self.hub.faults["GET", end] = [("status", 503, {}), ("status", 502, {})]
        self.hub.faults["HEAD", "tokenizer.json"] = [("status", 500, {})]
        self.assert_pulled(self.pull()[0])

    def test_server_error_for_good(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 503, {"X-Error-Message": "maintenance"})] * 9
        self.refuse("KIN_ERR_IO", "HTTP 503", "maintenance", "gave up after 3 tries", args=("retries=2",))
        self.assertEqual(len(self.hub.requests("hub", "GET", "/revision/main")), 3)

    def test_client_error_isnt_retried(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 400, {})]
        self.refuse("KIN_ERR_IO", "HTTP 400")
        self.assertEqual(len(self.hub.requests("hub", "GET", "/revision/main")), 1)

    def test_rate_limit(self):
        self.hub.faults["GET", "model.safetensors"] = [("status", 429, {"Retry-After": "1"})]
        self.hub.faults["GET", "/revision/main"] = [("status", 429, {"RateLimit": '"api";r=0;t=1'})]
        started = time.monotonic()
        _, notes = self.pull()
        self.assertGreaterEqual(time.monotonic() - started, 2)
        self.assertIn("next try in 1.0 s", notes)

    def test_rate_limit_too_long(self):
        self.hub.faults["GET", "/revision/main"] = [("status", 429, {"Retry-After": "86400"})]
        self.refuse("KIN_ERR_IO", "HTTP 429", "wait for 86400 s")

    def test_stall(self):
        self.cdn_faults(("stall", 20))
        started = time.monotonic()
        self.assert_pulled(self.pull("org/clip", "stall=1")[0])
        self.assertLess(time.monotonic() - started, 15)

    def test_slow(self):
        self.cdn_faults(("slow", 0.1))
        self.assert_pulled(self.pull("org/clip", "stall=1")[0])
        self.assertEqual(len(self.ranges()), 1)

    def test_wrong_contents(self):
        wrong = noise(len(WEIGHTS), 99)
        self.cdn_faults(("body", wrong))
        self.refuse("KIN_ERR_FORMAT", "model.safetensors", hashlib.sha256(wrong).hexdigest(),
                  hashlib.sha256(WEIGHTS).hexdigest())
        self.assertFalse([b for b in self.blobs() if b.startswith(hashlib.sha256(WEIGHTS).hexdigest())])
        self.assert_pulled(self.pull()[0])

    def test_wrong_contents_of_a_small_file(self):
        self.hub.faults["GET", "config.json"] = [None, ("body", b'{"model_type": "evil"}')]
        self.refuse("KIN_ERR_FORMAT", "config.json", "SHA-1", git_sha1(CLIP["config.json"]))

    def test_too_long_and_too_short(self):
        self.cdn_faults(("body", WEIGHTS + b"x"))
        self.refuse("KIN_ERR_FORMAT", "more than the 300000 bytes")
        self.cdn_faults(*[("body", b"")] * 4)
        self.refuse("KIN_ERR_IO", "ended after", args=("retries=1",))

    def test_never_as_long_as_announced(self):
        self.hub.sizes = False
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": str(len(WEIGHTS) + 9)}
        self.refuse("KIN_ERR_IO", "model.safetensors", "gave up after 4 tries", args=("retries=3",))

    def test_sizes_disagree(self):
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": "77"}
        self.refuse("KIN_ERR_FORMAT", "300000", "77")

    def test_hashes_disagree(self):
        self.hub.metadata["model.safetensors"] = {"X-Linked-Etag": '"%s"' % ("0" * 64)}
        self.refuse("KIN_ERR_FORMAT", "two SHA-256")

    def test_other_commit(self):
        self.hub.metadata["model.safetensors"] = {"X-Repo-Commit": "1" * 40}
        self.refuse("KIN_ERR_FORMAT", "asked for commit", "1" * 40)

    def test_etag_that_is_no_file_name(self):
        for etag in ('"../../../evil"', '""', '".."', "\"a/b\""):
            self.hub.metadata["config.json"] = {"ETag": etag}
            self.refuse("KIN_ERR_FORMAT", "ETag")

    def test_damaged_listing(self):
        for listing in (b"<html>", b"[]", b'{"sha": "main", "siblings": []}', b'{"sha": "%s"}' % (b"a" * 40),
                        b'{"sha": "%s", "siblings": [1]}' % (b"a" * 40)):
            self.hub.listing = listing
            self.refuse("KIN_ERR_FORMAT", "org/clip@main")

    def test_redirects(self):
        self.hub.faults["GET", "model.safetensors"] = [("location", self.hub.endpoint + "/x/model.safetensors")] * 99
        self.refuse("KIN_ERR_FORMAT", "more than 10 redirects")
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"):
            self.hub.faults["GET", "model.safetensors"] = [("location", target)]
            self.refuse("KIN_ERR_FORMAT", "refused to follow", target)

    def test_moved_repository(self):
        self.hub.repos["old/clip"] = self.repo
        self.hub.faults["GET", "/revision/main"] = [("location", "/api/models/org/clip/revision/main?blobs=true")]
        self.pull("old/clip", env={"HF_TOKEN": "hf_secret"})
        self.assertEqual({r["token"] for r in self.hub.log if r["role"] == "hub"}, {"Bearer hf_secret"})

    def test_disk_full(self):
        size = 10 ** 18
        self.hub.metadata["model.safetensors"] = {"X-Linked-Size": str(size)}
        self.hub.sizes = False
        self.refuse("KIN_ERR_IO", "needs", "MB left", "HF_HUB_CACHE")
        self.assertEqual(self.hub.requests("cdn"), [])


class Interruption(HubTest):
    def incomplete(self):
        return os.path.join(self.folder(), "blobs", hashlib.sha256(WEIGHTS).hexdigest() + ".incomplete")

    def wait_for(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def has(self, size):
        return os.path.exists(self.incomplete()) and os.path.getsize(self.incomplete()) >= size

    def test_kill_and_resume(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.3)]
        process = self.start("pull", "org/clip")
        self.wait_for(lambda: self.has(30_000))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(os.listdir(os.path.join(self.folder(), "snapshots")), [])
        self.assertEqual(self.run_driver("find", "org/clip")[0], "KIN_ERR_NOT_FOUND")
        left = os.path.getsize(self.incomplete())
        self.assert_pulled(self.pull()[0])
        self.assertEqual(self.hub.requests("cdn")[-1]["range"], "bytes=%d-" % left)
        self.assertFalse(os.path.exists(self.incomplete()))

    def test_cancel_and_resume(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.05)]
        self.refuse("KIN_ERR_CANCELLED", args=("cancel_at=100000",))
        self.assertTrue(self.has(50_000))
        self.assert_pulled(self.pull()[0])
        self.assertTrue(self.hub.requests("cdn")[-1]["range"])

    def test_damaged_remainder(self):
        os.makedirs(os.path.dirname(self.incomplete()))
        for remainder in (noise(1000, 50), noise(len(WEIGHTS), 51), noise(len(WEIGHTS) + 9, 52)):
            with open(self.incomplete(), "wb") as f:
                f.write(remainder)
            self.assert_pulled(self.pull()[0])
            os.unlink(os.path.join(os.path.dirname(self.incomplete()), hashlib.sha256(WEIGHTS).hexdigest()))

    def test_complete_remainder(self):
        os.makedirs(os.path.dirname(self.incomplete()))
        with open(self.incomplete(), "wb") as f:
            f.write(WEIGHTS)
        self.assert_pulled(self.pull()[0])
        self.assertEqual(self.hub.requests("cdn"), [])

    def test_two_at_once(self):
        self.hub.faults["GET", "model.safetensors"] = [None, ("slow", 0.1)]
        first = self.start("pull", "org/clip")
        self.wait_for(lambda: self.has(1))
        second = self.start("pull", "org/clip")
        for process in (first, second):
            out, notes = process.communicate(timeout=60)
            self.assertTrue(out.startswith("KIN_OK"), out + notes)
        self.assertIn("another process is fetching this file", notes)
        self.assertEqual(len(self.hub.requests("cdn")), 1)
        self.assert_pulled(os.path.join(self.folder(), "snapshots", self.repo.commit))

    def test_lock_of_another_program(self):
        locks = os.path.join(self.cache, ".locks", "models--org--clip")
        os.makedirs(locks)
        path = os.path.join(locks, hashlib.sha256(WEIGHTS).hexdigest() + ".lock")
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start("pull", "org/clip")
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.assertEqual(self.hub.requests("cdn"), [])
            os.unlink(path)  # some locks delete their file as they let go
        out, notes = process.communicate(timeout=60)
        self.assertTrue(out.startswith("KIN_OK"), out + notes)

    def test_read_only_cache(self):
        if os.geteuid() == 0:
            self.skipTest("root writes anywhere")
        os.chmod(self.cache, 0o555)
        self.addCleanup(os.chmod, self.cache, 0o755)
        self.refuse("KIN_ERR_IO", self.cache)


if __name__ == "__main__":
    if not os.path.exists(DRIVER):
        print("no driver_hub: set KINDRED_DRIVERS")
        sys.exit(77)
    unittest.main()
