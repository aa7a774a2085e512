#!/usr/bin/env python3
"""Approximate search: recall and queries a second of ours, faiss and hnswlib on the same vectors and threads, in one run.

    python3 -m venv peers && peers/bin/pip install faiss-cpu hnswlib numpy
    cmake --preset release && cmake --build build
    peers/bin/python bench/ann.py --rows 200000 --ann HNSW32 IVF1024,PQ64 --svg recall.svg

For a build against a newer FAISS than the installed one: bench/fetch_faiss.sh, whose head says how.
The vectors are clustered and seeded, made once into --folder (2.1 kB for each, and codes). faiss builds the same index by
the same factory string, hnswlib a graph of the same degree and the same efforts. Every round measures each engine at
each effort once, in turn, with all queries in one call; the table shows medians. Nothing else should run meanwhile.
Indexes stay in --folder, with the seconds that they took, and are built once.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import time

import numpy as np

import plot
import scan

EFFORTS = {"HNSW": ("efSearch", (16, 32, 64, 128, 256)), "IVF": ("nprobe", (4, 16, 64, 256))}


def kind_of(factory):
    return "HNSW" if factory.startswith("HNSW") else "IVF"


class Engine:
    """Has `seconds` and `bytes` of its index, which lies in the file `path` once it was built."""

    def __init__(self, options, factory, vectors):
        self.options, self.factory, self.kind, self.k = options, factory, kind_of(factory), options.k
        self.path = options.folder / f"{self.name}-{options.rows}x{options.dim}-{factory.replace(',', '-')}"
        told = self.path.with_suffix(".json")
        self.open()
        if not told.exists():
            start = time.perf_counter()
            self.build(vectors)
            seconds = time.perf_counter() - start
            self.save()
            told.write_text(json.dumps({"seconds": seconds}))
        else:
            self.load()
        self.seconds = json.loads(told.read_text())["seconds"]
        self.bytes = self.path.stat().st_size

    def open(self):
        pass

    def close(self):
        pass


class Kindred(Engine):
    name = "kindred"

    def open(self):
        self.process = scan.Ours(self.options, self.options.rows)
        self.file = pathlib.Path(f"{self.process.path}.ann")

    def build(self, _):
        self.ask(f"optimize {self.factory}")

    def save(self):
        shutil.copy(self.file, self.path)

    def load(self):
        shutil.copy(self.path, self.file)

    def ask(self, line):
        print(line, file=self.process.process.stdin, flush=True)
        return json.loads(self.process.process.stdout.readline())

    def search(self, queries, effort):
        probes, ef = (0, effort) if self.kind == "HNSW" else (effort, 0)
        print("ann", probes, ef, file=self.process.process.stdin, flush=True)
        out = self.options.folder / "ids"
        seconds = self.process.search(len(queries), out=out)
        return seconds, np.fromfile(out, np.int64).reshape(len(queries), self.options.k)

    def close(self):
        self.process.close()


class Faiss(Engine):
    name = "faiss"

    def open(self):
        import faiss
        faiss.omp_set_num_threads(self.options.threads)
        self.faiss = faiss

    def build(self, vectors):
        faiss = self.faiss
        self.index = faiss.index_factory(self.options.dim, self.factory, faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(self.index)
        if ivf is not None:
            ivf.cp.max_points_per_centroid = 64  # as many vectors as ours takes
        if ivf is not None and "PQ" in self.factory:
            faiss.downcast_index(ivf).do_polysemous_training = False
        self.index.train(vectors)
        self.index.add(vectors)

    def save(self):
        self.faiss.write_index(self.index, str(self.path))

    def load(self):
        self.index = self.faiss.read_index(str(self.path))

    def search(self, queries, effort):
        self.faiss.ParameterSpace().set_index_parameter(self.index, EFFORTS[self.kind][0], effort)
        start = time.perf_counter()
        found = self.index.search(queries, self.k)[1]
        return time.perf_counter() - start, found


class Hnswlib(Engine):
    name = "hnswlib"

    def open(self):
        import hnswlib
        self.index = hnswlib.Index("ip", self.options.dim)

    def build(self, vectors):
        degree = int(re.match(r"HNSW(\d+)", self.factory)[1])
        self.index.init_index(len(vectors), M=degree, ef_construction=40)
        self.index.set_num_threads(self.options.threads)
        self.index.add_items(vectors)

    def save(self):
        self.index.save_index(str(self.path))

    def load(self):
        self.index.load_index(str(self.path))
        self.index.set_num_threads(self.options.threads)

    def search(self, queries, effort):
        self.index.set_ef(max(effort, self.k))
        start = time.perf_counter()
        found = self.index.knn_query(queries, self.k)[0].astype(np.int64)
        return time.perf_counter() - start, found


def recall(found, exact):
    return sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist())) / exact.size


def exact_answer(options):
    """Ids by the exact scan, its rate, and the vectors and queries."""
    ours, out = scan.Ours(options, options.rows), options.folder / "ids"
    seconds = statistics.median(ours.search(options.queries, out=out) for _ in range(options.rounds))
    exact = np.fromfile(out, np.int64).reshape(options.queries, options.k)
    vectors = scan.read_vectors(ours.path, options.rows, options.dim)
    queries = np.fromfile(f"{ours.path}.queries", np.float32).reshape(-1, options.dim)[:options.queries]
    ours.close()
    return exact, options.queries / seconds, vectors, queries


def measure(options, factory, exact, vectors, queries):
    kinds = [Kindred, Faiss] + ([Hnswlib] if re.fullmatch(r"HNSW\d+", factory) else [])
    engines = [kind(options, factory, vectors) for kind in kinds if not options.engines or kind.name in options.engines]
    parameter, efforts = EFFORTS[kind_of(factory)]
    results = {engine: {effort: ([], 0) for effort in efforts} for engine in engines}
    for round_ in range(options.rounds + 1):
        for effort in efforts:
            for engine in engines:
                time.sleep(0.05)  # threads of the one before stop spinning
                seconds, found = engine.search(queries, effort)
                if round_:  # the first one reads in
                    rates, _ = results[engine][effort]
                    results[engine][effort] = (rates + [len(queries) / seconds], recall(found, exact))
    rows = []
    for engine in engines:
        for effort, (rates, share) in results[engine].items():
            rows.append({"index": factory, "engine": engine.name, parameter: effort, "recall": share,
                         "queries_per_second": statistics.median(rates), "least": min(rates), "most": max(rates),
                         "build_seconds": engine.seconds, "bytes": engine.bytes})
        engine.close()
    return parameter, rows


def show(parameter, rows):
    print(f"\n{rows[0]['index']}\n  {'engine':10}{'built in':>10}{'MB':>9}{parameter:>10}{'recall':>9}"
          f"{'queries/s: min':>17}{'median':>9}{'max':>9}")
    for r in rows:
        print(f"  {r['engine']:10}{r['build_seconds']:9.1f}s{r['bytes'] / 1e6:9.1f}{r[parameter]:10}{r['recall']:9.4f}"
              f"{r['least']:17.1f}{r['queries_per_second']:9.1f}{r['most']:9.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500, help="at most 1,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ann", nargs="+", default=["HNSW32"], metavar="FACTORY")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="only these of kindred, faiss, hnswlib")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp"), help="where the vectors go")
    parser.add_argument("--build", type=pathlib.Path, default=scan.ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path, help="plot queries a second over recall")
    options = parser.parse_args()
    exact, rate, vectors, queries = exact_answer(options)
    print(f"{options.rows:,} x {options.dim}, k = {options.k}, {options.queries} queries at once, {options.threads} "
          f"threads; kindred's exact scan: {rate:.1f} queries/s", flush=True)
    report = []
    for factory in options.ann:
        parameter, rows = measure(options, factory, exact, vectors, queries)
        show(parameter, rows)
        report += rows
    if options.json:
        options.json.write_text(json.dumps({"exact": rate, "results": report}, indent=1) + "\n")
    if options.svg:
        lines = {}
        for r in report:
            lines.setdefault(f"{r['engine']} {r['index']}", []).append((r["recall"], r["queries_per_second"]))
        plot.line_plot(options.svg, f"{options.rows:,} vectors of {options.dim} floats, k = {options.k}, "
                       f"{options.threads} threads", f"recall@{options.k}", "queries a second",
                       {name: sorted(line) for name, line in lines.items()}, log_x=False)


if __name__ == "__main__":
    main()
