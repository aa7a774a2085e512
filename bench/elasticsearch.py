"""How fast vectors go into Elasticsearch through kindred, and how fast and how well they are found: starts a node with a
heap of its own and runs bench-elasticsearch on it.

    cmake --build build --target bench-elasticsearch
    python3 bench/elasticsearch.py [N=50000] [DIM=512] [HEAP=2g]
"""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/elastic"))

import node


def main():
    n, dim, heap = (sys.argv[1:] + ["50000", "512", "2g"][len(sys.argv) - 1:])[:3]
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        server = node.Node(pathlib.Path(folder) / "node", heap=heap)
        server.start()
        texts = pathlib.Path(folder) / "texts"
        texts.mkdir()
        try:
            subprocess.run([ROOT / "build/bench/bench-elasticsearch", f"elasticsearch://127.0.0.1:{server.port}/bench",
                            texts, n, dim], check=True)
            stats = server.call("GET", "bench/_stats")["_all"]["primaries"]
            print(f"on disk   {stats['store']['size_in_bytes'] / 1e6:.0f} MB in {stats['segments']['count']} segments")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
