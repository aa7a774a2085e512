"""gcompris-photos: real photos out of Debian's gcompris-qt-data, in folders by what they show.

labelled/ holds five classes, 169 photos, on which the leave-one-out accuracy is measured; more/ holds the others.
"""
import fnmatch
import pathlib
import re

from . import fetch, rcc

PACKAGE, VERSION = "gcompris-qt-data", "3.1-2"
SHA256 = "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f"

# (container, folder of the activity, our folder, how many photos it must give)
SOURCES = [
    ("explore_farm_animals", "explore_farm_animals/resource/animals", "labelled/animals", 9),
    ("explore_world_animals", "explore_world_animals/resource/animals", "labelled/animals", 15),
    ("categorization", "categorization/resource/images/renewable", "labelled/energy", 29),
    ("categorization", "categorization/resource/images/fishes", "labelled/fish", 28),
    ("explore_monuments", "explore_monuments/resource/*", "labelled/monuments", 49),
    ("categorization", "categorization/resource/images/tools", "labelled/tools", 39),
    ("erase", "erase/resource", "more/animals", 33),
    ("categorization", "categorization/resource/images/monuments", "more/monuments", 27),
    ("categorization", "categorization/resource/images/others", "more/objects", 17),
]
ACTIVITIES = "/gcompris/src/activities/"


def unpack(containers, folder):
    """Write the photos; {path in our folder: path in the source tree, without its ending}."""
    origins = {}
    for container, source, target, count in SOURCES:
        found = 0
        for path, content in rcc.entries((containers / f"{container}.rcc").read_bytes()):
            parent, _, name = path.rpartition("/")
            if not name.endswith(".webp") or not fnmatch.fnmatchcase(parent, ACTIVITIES + source):
                continue
            photo = folder / target / name
            if photo.exists():
                raise fetch.MaterialError(f"two photos for {photo.relative_to(folder)}")
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(content())
            origins[str(photo.relative_to(folder))] = path[len("/gcompris/"):-len(".webp")]
            found += 1
        if found != count:
            raise fetch.MaterialError(f"{container}.rcc gave {found} photos for {target}, expected {count}")
    return origins


def stanzas(text):
    """(patterns without endings, the text from "Copyright:" on) of a Debian copyright file."""
    for block in re.split(r"\n\s*\n", text):
        match = re.match(r"Files:(.*?)\n(?=Copyright:)(.*)", block, re.DOTALL)
        if match:
            yield [re.sub(r"\.\w+$", "", pattern) for pattern in match[1].split()], match[2].strip()


def credits(origins, copyright_text):
    """For each photo its authors, licence and source. The last stanza that matches counts, as Debian's format says."""
    known = [(patterns, text) for patterns, text in stanzas(copyright_text) if patterns != ["*"]]
    lines = [f"Photos out of Debian's {PACKAGE} {VERSION} (GCompris), with the authors and licences that its copyright",
             "file gives; the licences' texts are in that package and in /usr/share/common-licenses.", ""]
    for photo, origin in sorted(origins.items()):
        terms = [text for patterns, text in known if any(fnmatch.fnmatchcase(origin, p) for p in patterns)]
        text = terms[-1] if terms else "Copyright: the GCompris developers\nLicense: GPL-3+"
        lines += [photo, *("  " + line.strip() for line in text.splitlines()), ""]
    return "\n".join(lines)


def build(folder, scratch):
    tree = fetch.debian(PACKAGE, VERSION, SHA256, scratch)
    origins = unpack(tree / "usr/share/gcompris-qt/rcc", folder)
    copyright_file = pathlib.Path(tree) / "usr/share/doc" / PACKAGE / "copyright"
    (folder / "CREDITS").write_text(credits(origins, copyright_file.read_text()))
