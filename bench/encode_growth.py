#!/usr/bin/env python3
"""Images a second by batch size and threads, as a plot:

    python3 bench/encode_growth.py docs/images/encode-growth.svg

Each round measures every batch size with every number of threads once, in turn; the plot shows the medians. Needs NumPy.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile

import encode
import plot


def main():
    cache = pathlib.Path.home() / ".cache/kindred"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("svg", type=pathlib.Path)
    parser.add_argument("--model", default="clip-vit-b-32", help="a seeded model; default: clip-vit-b-32")
    parser.add_argument("--batches", type=encode.numbers, default=[1, 2, 4, 8, 16, 32], help="default: 1,2,4,8,16,32")
    parser.add_argument("--threads", type=encode.numbers, default=[1, 2], help="default: 1,2")
    parser.add_argument("--precisions", type=lambda s: s.split(","), default=["fp32", "int8"], help="default: fp32,int8")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--build", type=pathlib.Path, default=encode.ROOT / "build", help="default: build")
    parser.add_argument("--cache", type=pathlib.Path, default=cache / "seeded", help="seeded models' folder")
    options = parser.parse_args()
    subprocess.run([options.build / "tests/make_seeded", options.model], check=True, stdout=subprocess.DEVNULL,
                   env={"KINDRED_SOURCE": str(encode.ROOT), "KINDRED_CACHE": str(options.cache.parent)})
    folder = options.cache / options.model
    side = encode.crop_side(folder, encode.read_config(folder))
    engines = {}
    for precision in options.precisions:
        for threads in options.threads:
            name = f"{precision}, {threads} thread{'s' if threads > 1 else ''}"
            engines[name] = encode.Engine("kindred", folder, argparse.Namespace(
                build=options.build, threads=threads, precision=precision))
    rates = {name: {batch: [] for batch in options.batches} for name in engines}
    with tempfile.TemporaryDirectory() as scratch:
        paths = {b: encode.make_input(pathlib.Path(scratch), "images", side, (b,), None) for b in options.batches}
        for _ in range(options.rounds):
            for batch in options.batches:
                repeat = max(1, 8 // batch)
                for name, engine in engines.items():
                    rates[name][batch].append(
                        batch * repeat / engine.seconds("images", paths[batch], (batch,), repeat))
    for engine in engines.values():
        engine.close()
    series = {name: [(b, statistics.median(r)) for b, r in by_batch.items()] for name, by_batch in rates.items()}
    for name, line in series.items():
        print(f"{name:20}" + "".join(f"  {batch}: {rate:.1f}" for batch, rate in line))
    plot.line_plot(options.svg, f"{options.model}, images a second by batch size", "images a batch", "images a second", series,
                   log_y=False, x_ticks=options.batches)


if __name__ == "__main__":
    main()
