#!/usr/bin/env python3
"""The serial workloads of `benches/serial.rs` with the consoles of labgrid and pytest-embedded, and with pyserial below both.

    python3 benches/peers/consoles.py [MB]

Makes a virtual environment under target/peers and installs the packages there. Ends with 0 and a message if that is not possible. Run
`cargo bench --bench serial` next to it: figures of one machine at one time can be compared, others cannot.
"""

import os
import pathlib
import pty
import re
import statistics
import subprocess
import sys
import threading
import time
import tty

HERE = pathlib.Path(__file__).resolve()
VENV = HERE.parents[2] / "target" / "peers"
PACKAGES = ["labgrid", "pytest-embedded", "pytest-embedded-serial", "pyserial"]
LINE = b"[   12.345678] a line of a log as devices write them, 64 bytes..\n"
MARK = b"END-OF-LOG\n"


def skip(why):
    print(f"skipped: {why}")
    sys.exit(0)


def into_environment():
    """Runs this script again with the packages."""
    if os.environ.get("HILBENCH_PEERS"):
        return
    python = VENV / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, capture_output=True, timeout=120)
        have = subprocess.run([str(python), "-c", "import labgrid, pytest_embedded_serial, serial"], capture_output=True, timeout=120)
        if have.returncode != 0:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, capture_output=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        text = getattr(error, "stderr", None) or b""
        skip(f"no environment with {', '.join(PACKAGES)}: {error} {text.decode(errors='replace')[-300:]}")
    os.execve(str(python), [str(python), str(HERE), *sys.argv[1:]], {**os.environ, "HILBENCH_PEERS": "1"})


class Device:
    """The other end of a pseudo-terminal."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.master, view):]

    def flood(self, size):
        def work():
            piece = LINE * 63
            left = size
            while left > 0:
                self.write(piece[:left])
                left -= len(piece)
            self.write(b"\n" + MARK)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def answer(self, count):
        """Answers each line; gives the times from an answer to the next line."""
        times = []

        def work():
            answered = None
            for _ in range(count):
                got = b""
                while not got.endswith(b"\n"):
                    got += os.read(self.master, 64)
                if answered is not None:
                    times.append((time.perf_counter() - answered) * 1e6)
                time.sleep(0.0003)
                answered = time.perf_counter()
                self.write(b"pong\n")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread, times

    def close(self):
        os.close(self.master)
        os.close(self.slave)


def labgrid_console(path):
    from labgrid import Target
    from labgrid.driver import SerialDriver
    from labgrid.resource import RawSerialPort

    target = Target("bench")
    RawSerialPort(target, name="port", port=path, speed=115200)
    driver = SerialDriver(target, name="console")
    target.activate(driver)

    def expect(pattern):
        driver.expect(pattern.decode(), timeout=120)

    return expect, driver.sendline, lambda: target.deactivate(driver)


def pyserial_console(path):
    import serial

    port = serial.Serial(path, 115200, timeout=0.1)
    seen = bytearray()

    def expect(pattern):
        # What everybody writes: read what is there, look for the text.
        while True:
            at = seen.find(pattern)
            if at >= 0:
                del seen[: at + len(pattern)]
                return
            del seen[: max(0, len(seen) - len(pattern))]
            seen.extend(port.read(max(1, port.in_waiting)))

    return expect, lambda line: port.write(line.encode() + b"\n"), port.close


EMBEDDED_TEST = r'''
import os, time

def test_throughput(dut):
    size = int(os.environ["HILBENCH_PEERS_MB"]) << 20
    start = time.perf_counter()
    open(os.environ["HILBENCH_PEERS_GO"], "w").close()
    dut.expect_exact("END-OF-LOG", timeout=300)
    print(f"FIGURE {size / (time.perf_counter() - start) / 1e6:.2f}")
'''


def embedded_throughput(size_mb):
    """pytest-embedded only works as a plugin: one test, in a process of its own."""
    import tempfile

    device = Device()
    with tempfile.TemporaryDirectory() as folder:
        test, go = pathlib.Path(folder, "test_peer.py"), pathlib.Path(folder, "go")
        test.write_text(EMBEDDED_TEST)
        environment = {**os.environ, "HILBENCH_PEERS_MB": str(size_mb), "HILBENCH_PEERS_GO": str(go)}
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:labgrid", "--embedded-services", "serial", "--port", device.path, str(test)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = []
        reading = threading.Thread(target=lambda: output.append(process.stdout.read()), daemon=True)
        reading.start()
        until = time.time() + 120
        while not go.exists() and process.poll() is None and time.time() < until:
            time.sleep(0.005)
        device.flood(size_mb << 20)
        try:
            process.wait(timeout=400)
        except subprocess.TimeoutExpired:
            process.kill()
        reading.join(timeout=10)
        found = re.search(rb"FIGURE ([\d.]+)", b"".join(output))
        device.close()
        if not found:
            raise RuntimeError(b"".join(output)[-400:].decode(errors="replace"))
        return float(found.group(1))


def throughput(make, size):
    device = Device()
    expect, _, close = make(device.path)
    start = time.perf_counter()
    thread = device.flood(size)
    expect(MARK.strip())
    took = time.perf_counter() - start
    thread.join()
    close()
    device.close()
    return size / took / 1e6


def reaction(make, count=500):
    device = Device()
    expect, send, close = make(device.path)
    thread, times = device.answer(count)
    for _ in range(count):
        send("ping")
        expect(b"pong")
    thread.join()
    close()
    device.close()
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def main():
    into_environment()
    size_mb = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}, {size_mb} MB a round")
    for name, make in [("pyserial", pyserial_console), ("labgrid", labgrid_console)]:
        try:
            rates = [throughput(make, size_mb << 20) for _ in range(3)]
            middle, late = reaction(make)
        except Exception as error:  # a peer that does not work here must not hide the others
            print(f"{name}: {type(error).__name__}: {error}")
            continue
        print(f"{name}: {statistics.median(rates):.2f} MB/s ({min(rates):.2f} to {max(rates):.2f}); reaction p50 {middle:.0f} us, p99 {late:.0f} us")
    try:
        rates = [embedded_throughput(size_mb) for _ in range(3)]
        print(f"pytest-embedded: {statistics.median(rates):.2f} MB/s ({min(rates):.2f} to {max(rates):.2f})")
    except Exception as error:
        print(f"pytest-embedded: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
