#!/usr/bin/env python3
"""Write src/text/unicode_overrides.inc: where utf8proc's Unicode tables and those of the reference tokenizer's
libraries disagree (each of those is of another Unicode version).

    tools/reference/make_unicode_overrides.py > src/text/unicode_overrides.inc

Needs the packages tokenizers and libutf8proc2; run by hand when either is replaced by a newer one.
"""
import ctypes
import struct
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

utf8proc = ctypes.CDLL("libutf8proc.so.2")
utf8proc.utf8proc_category_string.restype = ctypes.c_char_p
utf8proc.utf8proc_version.restype = ctypes.c_char_p
utf8proc.utf8proc_unicode_version.restype = ctypes.c_char_p
utf8proc.utf8proc_decompose_char.argtypes = [ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_ssize_t,
                                             ctypes.c_int, ctypes.c_void_p]
utf8proc.utf8proc_decompose_char.restype = ctypes.c_ssize_t
utf8proc.utf8proc_grapheme_break_stateful.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32)]
utf8proc.utf8proc_grapheme_break_stateful.restype = ctypes.c_bool
STABLE, COMPAT, COMPOSE, DECOMPOSE = 2, 4, 8, 16

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORY = {c: utf8proc.utf8proc_category_string(c).decode() for c in POINTS}


def decompose(c, options):
    out = (ctypes.c_int32 * 64)()
    n = utf8proc.utf8proc_decompose_char(c, out, 64, options, None)
    return [out[i] for i in range(n)]


def combining_class(c):
    # The third 16-bit field of utf8proc_property_t (category, combining class, ...).
    utf8proc.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_int16)
    return utf8proc.utf8proc_get_property(ctypes.c_int32(c))[1]


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, points, comment):
    rows = [f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(points)]
    print(f"\n/* {comment} */\nstatic const kin_range {name}[] = {{")
    for i in range(0, len(rows), 5):
        print("    " + ", ".join(rows[i:i + 5]) + ",")
    print("};")


def both(name, reference, ours, comment):
    """Two tables, one for each direction; the reader looks only at those that exist."""
    if reference - ours:
        table(f"{name}_also", reference - ours, f"{comment} for the reference only")
    if ours - reference:
        table(f"{name}_not", ours - reference, f"{comment} for utf8proc only")


def matched(pattern):
    text = "".join(map(chr, POINTS))
    return set(POINTS) - set(map(ord, normalizers.Replace(Regex(pattern), "").normalize_str(text)))


def bert(**options):
    base = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**base, **options})


def lower_rows():
    rows = []
    for c in POINTS:
        out = list(map(ord, normalizers.Lowercase().normalize_str(chr(c))))
        if out == [utf8proc.utf8proc_tolower(c)] or c == 0x130:
            continue
        assert len(out) == 1
        delta = out[0] - c
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == delta:
            rows[-1][1] = c
        else:
            rows.append([c, c, delta])
    return rows


def foreign_to_normalizer():
    """Code points that the reference's normaliser treats as unassigned: no decomposition, no combining class."""
    forms = ((normalizers.NFD(), STABLE | DECOMPOSE), (normalizers.NFKD(), STABLE | DECOMPOSE | COMPAT))
    found = set()
    for c in POINTS:
        for form, options in forms:
            if list(map(ord, form.normalize_str(chr(c)))) != decompose(c, options):
                assert form.normalize_str(chr(c)) == chr(c)
                found.add(c)
    nfd, nfc = normalizers.NFD(), normalizers.NFC()
    # One mark of each class, old enough (Unicode 3.2) that both sides know it.
    marks = {combining_class(c): chr(c) for c in reversed(POINTS)
             if combining_class(c) and unicodedata.ucd_3_2_0.category(chr(c)) != "Cn"}
    for c in POINTS:
        own = combining_class(c)
        if not own or c in found or nfd.normalize_str(chr(c)) != chr(c):
            continue
        seen = []
        for k, mark in marks.items():
            if k == own or ord(mark) == c:
                continue
            first = nfd.normalize_str("a" + mark + chr(c)) == "a" + chr(c) + mark
            if first != (own < k):
                seen.append(k)
        if seen:
            assert nfd.normalize_str("a" + marks[max(marks)] + chr(c)) == "a" + marks[max(marks)] + chr(c), hex(c)
            found.add(c)
    for c in POINTS:
        parts = decompose(c, STABLE | DECOMPOSE)
        if len(parts) == 2 and not 0xAC00 <= c < 0xD7A4 and c in found:
            assert nfc.normalize_str("".join(map(chr, parts))) != chr(c)
            found.update(p for p in parts if CATEGORY[p] in ("Mc", "Mn", "Lo"))
    return found


def one_entry_charsmap(key, value):
    """A Precompiled charsmap with one rule, as a Darts double array of which each node lies in a block of its own."""
    units = [0] * 256 * (len(key) + 2)

    def unit(label, offset, leaf):
        assert offset % 256 == 0
        return label | (1 << 8 if leaf else 0) | (1 << 9) | (offset >> 8 << 10)

    units[0] = unit(0, 256, False)
    base = 256
    for i, byte in enumerate(key):
        position = base ^ byte
        offset = (position & ~255) ^ (256 * (i + 2))
        units[position] = unit(byte, offset, i == len(key) - 1)
        base = position ^ offset
    units[base] = 1 << 31
    blob = struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + value + b"\0"
    return normalizers.Precompiled(blob)


def joined_by_reference():
    """Extend-like: joined to what stands before. Prepend-like: joined to what stands behind."""
    after = one_entry_charsmap(b"a", b"Z")
    before = one_entry_charsmap("e\u0301".encode(), b"Z")
    extends, prepends = set(), set()
    for c in POINTS:
        if after.normalize_str("a" + chr(c)) == "Z":
            extends.add(c)
        if before.normalize_str(chr(c) + "e\u0301") == chr(c) + "e\u0301" and chr(c) != "e":
            prepends.add(c)
    return extends, prepends


def conjuncts(extends):
    """Consonants and linkers of Indic conjuncts (rule GB9c, which utf8proc lacks), among characters of 3 bytes: a
    cluster matters only below 6 bytes, and of a broken conjunct only a last consonant with a mark of 2 bytes is."""
    ka, acute = "\u0915", "\u0301"
    rule = one_entry_charsmap((ka + acute).encode(), b"Z")
    linkers = {c for c in POINTS[:0x10000 - 0x800]
               if c > 0x7FF and "Z" not in rule.normalize_str(ka + chr(c) + ka + acute)}
    linkers -= {c for c in linkers if "Z" not in rule.normalize_str("a" + chr(c) + ka + acute)}
    consonants = set()
    for c in POINTS[0x800:0x10000 - 0x800]:
        if CATEGORY[c] == "Lo" and c not in extends and not 0x3000 <= c < 0xA000 and not 0xAC00 <= c < 0xD7A4:
            own = one_entry_charsmap((chr(c) + acute).encode(), b"Z")
            if "Z" not in own.normalize_str(ka + "\u094D" + chr(c) + acute):
                consonants.add(c)
    return consonants, linkers


def joined_by_utf8proc():
    def joins(a, b):
        return not utf8proc.utf8proc_grapheme_break_stateful(a, b, ctypes.byref(ctypes.c_int32(0)))
    return {c for c in POINTS if joins(ord("a"), c)}, {c for c in POINTS if joins(c, ord("e"))}


def main():
    print("/* Generated by tools/reference/make_unicode_overrides.py: tokenizers "
          f"{tokenizers.__version__} against utf8proc {utf8proc.utf8proc_version().decode()} "
          f"(Unicode {utf8proc.utf8proc_unicode_version().decode()}). */")
    both("letter", matched(r"\p{L}"), {c for c in POINTS if CATEGORY[c][0] == "L"}, "letters")
    both("number", matched(r"\p{N}"), {c for c in POINTS if CATEGORY[c][0] == "N"}, "numbers")
    spaces = matched(r"\s")
    split = pre_tokenizers.WhitespaceSplit()
    assert spaces == {c for c in POINTS if len(split.pre_tokenize_str(f"a{chr(c)}b")) == 2}
    punctuation = pre_tokenizers.Punctuation()
    ascii_symbols = {ord(c) for c in "$+<=>^`|~"}
    both("punctuation", {c for c in POINTS if len(punctuation.pre_tokenize_str(f"a{chr(c)}b")) == 3},
         {c for c in POINTS if CATEGORY[c][0] == "P"} | ascii_symbols, "punctuation")
    clean = bert(clean_text=True)
    both("other", {c for c in POINTS if clean.normalize_str(chr(c)) == ""} - {0, 0xFFFD},
         {c for c in POINTS if CATEGORY[c] in ("Cc", "Cf", "Co")} - {0, 9, 10, 13}, "control, format and private use")
    strip = bert(strip_accents=True)
    both("nonspacing", {c for c in POINTS if strip.normalize_str(chr(c)) == ""},
         {c for c in POINTS if CATEGORY[c] == "Mn"}, "non-spacing marks")
    print("\n/* lower case that utf8proc doesn't know */\nstatic const kin_lower_range lower_also[] = {")
    for a, b, delta in lower_rows():
        print(f"    {{0x{a:X}, 0x{b:X}, {delta}}},")
    print("};")
    table("normal_form_foreign", foreign_to_normalizer(),
          "characters that the reference's normal forms leave as they are, and that order nothing")
    (extends, prepends), (our_extends, our_prepends) = joined_by_reference(), joined_by_utf8proc()
    both("extend", extends, our_extends, "joined to the grapheme before it")
    both("prepend", prepends, our_prepends, "joined to the grapheme after it")
    consonants, linkers = conjuncts(extends)
    table("conjunct_consonant", consonants, "consonants of Indic conjuncts, of 3 bytes in UTF-8")
    table("conjunct_linker", linkers, "what joins them")


if __name__ == "__main__":
    sys.exit(main())
