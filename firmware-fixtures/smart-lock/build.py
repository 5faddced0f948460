#!/usr/bin/env python3
"""Builds and signs every image of the virtual smart lock, and writes `../manifest.toml`.

    build.py            writes images/ and the manifest
    build.py --check    builds in a temporary directory and compares byte for byte with what is committed

Needs arm-none-eabi-gcc with newlib (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi), cargo, and Python 3.11; no Python package. The result
depends on the sources, the keys and the compiler version only.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import tomllib

import ed25519

HERE = pathlib.Path(__file__).resolve().parent
MANIFEST = HERE.parent / "manifest.toml"
PREFIX = "arm-none-eabi-"

FLAGS = """-mcpu=cortex-m0 -mthumb -masm-syntax-unified -std=c11 -Os -ffunction-sections -fdata-sections -ffreestanding -fno-common -fno-ident -g0
    -fno-tree-loop-distribute-patterns --specs=nano.specs""".split()
WARNINGS = "-Wall -Wextra -Wconversion -Wno-sign-conversion -Werror".split()
LINK = "-nostartfiles -Wl,--gc-sections -Wl,--build-id=none -Wl,--fatal-warnings -Wl,--no-warn-rwx-segments".split()

COMMON = ["common/nvm.c", "common/bootlog.c", "common/uart.c", "common/text.c", "common/update.c"]
BOOT = ["boot/start.c", "boot/main.c", "boot/image.c", "boot/swap.c", "boot/recovery.c", *COMMON]
APP = ["app/start.c", "app/main.c", "app/console.c", "app/users.c", "app/bonds.c", "app/store.c", "app/ring.c", "app/events.c", "app/dump.c", "app/lock.c",
       "app/button.c", "app/crc32.c", "app/sha256.c", *COMMON]
MONOCYPHER = ["monocypher.c", "optional/monocypher-ed25519.c"]

PRODUCT = 0x10C70001
OTHER_PRODUCT = 0x10C70002
LOAD = 0x6040

BOOTLOADERS = [
    # id, extra defines, fault, what it is
    ("bootloader", None, None, "as designed"),
    ("bootloader-no-signature-check", "FAULT_NO_SIGNATURE_CHECK", "no-signature-check", "the result of the signature check is ignored"),
    ("bootloader-no-version-check", "FAULT_NO_VERSION_CHECK", "no-version-check", "the security counter is not compared"),
    ("bootloader-swap-status-not-persisted", "FAULT_SWAP_STATUS_NOT_PERSISTED", "swap-status-not-persisted",
     "the progress of a swap is not written to flash"),
    ("bootloader-head-only-hashed", "FAULT_HEAD_ONLY_HASHED", "head-only-hashed", "the signature covers the first 4 KiB only"),
    ("bootloader-last-block-not-hashed", "FAULT_LAST_BLOCK_NOT_HASHED", "last-block-not-hashed", "the signature covers whole blocks of 128 bytes only"),
    ("bootloader-signature-optional", "FAULT_SIGNATURE_OPTIONAL", "signature-optional", "an erased signature counts as none, and none is needed"),
    ("bootloader-sample-key", "FAULT_SAMPLE_KEY", "sample-key", "a key whose secret is public is trusted too"),
    ("bootloader-no-product-check", "FAULT_NO_PRODUCT_CHECK", "no-product-check", "the product id is not compared"),
    ("bootloader-counter-early", "FAULT_COUNTER_EARLY", "counter-early", "the security counter is raised before the confirmation"),
    ("bootloader-counter-never", "FAULT_COUNTER_NEVER", "counter-never", "the security counter is never raised"),
    ("bootloader-revert-forgotten", "FAULT_REVERT_FORGOTTEN", "revert-forgotten", "a revert that was cut goes on as an update"),
    ("bootloader-cut-erases-settings", "FAULT_CUT_ERASES_SETTINGS", "cut-erases-settings", "an update that was cut costs the settings"),
    ("bootloader-resumed-counter-early", "FAULT_RESUMED_COUNTER_EARLY", "resumed-counter-early",
     "the security counter is raised before the confirmation if the update was cut"),
    ("bootloader-single-copy", "FAULT_BOOTLOG_SINGLE_COPY", "single-copy", "the boot state has one copy, which is erased and then written"),
    ("bootloader-no-revert", "FAULT_NO_REVERT", "no-revert", "a new image is permanent without confirmation"),
    ("bootloader-no-watchdog", "FAULT_NO_WATCHDOG", "no-watchdog", "the watchdog is not started"),
    ("bootloader-no-lock", "FAULT_NO_LOCK", "no-lock", "the debug port is never closed"),
    ("bootloader-recovery-any-counter", "FAULT_NO_LOCK FAULT_RECOVERY_ANY_COUNTER", "recovery-any-counter",
     "recovery does not compare the security counter; for a unit with an open debug port"),
    ("bootloader-verify-once", "FAULT_NO_LOCK FAULT_VERIFY_ONCE", "verify-once",
     "an image is verified when it is taken over and not at each start; for a unit with an open debug port"),
    ("bootloader-slow-verify", "TWIN_SLOW_VERIFY", None, "harmless twin: checks each signature twice"),
    ("bootloader-verbose", "TWIN_VERBOSE", None, "harmless twin: names every page of a swap on the console"),
]
BOOT_SYMBOLS = ["crypto_ed25519_check", "boot", "image_refusal", "swap_finish", "nvm_copy_page", "bootlog_append", "recovery"]

APPLICATIONS = [
    # id, major version, counter, product, key, extra define, what it is
    ("lock-v1", 1, 1, PRODUCT, "vendor", None, "the release a device is made with; the older image for a device at 2.0.0"),
    ("lock-v2", 2, 2, PRODUCT, "vendor", None, "genuine update"),
    ("lock-v3", 3, 3, PRODUCT, "vendor", None, "genuine update after that"),
    ("lock-v2-wrong-key", 2, 2, PRODUCT, "unknown", None, "lock-v2 signed by a key that no bootloader trusts"),
    ("lock-v2-wrong-product", 2, 2, OTHER_PRODUCT, "vendor", None, "genuine image for another product"),
    ("lock-v2-hang", 2, 2, PRODUCT, "vendor", "APP_HANG", "genuine image that stops before it is up and never feeds the watchdog"),
    ("lock-v1-reset-logical", 1, 1, PRODUCT, "vendor", "FAULT_RESET_LOGICAL", "fault: a reset leaves the records of users without default in the log"),
    ("lock-v1-reset-in-two-steps", 1, 1, PRODUCT, "vendor", "FAULT_RESET_IN_TWO_STEPS", "fault: a reset makes the settings permanent before it erases users"),
    ("lock-v1-reset-early-ok", 1, 1, PRODUCT, "vendor", "FAULT_RESET_EARLY_OK", "fault: a reset is confirmed before anything is erased"),
    ("lock-v1-reset-default-pin", 1, 1, PRODUCT, "vendor", "FAULT_RESET_DEFAULT_PIN", "fault: after a reset the PIN is 0000 and not that of the label"),
    ("lock-v1-reset-unauthenticated", 1, 1, PRODUCT, "vendor", "FAULT_RESET_UNAUTHENTICATED", "fault: the command for a reset needs no login"),
    ("lock-v1-reset-unlocks", 1, 1, PRODUCT, "vendor", "FAULT_RESET_UNLOCKS", "fault: a reset erases UICR too, and the lock of the debug port with it"),
    ("lock-v1-reset-keeps-log", 1, 1, PRODUCT, "vendor", "FAULT_RESET_KEEPS_LOG", "fault: a reset leaves the event log and the crash dumps"),
    ("lock-v1-reset-keeps-bonds", 1, 1, PRODUCT, "vendor", "FAULT_RESET_KEEPS_BONDS", "fault: a reset leaves the bonds of phones"),
    ("lock-v1-reset-keeps-page", 1, 1, PRODUCT, "vendor", "FAULT_RESET_KEEPS_PAGE", "fault: what is written anew leaves the former page of the storage"),
    ("lock-v1-dump-secret", 1, 1, PRODUCT, "vendor", "FAULT_DUMP_LINE", "fault: a crash dump holds what was typed, PINs too"),
    ("lock-v1-no-limit", 1, 1, PRODUCT, "vendor", "FAULT_NO_LIMIT", "fault: takes PINs without limit"),
    ("lock-v1-peek", 1, 1, PRODUCT, "vendor", "FAULT_PEEK", "fault: a command that nobody declares reads memory"),
    ("lock-v1-log-secret", 1, 1, PRODUCT, "vendor", "FAULT_LOG_SECRET", "fault: the log at start shows the PIN"),
    ("lock-v1-log", 1, 1, PRODUCT, "vendor", "TWIN_LOG", "harmless twin: the log at start tells more, and no secret"),
    ("lock-v2-migrates", 2, 2, PRODUCT, "vendor", "FAULT_MIGRATES", "fault: writes the settings in a form that lock-v1 cannot read"),
    ("lock-v2-counter-never", 2, 2, PRODUCT, "vendor", "FAULT_COUNTER_NEVER", "fault: the confirmation does not raise the counter; for bootloader-counter-never"),
]

# For the bootloaders whose signature covers a part only, releases that are signed so: image, release, how much of it is signed, what it is.
PARTLY_SIGNED = [
    ("lock-v1-head-signed", "lock-v1", lambda size: min(size, 4096), "for bootloader-head-only-hashed"),
    ("lock-v2-head-signed", "lock-v2", lambda size: min(size, 4096), "for bootloader-head-only-hashed"),
    ("lock-v3-head-signed", "lock-v3", lambda size: min(size, 4096), "for bootloader-head-only-hashed"),
    ("lock-v1-blocks-signed", "lock-v1", lambda size: size - size % 128, "for bootloader-last-block-not-hashed"),
    ("lock-v2-blocks-signed", "lock-v2", lambda size: size - size % 128, "for bootloader-last-block-not-hashed"),
    ("lock-v3-blocks-signed", "lock-v3", lambda size: size - size % 128, "for bootloader-last-block-not-hashed"),
]


def run(*command):
    """Output of a command; its error text goes to the terminal."""
    return subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


def monocypher():
    """Directory of Monocypher's sources, and the lock entry that pins them. Cargo verifies the checksum when it unpacks the crate."""
    manifest = HERE / "monocypher" / "Cargo.toml"
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", "thumbv6m-none-eabi",
                              "--manifest-path", str(manifest)))
    package = next(p for p in metadata["packages"] if p["name"] == "monocypher-sys")
    lock = tomllib.loads((HERE / "monocypher" / "Cargo.lock").read_text())
    entry = next(p for p in lock["package"] if p["name"] == "monocypher-sys")
    return pathlib.Path(package["manifest_path"]).parent / "Monocypher" / "src", entry


def compiler():
    version = run(PREFIX + "gcc", "-dumpfullversion").strip()
    macros = subprocess.run([PREFIX + "gcc", "-E", "-dM", "--specs=nano.specs", "-include", "_newlib_version.h", "-xc", "/dev/null"],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    newlib = next(line.split('"')[1] for line in macros.splitlines() if line.startswith("#define _NEWLIB_VERSION "))
    return version, newlib


def key(name):
    text = (HERE / "keys" / f"{name}.TEST-KEY-NOT-FOR-PRODUCTION.toml").read_text()
    entry = tomllib.loads(text)
    return entry["id"], bytes.fromhex(entry["seed"])


class Builder:
    """Compiles into one directory; objects that several images share are compiled once."""

    def __init__(self, directory, monocypher_sources):
        self.directory = directory
        self.monocypher = monocypher_sources
        self.objects = {}
        def array(name, public):
            rows = ["    " + " ".join(f"0x{byte:02x}," for byte in public[i:i + 16]) for i in (0, 16)]
            return f"static const unsigned char {name}[32] = {{\n" + "\n".join(rows) + "\n};\n"

        sample = "#ifdef FAULT_SAMPLE_KEY\n" + array("sample_key", ed25519.public_key(key("unknown")[1])) + "#endif\n"
        (directory / "signing_key.h").write_text(array("signing_key", ed25519.public_key(key("vendor")[1])) + sample)

    def compile(self, source, flags):
        identity = (str(source), tuple(flags))
        if identity not in self.objects:
            output = self.directory / f"{len(self.objects)}.o"
            run(PREFIX + "gcc", *FLAGS, *flags, f"-ffile-prefix-map={HERE}=.", f"-ffile-prefix-map={self.monocypher}=monocypher", "-c", str(source),
                "-o", str(output))
            self.objects[identity] = output
        return self.objects[identity]

    def link(self, name, script, objects):
        """Links, and returns the flat image and the address of each function."""
        elf, binary = self.directory / f"{name}.elf", self.directory / f"{name}.bin"
        run(PREFIX + "gcc", *FLAGS, *LINK, "-Lcommon", "-T", script, *map(str, objects), "-o", str(elf))
        run(PREFIX + "objcopy", "-O", "binary", str(elf), str(binary))
        symbols = {}
        for line in run(PREFIX + "nm", str(elf)).splitlines():
            address, kind, symbol = line.split()
            if kind in "tT":
                symbols[symbol] = Address(address, 16)
        return binary.read_bytes(), symbols

    def bootloader(self, name, defines):
        flags = [*WARNINGS, "-DBOOTLOADER", "-DNVM_FLOOR=SLOT_A", "-Icommon", "-Iboot", f"-I{self.directory}", f"-I{self.monocypher}",
                 f"-I{self.monocypher / 'optional'}"]
        flags += [f"-D{define}" for define in (defines or "").split()]
        objects = [self.compile(source, flags) for source in BOOT]
        objects += [self.compile(self.monocypher / source, [f"-I{self.monocypher}"]) for source in MONOCYPHER]
        return self.link(name, "boot/boot.ld", objects)

    def application(self, name, major, define):
        flags = [*WARNINGS, "-DNVM_FLOOR=SLOT_B", "-Icommon", "-Iapp"]
        if define is not None:
            flags.append(f"-D{define}")
        objects = [self.compile(source, [*flags, f"-DAPP_MAJOR={major}"] if source.endswith("start.c") else flags) for source in APP]
        payload, symbols = self.link(name, "app/app.ld", objects)
        return payload + b"\xff" * (-len(payload) % 4), symbols


def container(payload, major, counter, product, seed, covered=lambda size: size):
    header = struct.pack("<16I", 0x314C4248, 64, len(payload), LOAD, product, major << 16, counter, *[0] * 9)
    signed = header + payload
    return signed + ed25519.sign(seed, signed[:covered(len(signed))])


class Address(int):
    """An integer that the manifest shows in hexadecimal."""


def toml_value(value):
    if isinstance(value, Address):
        return f"0x{value:08X}"
    return str(value) if isinstance(value, int) else json.dumps(value)


def toml_table(header, rows):
    return "\n".join([header, *(f"{name} = {toml_value(value)}" for name, value in rows if value is not None)]) + "\n"


def build(directory):
    """Returns the images (name to bytes) and the text of the manifest."""
    sources, lock = monocypher()
    builder = Builder(directory, sources)
    images, tables = {}, []
    version, newlib = compiler()
    tables.append('# Written by smart-lock/build.py; do not edit. Paths are relative to this file.\nschema = "firmware/1"\n')
    tables.append(toml_table("[compiler]", [
        ("name", PREFIX + "gcc"), ("version", version), ("newlib", newlib), ("flags", " ".join(FLAGS)), ("build", "smart-lock/build.py"),
    ]))
    tables.append(toml_table("[third-party.monocypher]", [
        ("crate", lock["name"]), ("version", lock["version"]), ("sha256", lock["checksum"]), ("files", " ".join(MONOCYPHER)),
        ("licence", "BSD-2-Clause OR CC0-1.0"), ("use", "linked into the bootloaders; not part of this repository"),
    ]))
    for name in ("vendor", "unknown"):
        identity, seed = key(name)
        tables.append(toml_table("[[key]]", [
            ("id", identity), ("public", ed25519.public_key(seed).hex()), ("note", "TEST KEY - NOT FOR PRODUCTION; its secret is public"),
        ]))

    def add(image, data, rows, symbols):
        images[image + ".bin"] = data
        tables.append(toml_table("[[image]]", [
            ("id", image), ("file", f"smart-lock/images/{image}.bin"), ("sha256", hashlib.sha256(data).hexdigest()), ("size", len(data)), *rows,
        ]) + toml_table("[image.symbols]", symbols))

    for image, defines, fault, note in BOOTLOADERS:
        data, symbols = builder.bootloader(image, defines)
        assert len(data) <= 0x6000, "the bootloader outgrew its 24 KiB"
        add(image, data, [
            ("kind", "bootloader"), ("address", Address(0)), ("product", Address(PRODUCT)), ("fault", fault), ("key", key("vendor")[0]),
            ("verify-entry", symbols["crypto_ed25519_check"]), ("note", note),
        ], [(symbol, symbols[symbol]) for symbol in BOOT_SYMBOLS])
    everything = lambda size: size
    rows = [(row[0], *row, everything) for row in APPLICATIONS]
    for image, release, covered, note in PARTLY_SIGNED:
        original = next(row for row in APPLICATIONS if row[0] == release)
        rows.append((image, *original[:-1], f"{release} {note}", covered))
    for image, _, major, counter, product, signer, define, note, covered in rows:
        payload, symbols = builder.application(image, major, define)
        identity, seed = key(signer)
        add(image, container(payload, major, counter, product, seed, covered), [
            ("kind", "container"), ("address", Address(0x6000)), ("product", Address(product)), ("version", f"{major}.0.0"), ("counter", counter), ("key", identity),
            ("note", note),
        ], [("application", symbols["application"])])
    return images, "\n".join(tables)


def differences(images, manifest):
    """What is committed but would not be built like that, or not at all."""
    found = []
    committed = {path.name: path.read_bytes() for path in (HERE / "images").glob("*.bin")}
    for name in sorted(committed.keys() | images.keys()):
        if name not in images:
            found.append(f"images/{name} is committed but not built")
        elif name not in committed:
            found.append(f"images/{name} is built but not committed")
        elif committed[name] != images[name]:
            found.append(f"images/{name} differs ({len(committed[name])} bytes committed, {len(images[name])} built)")
    if not MANIFEST.exists() or MANIFEST.read_text() != manifest:
        found.append("manifest.toml differs")
    return found


def main():
    parser = argparse.ArgumentParser(description="Builds the images of the virtual smart lock.")
    parser.add_argument("--check", action="store_true", help="compare with the committed images instead of writing them")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        images, manifest = build(pathlib.Path(directory))
    if not check:
        for name, data in images.items():
            (HERE / "images" / name).write_bytes(data)
            print(f"{len(data):6} {name}")
        MANIFEST.write_text(manifest)
        return 0
    found = differences(images, manifest)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        recorded = tomllib.loads(MANIFEST.read_text())["compiler"]["version"] if MANIFEST.exists() else "none"
        print(f"compiler here {compiler()[0]}, of the committed images {recorded}", file=sys.stderr)
        return 1
    print(f"{len(images)} images and the manifest are what the sources build")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        sys.exit(f"cannot run {error.filename}: install gcc-arm-none-eabi, libnewlib-arm-none-eabi and cargo")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed on {error.cmd[-3]}")
