#!/usr/bin/env python3
"""Leave-one-out 5-nearest-neighbours accuracy of labelled vectors: how often a photo's neighbours show its class.

    kindred embed -o vectors.npy PHOTO... && tools/knn_accuracy.py vectors.npy PHOTO...

A photo's class is the name of its folder. The mean of all vectors is subtracted, likeness is the cosine, the class that
most of the 5 nearest others have wins, and among equals the first by name. Python's standard library only.
"""
import array
import ast
import math
import operator
import os
import struct
import sys

NEIGHBOURS = 5


def read_npy(path):
    """The rows of a two-dimensional float32 .npy file."""
    with open(path, "rb") as file:
        magic, major = file.read(6), file.read(2)[:1]
        if magic != b"\x93NUMPY":
            raise ValueError(f"{path}: not a .npy file")
        size = struct.unpack("<H", file.read(2))[0] if major == b"\x01" else struct.unpack("<I", file.read(4))[0]
        header = ast.literal_eval(file.read(size).decode())
        if header["descr"] != "<f4" or header["fortran_order"] or len(header["shape"]) != 2:
            raise ValueError(f"{path}: not rows of float32")
        values = array.array("f")
        values.frombytes(file.read())
    if sys.byteorder == "big":
        values.byteswap()
    rows, dim = header["shape"]
    if len(values) != rows * dim:
        raise ValueError(f"{path}: cut short")
    return [values[row * dim:(row + 1) * dim].tolist() for row in range(rows)]


def dot(a, b):
    return sum(map(operator.mul, a, b))


def centred(rows):
    """Unit vectors, with the mean of all rows subtracted."""
    mean = [sum(column) / len(rows) for column in zip(*rows)]
    rows = [list(map(operator.sub, row, mean)) for row in rows]
    return [[value / (math.sqrt(dot(row, row)) or 1) for value in row] for row in rows]


def accuracy(rows, labels):
    """(right answers, photos)"""
    units, right = centred(rows), 0
    for index, unit in enumerate(units):
        others = sorted((-dot(unit, other), at) for at, other in enumerate(units) if at != index)
        nearest = [labels[at] for _, at in others[:NEIGHBOURS]]
        right += min(set(nearest), key=lambda label: (-nearest.count(label), label)) == labels[index]
    return right, len(rows)


def main():
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        rows = read_npy(sys.argv[1])
    except (OSError, ValueError) as error:
        print(f"knn_accuracy.py: {error}", file=sys.stderr)
        return 1
    labels = [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in sys.argv[2:]]
    if len(rows) != len(labels):
        print(f"knn_accuracy.py: {len(rows)} vectors, but {len(labels)} photos", file=sys.stderr)
        return 1
    right, count = accuracy(rows, labels)
    print(f"{right / count:.3f} ({right} of {count} photos, {len(set(labels))} classes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
