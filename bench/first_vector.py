#!/usr/bin/env python3
"""From the start of the command to its first text vector, its files in the page cache.

    cmake --preset release && cmake --build build
    python3 bench/first_vector.py ~/.cache/kindred/seeded/clip-vit-b-32 ~/.cache/kindred/minilm

The time from exec to the first byte of `kindred embed --text ... -o -`, with packed weights there as after any run before,
and that of `kindred --version`. Least, median and greatest. Nothing else should run meanwhile.
"""
import argparse
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def measure(command, rounds):
    """Milliseconds until something is printed; the first two, which read in and pack, don't count."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            times.append(1e3 * (time.perf_counter() - start))
            process.stdout.read()
        if process.returncode:
            raise SystemExit(f"{command} failed")
    times = sorted(times[2:])
    return f"{times[0]:8.1f}{statistics.median(times):8.1f}{times[-1]:8.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--command", default=ROOT / "build" / "kindred")
    options = parser.parse_args()
    print(f"{'ms':40}{'least':>8}{'median':>8}{'most':>8}")
    print(f"{'--version':40}{measure([options.command, '--version'], options.rounds)}")
    for model in options.models:
        for precision in options.precisions:
            command = [options.command, "embed", "-q", "-m", model, "--precision", precision, "-t", "a snowy road", "-o",
                       "-"]
            print(f"{model.name + ', ' + precision:40}{measure(command, options.rounds)}", flush=True)


if __name__ == "__main__":
    main()
