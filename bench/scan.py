#!/usr/bin/env python3
"""Exact search: queries a second of ours, faiss and usearch on the same vectors and threads, in one run.

    python3 -m venv peers && peers/bin/pip install faiss-cpu usearch numpy
    cmake --preset release && cmake --build build
    peers/bin/python bench/scan.py --threads 2                         # the table
    python3 bench/scan.py --growth docs/images/search-growth.svg       # ours alone, 1,000 to 4,000,000 vectors

The vectors are clustered and seeded, made once into --folder (2.1 kB for each, and 1.6 kB of codes). Every round
measures each engine once, in turn; the table shows the least, the median and the greatest rate. "of memory" is the
bytes of codes that a query reads, a second, over what all threads read from memory right before, the best of some runs
of both, as bench-peak measures it; the median of the rounds.
Nothing else should run meanwhile.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).parents[1]
QUERIES_IN_FILE = 1000
HEADER, RECORD_HEAD = 4096, 64


class Ours:
    """The driver's process, with the vector file open."""

    def __init__(self, options, rows):
        self.path = options.folder / f"scan-{rows}x{options.dim}"
        self.rows, self.k = rows, options.k
        command = [options.build / "bench/bench-scan", self.path, str(rows), str(options.dim), str(options.threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.process.stdout.readline())

    def search(self, queries, codes=1, repeat=1, rows=None, out="-", which="seconds"):
        print("search", rows or self.rows, queries, self.k, repeat, codes, out, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())[which]

    def read_bandwidth(self):
        """GB/s of all threads."""
        print("read", file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())["bytes_per_second"] * 1e-9

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def read_vectors(path, rows, dim):
    import numpy as np
    record = RECORD_HEAD + (4 * dim + 63) // 64 * 64
    data = np.memmap(path, np.uint8, "r", HEADER, (rows, record))
    out = np.empty((rows, dim), np.float32)
    for i in range(0, rows, 65536):
        out[i:i + 65536] = data[i:i + 65536, RECORD_HEAD:RECORD_HEAD + 4 * dim].copy().view(np.float32)
    return out


def make_peers(ours, options):
    """name -> function of queries that gives [n][k] ids. The vectors are held once for each dtype."""
    import faiss
    import numpy as np
    from usearch.index import MetricKind, search
    faiss.omp_set_num_threads(options.threads)
    flat = faiss.IndexFlatIP(options.dim)
    vectors = read_vectors(ours.path, ours.rows, options.dim)
    flat.add(vectors)
    vectors = faiss.rev_swig_ptr(flat.get_xb(), ours.rows * options.dim).reshape(ours.rows, options.dim)
    half = vectors.astype(np.float16)
    scale = 127 / np.abs(vectors[:10000]).max()
    int8 = np.empty(vectors.shape, np.int8)
    for i in range(0, ours.rows, 65536):
        int8[i:i + 65536] = np.clip(np.rint(vectors[i:i + 65536] * scale), -127, 127)

    def usearch(data, convert):
        def run(queries):
            found = search(data, convert(queries), options.k, MetricKind.IP, exact=True, threads=options.threads)
            return np.asarray(found.keys).reshape(len(queries), -1)
        return run

    peers = {"faiss IndexFlatIP": lambda queries: flat.search(queries, options.k)[1],
            "usearch f32": usearch(vectors, lambda q: q),
            "usearch f16": usearch(half, lambda q: q.astype(np.float16)),
            "usearch i8": usearch(int8, lambda q: np.clip(np.rint(q * scale), -127, 127).astype(np.int8))}
    return {name: run for name, run in peers.items() if not options.peers or name in options.peers}


def agreement(found, ours_ids):
    return sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), ours_ids.tolist())) / ours_ids.size


def compare(options):
    import numpy as np
    ours = Ours(options, options.rows)
    peers = make_peers(ours, options)
    queries = np.fromfile(f"{ours.path}.queries", np.float32).reshape(QUERIES_IN_FILE, options.dim)
    report = {"rows": options.rows, "dim": options.dim, "k": options.k, "threads": options.threads,
              "isa": ours.about["isa"], "results": []}
    for n in options.queries:
        ids = options.folder / "ids"
        ours.search(n, out=ids)
        ours_ids = np.fromfile(ids, np.int64).reshape(n, options.k)
        rates = {name: [] for name in ("kindred", "kindred, vectors only", *peers)}
        same = {"kindred": 1.0}
        bandwidth, fractions = [], []
        code_bytes = ours.search(1, which="code_bytes")
        for _ in range(options.rounds):
            repeat = max(1, 20 // n)
            rates["kindred"].append(n / ours.search(n, repeat=repeat))
            rates["kindred, vectors only"].append(n / ours.search(n, 0))
            for name, run in peers.items():
                time.sleep(0.05)  # threads of the one before stop spinning
                count = max(1, repeat // 10)
                start = time.perf_counter()
                for _ in range(count):
                    found = run(queries[:n])
                rates[name].append(n * count / (time.perf_counter() - start))
                same[name] = agreement(found, ours_ids)
            bandwidth.append(ours.read_bandwidth())
            if n == 1:
                fractions.append(code_bytes * 1e-9 / ours.search(1, repeat=20, which="least_seconds") / bandwidth[-1])
        print(f"\n{options.rows:,} x {options.dim}, k = {options.k}, {n} quer{'y' if n == 1 else 'ies'} at once, "
              f"{options.threads} threads; memory reads {statistics.median(bandwidth):.1f} GB/s")
        print(f"  {'':24}{'min':>9}{'median':>9}{'max':>9}  queries/s   same top {options.k}")
        for name, values in rates.items():
            row = {"engine": name, "queries": n, "min": min(values), "median": statistics.median(values),
                   "max": max(values), "same": same.get(name, 1.0)}
            if name == "kindred" and n == 1:
                row["of_memory"] = statistics.median(fractions)
            report["results"].append(row)
            print(f"  {name:24}{row['min']:9.1f}{row['median']:9.1f}{row['max']:9.1f}              {row['same']:8.2%}" +
                  (f"   {row['of_memory']:.0%} of memory" if "of_memory" in row else ""), flush=True)
    ours.close()
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def growth(options):
    import plot
    sizes = [s for s in (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000, 4_000_000)
             if s <= options.growth_rows]
    small = [s for s in sizes if s <= 1_000_000]
    kinds = {"vectors alone": (0, 1), "bf16 codes": (2, 1), "int8 codes": (1, 1), "int8, 200 at once": (1, 200)}
    lines = {name: [] for name in kinds}
    print(f"milliseconds a query, k = {options.k}, {options.threads} threads: the median of {options.rounds} rounds")
    for group in (small, sizes[len(small):]):
        ours = Ours(options, group[-1]) if group else None
        for rows in group:
            for name, (codes, n) in kinds.items():
                if codes != 1 and group is not small:
                    continue  # gigabytes that would only be read for this
                repeat = max(1, min(200, 1_000_000 // rows // n))
                times = [ours.search(n, codes, repeat, rows) / n * 1e3 for _ in range(options.rounds)]
                lines[name].append((rows, statistics.median(times)))
            print(f"{rows:>10,}  " + "  ".join(f"{name} {line[-1][1]:.4f}" for name, line in lines.items()
                                                if line[-1][0] == rows), flush=True)
        if ours:
            ours.close()
    plot.line_plot(options.growth, f"Exact search, {options.dim} dimensions, k = {options.k}, {options.threads} threads",
                   "vectors in the collection", "milliseconds a query", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp"), help="where the vectors go")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help='only these, such as "faiss IndexFlatIP"')
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--growth", type=pathlib.Path, metavar="SVG", help="plot ours by size instead")
    parser.add_argument("--growth-rows", type=int, default=4_000_000)
    options = parser.parse_args()
    if options.growth:
        growth(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
