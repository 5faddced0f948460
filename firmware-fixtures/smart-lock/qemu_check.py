#!/usr/bin/env python3
"""Runs the committed images in QEMU's `microbit` machine and checks what they say on the console.

    qemu_check.py                   all checks; prints the dialogue; exit 1 at the first surprise
    qemu_check.py --list            names of the checks
    qemu_check.py NAME...           some of them

QEMU 7.2 is a second opinion on the emulated machine, with these gaps: it clears UICR at every reset (so the anti-rollback counter starts from
the running image at each boot, and a counter that must survive cannot be checked), has no watchdog (a hung image stays hung), no reset reason
(`unknown`), no torn writes, and it aborts when the CPU would lock up. All of those are for the bench's own emulator.
"""

import argparse
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

IMAGES = pathlib.Path(__file__).resolve().parent / "images"
PIN = "24681357"
PHONE_KEY = "000102030405060708090a0b0c0d0e0f"
PATIENCE = 20.0  # seconds for one answer; the slowest, two signature checks, takes well under one


class Surprise(Exception):
    """The device said something else than expected, or nothing."""


class Debugger:
    """QEMU's gdb stub, as far as it is needed to program the flash. (`-device loader` would write its files again at every reset.)"""

    def __init__(self, connection):
        self.connection = connection

    def command(self, text):
        self.connection.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())
        reply = b""
        while not (b"$" in reply and reply[-3:-2] == b"#"):
            more = self.connection.recv(4096)
            if not more:
                raise Surprise("QEMU ended")
            reply += more
        self.connection.sendall(b"+")
        return reply[reply.index(b"$") + 1:-3].decode()

    def program(self, address, data):
        for start in range(0, len(data), 512):
            block = data[start:start + 512]
            if self.command(f"M{address + start:x},{len(block):x}:{block.hex()}") != "OK":
                raise Surprise(f"cannot program {address + start:#x}")

    def reset_and_run(self):
        self.command("qRcmd," + b"system_reset".hex())
        self.command("D")


class Lock:
    """One QEMU machine with a bootloader in flash and an image in slot A; its console is a Unix socket."""

    def __init__(self, directory, bootloader, application):
        listeners = []
        for name in ("console", "gdb"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(pathlib.Path(directory) / name))
            listener.listen(1)
            listener.settimeout(PATIENCE)
            listeners.append(listener)
        self.process = subprocess.Popen([
            "qemu-system-arm", "-M", "microbit", "-display", "none", "-monitor", "none", "-S", "-serial", f"unix:{directory}/console", "-chardev",
            f"socket,id=gdb,path={directory}/gdb", "-gdb", "chardev:gdb",
        ])
        self.console, debugger = (listener.accept()[0] for listener in listeners)
        self.console.settimeout(PATIENCE)
        self.received = b""
        with debugger:
            debugger.settimeout(PATIENCE)
            stub = Debugger(debugger)
            stub.program(0, image(bootloader))
            if application is not None:
                stub.program(0x6000, image(application))
            stub.reset_and_run()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.console.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def line(self):
        """The next whole line."""
        while b"\n" not in self.received:
            try:
                more = self.console.recv(4096)
            except TimeoutError:
                raise Surprise(f"silent for {PATIENCE:.0f} s after {self.received!r}") from None
            if not more:
                raise Surprise("QEMU ended")
            self.received += more
        line, self.received = self.received.split(b"\n", 1)
        return line.rstrip(b"\r").decode("ascii", "backslashreplace")

    def expect(self, *lines):
        for expected in lines:
            got = self.line()
            print(f"    {got}")
            if got != expected:
                raise Surprise(f"expected {expected!r}")

    def ask(self, command, *answers):
        print(f"  > {command}")
        self.console.sendall(command.encode() + b"\r\n")
        self.expect(*answers)

    def silent(self, seconds):
        self.console.settimeout(seconds)
        try:
            more = self.received + self.console.recv(64)
        except TimeoutError:
            more = self.received
        self.console.settimeout(PATIENCE)
        if more:
            raise Surprise(f"expected silence, got {more!r}")

    def login(self):
        self.ask(f"login admin {PIN}", "ok")

    def send_image(self, data, length=None):
        """The transfer up to `staged`. `data` may be shorter than the announced `length`."""
        self.ask(f"update {length or len(data)}", "send")
        for start in range(0, len(data), 64):
            chunk = data[start:start + 64]
            self.console.sendall(chunk)
            if start + len(chunk) < len(data) or length in (None, len(data)):
                got = self.line()
                if got != f"ack {start + len(chunk)}":
                    raise Surprise(f"expected an acknowledgement of {start + len(chunk)}, got {got!r}")
        print(f"    ... {len(data)} bytes")

    def boots(self, version, *between):
        self.expect("BL: reset unknown", *between, "BL: verify a ok", f"smart-lock {version} ready")

    def update(self, data, version):
        self.send_image(data)
        self.expect("staged")
        self.boots(version, "BL: verify b ok", "BL: swap")

    def refused(self, data, reason, version):
        self.send_image(data)
        self.expect("staged")
        self.boots(version, f"BL: refused {reason}")

    def reboot(self, version, *between):
        self.login()
        self.ask("reboot", "ok")
        self.boots(version, *between)


def image(name):
    return (IMAGES / f"{name}.bin").read_bytes()


def changed(name, offset):
    data = bytearray(image(name))
    data[offset] ^= 1
    return bytes(data)


def console(lock):
    """Login, settings, users, limits and hostile input."""
    lock.boots("1.0.0")
    lock.ask("version", "version 1.0.0 counter 1 confirmed")
    lock.ask("status", "status bolt locked led off reset unknown")
    lock.ask("unlock", "denied login required")
    lock.ask("frobnicate", "error unknown command")
    lock.ask("login admin 1111", "denied")
    lock.login()
    lock.ask("settings", "settings name=front-door volume=5 autolock=30")
    lock.ask("set volume 7", "ok")
    lock.ask("set volume 11", "error value")
    lock.ask("set colour red", "error unknown setting")
    lock.ask("adduser bob 4711", "ok")
    lock.ask("adduser bob 4711", "error exists")
    lock.ask("users", "users admin,bob")
    lock.ask("deluser admin", "error own user")
    lock.ask("bonds", "bonds")
    lock.ask("pair phone 0123", "error key")
    lock.ask(f"pair phone {PHONE_KEY[:-1]}g", "error key")
    lock.ask(f"pair ph.one {PHONE_KEY}", "error name")
    lock.ask(f"pair phone {PHONE_KEY}", "ok")
    lock.ask(f"pair phone {PHONE_KEY}", "ok")
    for name in ("b", "c", "d"):
        lock.ask(f"pair {name} {PHONE_KEY}", "ok")
    lock.ask(f"pair e {PHONE_KEY}", "error full")
    lock.ask("unpair e", "error unknown phone")
    lock.ask("unpair c", "ok")
    lock.ask("bonds", "bonds phone,b,d")
    lock.ask(f"phone phone {PHONE_KEY[:-1]}1", "denied unknown phone")
    lock.ask("bonds", "denied login required")
    lock.ask(f"phone c {PHONE_KEY}", "denied unknown phone")
    lock.ask(f"phone phone {PHONE_KEY}", "ok")
    # A user who is deleted takes phones along, and who gets the place does not get them.
    lock.ask("login bob 4711", "ok")
    lock.ask(f"pair bobs {PHONE_KEY}", "ok")
    lock.login()
    lock.ask("deluser bob", "ok")
    lock.ask("bonds", "bonds phone,b,d")
    lock.ask("adduser bob 4711", "ok")
    lock.ask(f"phone bobs {PHONE_KEY}", "denied unknown phone")
    lock.login()
    lock.ask("unlock", "ok")
    lock.ask("status", "status bolt unlocked led on reset unknown")
    lock.ask("lock", "ok")
    print("  > (200 letters, control bytes, 300 zero bytes)")
    lock.console.sendall(b"a" * 200 + b"\r\nver\x1b[2Jsion\r\n" + bytes(100) + b"\xff" * 50 + b"\r\n\r\n\n")
    lock.expect("error line too long", "error bad byte", "error bad byte")
    lock.ask("version extra", "error arguments")
    lock.ask("a b c d e f", "error unknown command")
    lock.ask("reboot", "ok")
    lock.boots("1.0.0")
    lock.ask("login bob 4711", "ok")
    lock.ask("settings", "settings name=front-door volume=7 autolock=30")
    lock.ask("logout", "ok")
    for _ in range(5):
        lock.ask("login admin 0000", "denied")
    lock.ask(f"login admin {PIN}", "denied wait")


def update(lock):
    """Update, confirm, and another update; settings survive."""
    lock.boots("1.0.0")
    lock.login()
    lock.ask("set name cellar", "ok")
    lock.update(image("lock-v2"), "2.0.0")
    lock.ask("version", "version 2.0.0 counter 0 testing")  # 0 because QEMU cleared UICR; 1 on a real device
    lock.login()
    lock.ask("update 7728", "refused testing")
    lock.ask("confirm", "confirmed")
    lock.ask("version", "version 2.0.0 counter 2 confirmed")
    lock.reboot("2.0.0")
    lock.login()
    lock.ask("settings", "settings name=cellar volume=5 autolock=30")
    lock.update(image("lock-v3"), "3.0.0")
    lock.login()
    lock.ask("confirm", "confirmed")
    lock.reboot("3.0.0")
    lock.ask("version", "version 3.0.0 counter 3 confirmed")


def revert(lock):
    """An image that is not confirmed goes back, once."""
    lock.boots("1.0.0")
    lock.login()
    lock.update(image("lock-v2"), "2.0.0")
    lock.reboot("1.0.0", "BL: revert")
    lock.ask("version", "version 1.0.0 counter 1 confirmed")
    lock.reboot("1.0.0")


def forged(lock):
    """Whatever is not genuine is refused, and the running image stays."""
    lock.boots("1.0.0")
    genuine = image("lock-v2")
    for data, reason in [
        (image("lock-v2-wrong-key"), "signature"),
        (image("lock-v2-wrong-product"), "product"),
        (changed("lock-v2", 0), "header"),
        (changed("lock-v2", 24), "signature"),  # security counter
        (changed("lock-v2", 30), "header"),  # flags
        (changed("lock-v2", 5000), "signature"),
        (changed("lock-v2", len(genuine) - 1), "signature"),
        (genuine[:-64], "length"),
        (genuine + bytes(64), "length"),
    ]:
        lock.login()
        lock.refused(data, reason, "1.0.0")
    lock.login()
    lock.ask("update 40961", "refused length")
    lock.ask("update 100", "refused length")
    lock.ask("update x", "refused length")
    lock.send_image(genuine[:1000], length=len(genuine))
    lock.expect("refused timeout")
    lock.update(genuine, "2.0.0")


def recovery(lock):
    """Without an application the bootloader takes a genuine image, and only that."""
    lock.expect("BL: reset unknown", "BL: refused header", "BL: recovery")
    lock.ask("version", "version none recovery")
    lock.ask("unlock", "error recovery")
    lock.send_image(image("lock-v2-wrong-key"))
    lock.expect("staged", "BL: reset unknown", "BL: refused signature", "BL: refused header", "BL: recovery")
    lock.update(image("lock-v1"), "1.0.0")
    lock.login()
    lock.ask("confirm", "confirmed")
    lock.reboot("1.0.0")


def factory_reset(lock):
    """Users and settings go, the firmware stays."""
    lock.boots("1.0.0")
    lock.login()
    lock.ask("set name cellar", "ok")
    lock.ask("adduser bob 4711", "ok")
    lock.ask(f"pair phone {PHONE_KEY}", "ok")
    lock.ask("factory-reset", "factory reset done")
    lock.boots("1.0.0")
    lock.ask(f"phone phone {PHONE_KEY}", "denied unknown phone")
    lock.ask("login bob 4711", "denied")
    lock.login()
    lock.ask("users", "users admin")
    lock.ask("settings", "settings name=front-door volume=5 autolock=30")


def hang(lock):
    """A genuine image that hangs is started; without a watchdog it stays, which is QEMU's gap."""
    lock.boots("1.0.0")
    lock.login()
    lock.send_image(image("lock-v2-hang"))
    lock.expect("staged", "BL: reset unknown", "BL: verify b ok", "BL: swap", "BL: verify a ok")
    lock.silent(1.0)


def no_signature_check(lock):
    """The faulty bootloader takes an image from an unknown signer."""
    lock.boots("1.0.0")
    lock.login()
    lock.update(image("lock-v2-wrong-key"), "2.0.0")


CHECKS = [
    (console, "bootloader", "lock-v1"),
    (update, "bootloader", "lock-v1"),
    (revert, "bootloader", "lock-v1"),
    (forged, "bootloader", "lock-v1"),
    (recovery, "bootloader", None),
    (factory_reset, "bootloader", "lock-v1"),
    (hang, "bootloader", "lock-v1"),
    (no_signature_check, "bootloader-no-signature-check", "lock-v1"),
]


def main():
    parser = argparse.ArgumentParser(description="Checks the smart lock's images in QEMU.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="checks to run; all when none is given")
    parser.add_argument("--list", action="store_true", help="name the checks")
    arguments = parser.parse_args()
    known = {check.__name__ for check, _, _ in CHECKS}
    if unknown := set(arguments.names) - known:
        parser.error(f"no check is called {', '.join(sorted(unknown))}")
    for check, bootloader, application in CHECKS:
        if arguments.list:
            print(f"{check.__name__:20} {check.__doc__}")
            continue
        if arguments.names and check.__name__ not in arguments.names:
            continue
        print(f"{check.__name__}: {check.__doc__}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as directory, Lock(directory, bootloader, application) as lock:
            try:
                check(lock)
            except Surprise as surprise:
                print(f"FAILED {check.__name__}: {surprise}")
                return 1
        print(f"ok {check.__name__} ({time.monotonic() - started:.1f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
