"""Just enough of ONNX's protocol buffers to read the weights and the nodes' names."""
import array
import sys

FLOAT = 1


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def fields(data):
    """(number, value) of a message: an int for a varint, a memoryview for anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            if kind == 2:
                size, at = _varint(data, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"wire type {kind}")
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def _dims(value):
    if isinstance(value, int):
        return [value]
    dims, at = [], 0
    while at < len(value):
        dim, at = _varint(value, at)
        dims.append(dim)
    return dims


def _tensor(message):
    """(name, shape, floats) of a TensorProto, None for the floats of another type."""
    name, shape, kind, raw = "", [], 0, b""
    for number, value in fields(message):
        if number == 1:
            shape += _dims(value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = value
    if kind != FLOAT:
        return name, shape, None
    floats = array.array("f")
    floats.frombytes(raw)
    if sys.byteorder == "big":
        floats.byteswap()
    return name, shape, floats


def read(data):
    """({initializer: (shape, floats)}, {node: [inputs]}) of a model's graph."""
    graph = next(value for number, value in fields(memoryview(data)) if number == 7)
    tensors, nodes = {}, {}
    for number, value in fields(graph):
        if number == 5:
            name, shape, floats = _tensor(value)
            tensors[name] = (shape, floats)
        elif number == 1:
            parts = list(fields(value))
            name = next((bytes(v).decode() for n, v in parts if n == 3), "")
            nodes[name] = [bytes(v).decode() for n, v in parts if n == 1]
    return tensors, nodes


def transposed(matrix):
    """[rows, columns] -> [columns, rows]."""
    (rows, columns), floats = matrix
    turned = array.array("f")
    for column in range(columns):
        turned.extend(floats[column::columns])
    return [columns, rows], turned
