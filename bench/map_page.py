#!/usr/bin/env python3
"""How smoothly the page of kindred map moves: times of frames in headless Chromium, without a GPU, while the mouse
drags and the wheel zooms.

  bench/map_page.py [--build build] [--items 50000] [--seconds 5] [--width 1280] [--height 900]

Needs numpy and Chromium. For each movement it prints the frames a second, the median, 95th percentile and longest time
from frame to frame, and the main thread's work in a frame, on average."""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cli"))
from browser import Browser  # noqa: E402

RECORD = """{ const frames = window.frames = []; requestAnimationFrame(function record(now) {
    frames.push(now); if (window.frames === frames) requestAnimationFrame(record); }); }"""
STOP = "{ const frames = window.frames; window.frames = null; frames }"


def write_page(options, folder):
    """Groups with overlapping edges, in 40 labels."""
    random = np.random.default_rng(1)
    group = random.integers(0, 200, options.items)
    centres = random.standard_normal((200, 32), np.float32)
    np.save(folder / "x.npy", centres[group] + 0.8 * random.standard_normal((options.items, 32), np.float32))
    (folder / "labels.txt").write_text("".join(f"label {g % 40}\n" for g in group))
    subprocess.run([pathlib.Path(options.build) / "kindred", "map", folder / "x.npy", "--labels-from",
                    folder / "labels.txt", "--html", folder / "map.html", "-q"], check=True)
    return folder / "map.html"


def busy(page):
    metrics = {m["name"]: m["value"] for m in page.call("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def measure(page, name, seconds, move):
    """`move(i)` sends the i-th input, about one a frame."""
    page.value(RECORD)
    start, before, i = time.perf_counter(), busy(page), 0
    while time.perf_counter() - start < seconds:
        move(i)
        i += 1
        time.sleep(max(0, start + i / 60 - time.perf_counter()))
    took = time.perf_counter() - start
    worked = busy(page) - before
    frames = page.value(STOP)
    steps = sorted(b - a for a, b in zip(frames, frames[1:]))
    print(f"{name:28}{len(steps) / took:7.1f} frames/s{statistics.median(steps):8.1f}"
          f"{steps[int(0.95 * len(steps))]:8.1f}{steps[-1]:8.1f} ms{1000 * worked / len(steps):8.1f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--items", type=int, default=50000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        path = write_page(options, pathlib.Path(folder))
        with Browser(path, options.width, options.height) as page:
            page.call("Performance.enable")
            x, y = options.width * 0.4, options.height * 0.5
            print(f"{options.items} items, {options.width} x {options.height}: rate; median, 95%, longest; work")
            measure(page, "nothing", 1, lambda i: None)
            measure(page, "hovering", options.seconds, lambda i: page.mouse("Moved", x - 200 + 3 * i % 400, y))
            page.mouse("Pressed", x, y, button="left", clickCount=1)
            measure(page, "dragging the whole map", options.seconds,
                    lambda i: page.mouse("Moved", x + 150 * np.sin(i / 20), y + 100 * np.cos(i / 20), button="left",
                                         buttons=1))
            page.mouse("Released", x, y, button="left", clickCount=1)
            measure(page, "zooming in and out", options.seconds,
                    lambda i: page.mouse("Wheel", x, y, deltaX=0, deltaY=-15 if i % 120 < 60 else 15))
            if page.errors:
                sys.exit("\n".join(page.errors))


if __name__ == "__main__":
    main()
