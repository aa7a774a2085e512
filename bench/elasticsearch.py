"""How fast vectors go into Elasticsearch through kindred, and how fast and how well they are found: starts a node with a
heap of its own and runs bench-elasticsearch on it.

    cmake --build build --target bench-elasticsearch
    python3 bench/elasticsearch.py [N=200000] [DIM=512] [HEAP=2g] [FOLDER]

With FOLDER the node's data stays there, and a second run searches what the first has filled in.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/elastic"))

import node

PROGRAM = ROOT / "build/bench/bench-elasticsearch"


def wait_for_merges(server):
    """Statistics of the primaries once nothing is merged any more."""
    start = time.monotonic()
    while True:
        stats = server.call("GET", "bench/_stats")["_all"]["primaries"]
        if not stats["merges"]["current"]:
            break
        time.sleep(1)
    print(f"merging   {time.monotonic() - start:.1f} s after filling", flush=True)
    return stats


def fill(server, address, texts, n, dim):
    """On a machine that is busy with other work it may need more than one run: each goes on where the last one ended."""
    for tries in range(5):
        if tries:
            print(f"filling   again ({tries}), so that its rate is of a part", flush=True)
        if subprocess.run([PROGRAM, "fill", address, texts, n, dim]).returncode == 0:
            return
        if server.process.poll() is not None:
            break
        time.sleep(60)
    sys.exit("the index can't be filled; see node.log")


def measure(folder, n, dim, heap):
    server = node.Node(folder / "node", heap=heap)
    server.start(seconds=900)
    address = f"elasticsearch://127.0.0.1:{server.port}/bench"
    texts = folder / "texts"
    texts.mkdir(exist_ok=True)
    try:
        if not server.has("bench") or server.call("GET", "bench/_count")["count"] < int(n):
            fill(server, address, texts, n, dim)
        stats = wait_for_merges(server)
        print(f"on disk   {stats['store']['size_in_bytes'] / 1e6:.0f} MB in {stats['segments']['count']} segments", flush=True)
        subprocess.run([PROGRAM, "search", address, n, dim], check=True)
    finally:
        server.stop()


def main():
    n, dim, heap = (sys.argv[1:] + ["200000", "512", "2g"][len(sys.argv) - 1:])[:3]
    if len(sys.argv) > 4:
        pathlib.Path(sys.argv[4]).mkdir(parents=True, exist_ok=True)
        return measure(pathlib.Path(sys.argv[4]), n, dim, heap)
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        measure(pathlib.Path(folder), n, dim, heap)


if __name__ == "__main__":
    main()
