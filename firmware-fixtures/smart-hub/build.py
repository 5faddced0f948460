#!/usr/bin/env python3
"""Writes the update bundles of the virtual smart hub and their manifest: `./build.py`. `./build.py --check` compares instead.

The format is described in src/virtual_dut/hub/bundle.rs. Everything follows from this file and the TEST KEYS of the smart lock, whose secrets are
public. A payload is no program: the hub reads its first line and otherwise only checks it.
"""

import hashlib
import pathlib
import struct
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
LOCK = HERE.parent / "smart-lock"
sys.path.insert(0, str(LOCK))
import ed25519  # noqa: E402

PRODUCT = 0x48420001
PAYLOAD = 3000
# name, product, version, counter, key, first line of the payload
BUNDLES = [
    ("hub-v1", PRODUCT, (1, 0, 0), 1, "vendor", "run"),
    ("hub-v2", PRODUCT, (2, 0, 0), 2, "vendor", "run"),
    ("hub-v3", PRODUCT, (3, 0, 0), 3, "vendor", "run"),
    ("hub-v2-wrong-key", PRODUCT, (2, 0, 0), 2, "unknown", "run"),
    ("hub-v2-wrong-product", PRODUCT + 1, (2, 0, 0), 2, "vendor", "run"),
    ("hub-v2-hang", PRODUCT, (2, 0, 0), 2, "vendor", "hang"),
    ("hub-v2-oversize", PRODUCT, (2, 0, 0), 2, "vendor", "run"),
]
# Bytes behind a bundle, more than a slot has room for.
BEHIND = {"hub-v2-oversize": 6200}
NOTES = {
    "hub-v2-wrong-key": "signed by a key that no hub trusts",
    "hub-v2-wrong-product": "genuine, for another product",
    "hub-v2-hang": "genuine, stops before it is up",
    "hub-v2-oversize": "genuine, with more behind it than a slot has room for",
}


def seed(key):
    return bytes.fromhex(tomllib.loads((LOCK / "keys" / f"{key}.TEST-KEY-NOT-FOR-PRODUCTION.toml").read_text())["seed"])


def bundle(name, product, version, counter, key, line):
    data = f"{line}\n{name}\n".encode()
    behind = BEHIND.get(name, 0)
    while len(data) < PAYLOAD + behind:
        data += hashlib.sha256(name.encode() + struct.pack("<I", len(data))).digest()
    payload = data[:PAYLOAD]
    header = b"HUBu" + struct.pack("<IBBBBII12x", product, *version, 0, counter, len(payload)) + hashlib.sha256(payload).digest()
    return header + ed25519.sign(seed(key), header) + data[: PAYLOAD + behind]


def main():
    files = {}
    manifest = ["# Written by build.py; do not edit. Paths are relative to this file.", 'schema = "firmware/1"']
    for key in ("vendor", "unknown"):
        public = ed25519.public_key(seed(key)).hex()
        manifest += ["", "[[key]]", f'id = "{key}-test"', f'public = "{public}"', 'note = "TEST KEY - NOT FOR PRODUCTION; its secret is public"']
    for name, product, version, counter, key, line in BUNDLES:
        data = bundle(name, product, version, counter, key, line)
        files[f"images/{name}.bundle"] = data
        manifest += ["", "[[image]]", f'id = "{name}"', f'file = "images/{name}.bundle"', f'sha256 = "{hashlib.sha256(data).hexdigest()}"',
                     f"size = {len(data)}", f"product = 0x{product:08X}", f'version = "{".".join(map(str, version))}"', f"counter = {counter}",
                     f'key = "{key}-test"', f'note = "{NOTES.get(name, "genuine")}"']
    files["manifest.toml"] = ("\n".join(manifest) + "\n").encode()
    different = [name for name, data in files.items() if not (HERE / name).is_file() or (HERE / name).read_bytes() != data]
    if "--check" in sys.argv[1:]:
        sys.exit(f"not what build.py writes: {', '.join(different)}" if different else 0)
    (HERE / "images").mkdir(exist_ok=True)
    for name, data in files.items():
        (HERE / name).write_bytes(data)


main()
