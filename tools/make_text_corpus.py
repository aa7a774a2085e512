#!/usr/bin/env python3
"""Write the text corpus of the tokenizer tests to standard output: a 32-bit little-endian length and UTF-8 bytes for each
line (lines may hold any character, line feeds too). The same bytes on every machine: only the standard library, own
random numbers, and Unicode normalisation of old characters alone.

    tools/make_text_corpus.py [--show FIRST LAST] [SEEDS]
"""
import argparse
import pathlib
import struct
import sys
import unicodedata

SEEDS = pathlib.Path(__file__).resolve().parent.parent / "tests/parity/text/seeds.txt"
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\x0b", "\x0c", "\u0085", "\u00a0", "\u1680", "\u2000", "\u2003",
          "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", " \t ", "\n\n", "\u200b", "\ufeff", "\u180e"]
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<|endoftext", "endoftext|>", "<|", "|>",
            "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[cls]", "[ MASK ]", "<s>", "</s>", "<pad>", "<unk>", "<mask>",
            "<S>", "< s >", "<mask", "##ing", "##", "#", "\u2581", "\u2581\u2581the", "\u0120the", "</w>", "a</w>", "<0x41>",
            "<0x", "[unused1]", "\ufffd", "\ufffe"]
JOINED = ["\u200d", "\ufe0f", "\ufe0e", "\u20e3", "\U0001f3fb", "\U0001f3ff", "\U000e0067", "\U000e007f", "\u200c"]
PICTURES = [0x1F600, 0x1F468, 0x1F469, 0x1F467, 0x2764, 0x1F3F3, 0x1F308, 0x1F1F0, 0x1F1F7, 0x1FAE0, 0x2603, 0xA9, 0xAE]
MARKS = [*range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5BE), *range(0x610, 0x61B), *range(0x64B, 0x660),
         0x93C, 0x94D, 0x9CD, 0x1039, 0x17D2, 0xE38, 0xE48, 0x1AB0, 0x1ABF, 0x1DC0, 0x1DF6, *range(0x20D0, 0x20F1), 0x302A,
         0x3099, 0x309A, 0xFE20, 0x1D165, 0x1E130, 0x1E944, 0x10A0F, 0x8D3, 0x7FD, 0x345]
BASES = "aeiouAEIOUnNcCsSdDkKrRyYøÅäüéกขकखगড়아가각かきハΑαωЯиאבش한漢e\u0915\u0958\uff21\u00a8\u1100\u1161\u11a8\u115f"
# What grapheme rules tell apart: conjuncts, prepended signs, syllables, flags, joiners.
CLUSTERED = [0x915, 0x958, 0x9DC, 0x94D, 0x9CD, 0x200D, 0x200C, 0x300, 0x301, 0x345, 0x5B7, 0x654, 0x600, 0x110BD, 0x111C2,
             0x11A3A, 0x113D1, 0x65, 0x41, 0xA8, 0xFF21, 0xFF76, 0xFF9E, 0x93C, 0x903, 0x1100, 0x1161, 0x11A8, 0x1F1E6, 0x1F468,
             0xA9, 0x20E3, 0xFE0F, 0x897, 0x1ACE, 0xE33, 0x2126, 0xD, 0xA, 0x1039, 0x1000, 0x17D2, 0x1780, 0x1FBF, 0x9BC, 0xE0100]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Random:
    """splitmix64: Python's own generators may choose differently from version to version."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return z ^ z >> 31

    def below(self, n):
        return self.next() % n

    def pick(self, items):
        return items[self.next() % len(items)]


def scalar(c):
    """A code point that UTF-8 can hold."""
    return chr(c) if c < 0xD800 or c > 0xDFFF else chr(c - 0x800)


def sentence(r, seeds):
    return r.pick(seeds)


def shuffled(r, seeds):
    words = []
    for _ in range(1 + r.below(14)):
        words.append(r.pick(r.pick(seeds).split(" ")))
        words.append(r.pick(SPACES) if r.below(4) == 0 else " ")
    return "".join(words if r.below(5) == 0 else words[:-1])


def cut(r, seeds):
    """Parts of sentences, cut anywhere, put together without regard."""
    out = []
    for _ in range(1 + r.below(6)):
        s = r.pick(seeds)
        a = r.below(len(s))
        out.append(s[a:a + 1 + r.below(24)])
    return "".join(out)


def recased(r, seeds):
    s = shuffled(r, seeds)
    return r.pick([str.upper, str.lower, str.title, str.swapcase])(s) if s.isascii() else \
        "".join(c.upper() if c < "\u0250" and r.below(2) else c for c in s)


def renormalized(r, seeds):
    return unicodedata.normalize(r.pick(["NFC", "NFD", "NFKC", "NFKD"]), shuffled(r, seeds))


def marked(r, seeds):
    """Bases with marks in any order and number."""
    out = []
    for _ in range(1 + r.below(12)):
        out.append(r.pick(BASES))
        out.extend(chr(r.pick(MARKS)) for _ in range(r.below(4) if r.below(20) else 40))
        if r.below(5) == 0:
            out.append(" ")
    return "".join(out)


def clustered(r, seeds):
    return "".join(chr(r.pick(CLUSTERED)) for _ in range(2 + r.below(8)))


def pictured(r, seeds):
    out = []
    for _ in range(1 + r.below(10)):
        out.append(chr(r.pick(PICTURES) + r.below(3)))
        out.extend(r.pick(JOINED) for _ in range(r.below(3)))
        if r.below(4) == 0:
            out.append(r.pick(r.pick(seeds).split(" ")))
    return "".join(out)


def controlled(r, seeds):
    """Control, format and private characters strewn over a sentence."""
    out = []
    for c in cut(r, seeds):
        out.append(c)
        if r.below(6) == 0:
            out.append(chr(r.pick([r.below(32), 0x7F + r.below(34), 0x200B + r.below(5), 0x2060 + r.below(16), 0xAD, 0x61C,
                                   0xFEFF, 0xFFF9, 0xE000 + r.below(6400), 0xE0001, 0xF0000 + r.below(60000), 0x600, 0x890])))
    return "".join(out)


def special(r, seeds):
    out = []
    for _ in range(1 + r.below(8)):
        out.append(r.pick(SPECIALS))
        out.append(r.pick(["", "", " ", r.pick(SPACES), r.pick(r.pick(seeds).split(" "))]))
    return "".join(out)


def spaced(r, seeds):
    out = [r.pick(SPACES) for _ in range(r.below(5))]
    for _ in range(r.below(8)):
        out.append(r.pick(r.pick(seeds).split(" "))[:6])
        out.extend(r.pick(SPACES) for _ in range(1 + r.below(4)))
    return "".join(out)


def numeric(r, seeds):
    zeros = [0x30, 0x30, 0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10, 0x1D7CE, 0x104A0, 0x116D0, 0x2160, 0x2460, 0x3220]
    out = []
    for _ in range(1 + r.below(10)):
        zero = r.pick(zeros)
        out.extend(chr(zero + r.below(10)) for _ in range(1 + r.below(9)))
        out.append(r.pick([" ", ",", ".", "-", "/", ":", "%", "kg", "'s", "원", "", "年", "e", "x"]))
    return "".join(out)


def quoted(r, seeds):
    """Contractions and what looks like them."""
    tails = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'x", "'", "''", "\u2019s", "\u02bcs", "'r", "'l", "'v"]
    out = []
    for _ in range(1 + r.below(10)):
        out.append(r.pick(r.pick(seeds).split(" ")) if r.below(2) else r.pick(LETTERS))
        out.append(r.pick(tails))
        out.append(r.pick(["", " ", "  ", "!", "s"]))
    return "".join(out)


def random_blocks(r, seeds):
    """Code points of a few blocks, assigned or not, of the first planes above all."""
    out = []
    for _ in range(1 + r.below(4)):
        plane = r.pick([0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16, 4 + r.below(10)])
        block = (plane << 16) + (r.below(512) << 7)
        out.extend(scalar(block + r.below(128)) for _ in range(1 + r.below(10)))
        if r.below(3) == 0:
            out.append(" ")
    return "".join(out)


def rules(r, seeds):
    """Short runs that ask for ties between equal cuts: repeated characters and syllables."""
    unit = r.pick(["a", "aa", "ab", "!", "?!", "-", "=", "_", ".", "ㅋ", "ㅠ", "하", "ha", "la", "の", "。", "ı", "0", "1", "\u2581",
                   "#", "~", "の", "क", "ا", "é", "e\u0301", "\u3000", "ｱ", "가", "@", "\u00b7", "*"])
    return unit * (1 + r.below(40)) + r.pick(["", " ", r.pick(seeds)[:5]]) + unit * r.below(9)


def long_word(r, seeds):
    n = r.pick([98, 99, 100, 101, 102, 200, 256, 500, 1500])
    kind = r.below(5)
    if kind == 0:
        return "".join(r.pick(LETTERS) for _ in range(n))
    if kind == 1:
        return r.pick(["a", "가", "漢", "é", "z", "\U0001f600", "ก"]) * n
    if kind == 2:
        return "".join(r.pick(seeds).replace(" ", "") for _ in range(1 + n // 60))[:n]
    if kind == 3:
        return "".join(chr(0xAC00 + r.below(11172)) for _ in range(n))
    return "".join(chr(0x21 + r.below(94)) for _ in range(n))


KINDS = [(sentence, 1), (shuffled, 5), (cut, 3), (recased, 2), (renormalized, 3), (marked, 3), (clustered, 2), (pictured, 2),
         (controlled, 2), (special, 3), (spaced, 2), (numeric, 2), (quoted, 2), (random_blocks, 5), (rules, 2)]
COUNT = 20000
LONG = 250
SWEEP = 24  # code points a line
SWEPT = [(0, 0x20000), (0x2A6C0, 0x2A700), (0x2B730, 0x2B760), (0x2B810, 0x2B930), (0x2CEA0, 0x2CED0), (0x2EBE0, 0x2EE70),
         (0x2F7F0, 0x2FA30), (0x30000, 0x30020), (0x323A0, 0x323C0), (0xDFFF0, 0xE0200), (0xFFFF0, 0x100010),
         (0x10FFF0, 0x110000)]


def corpus(seeds):
    r = Random(20240229)
    wheel = [make for make, weight in KINDS for _ in range(weight)]
    yield ""
    yield from seeds
    for _ in range(COUNT):
        yield r.pick(wheel)(r, seeds)
    for _ in range(LONG):
        yield long_word(r, seeds)
    # Every character of the two first planes and the edges of others, with a neighbour on either side.
    for first, last in SWEPT:
        for start in range(first, last, SWEEP):
            glue = r.pick(["", " ", "a", "a ", "\u0301"])
            yield "".join(scalar(c) + glue for c in range(start, min(start + SWEEP, last)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", nargs=2, type=int, metavar=("FIRST", "LAST"), help="print these lines, escaped, instead")
    parser.add_argument("seeds", nargs="?", type=pathlib.Path, default=SEEDS)
    options = parser.parse_args()
    lines = corpus(options.seeds.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    if options.show:
        for i, line in enumerate(lines):
            if options.show[0] <= i <= options.show[1]:
                print(i, ascii(line))
        return
    out = sys.stdout.buffer
    for line in lines:
        data = line.encode()
        out.write(struct.pack("<I", len(data)) + data)


if __name__ == "__main__":
    main()
