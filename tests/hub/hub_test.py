"""A hub on loopback, a cache of its own, and the program that pulls from one into the other."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from fake_hub import Hub, Repo

DRIVER = os.path.join(os.environ.get("KINDRED_DRIVERS", "."), "driver_hub")


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


def main():
    if not os.path.exists(DRIVER):
        print("no driver_hub: set KINDRED_DRIVERS")
        sys.exit(77)
    unittest.main()
