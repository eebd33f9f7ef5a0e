"""A program at a pseudo-terminal of its own, as a user sits before it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time


class Terminal:
    """Runs `arguments` as the foreground of a terminal (80 columns). Use it with `with`: the program ends with the block.

    What it prints, what the terminal echoes of the keys, and standard error are one text, `output`, in which lines end
    with a plain line feed. `stdout` may take standard output elsewhere (as subprocess does: a file, subprocess.DEVNULL).
    """

    def __init__(self, arguments, env=None, cwd=None, stdout=None):
        self._fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        # setsid replaces itself by the program; a preexec_fn would fork beside the threads of gRPC.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *arguments], env=env, cwd=cwd, stdin=inner, stdout=inner if stdout is None else stdout,
            stderr=inner,
        )
        os.close(inner)
        self.output = ""
        self._raw = b""
        self._expected = 0  # how much of `output` earlier expectations took

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def expect(self, text, timeout=60):
        """Waits until the program prints `text` after what was expected before; returns all up to and with it."""
        deadline = time.monotonic() + timeout
        while (at := self.output.find(text, self._expected)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} does not come; the program ended. Its output: {self.output!r}")
        begin, self._expected = self._expected, at + len(text)
        return self.output[begin:self._expected]

    def send(self, keys):
        """Types `keys`, text or bytes; a line ends with "\\n" and is not longer than 4,000 bytes, as terminals want it."""
        data = keys if isinstance(keys, bytes) else keys.encode()
        while data:
            data = data[os.write(self._fd, data):]

    def interrupt(self):
        """Ctrl-C."""
        self.send("\x03")

    def end_of_input(self):
        """Ctrl-D; at the begin of a line the end of standard input."""
        self.send("\x04")

    def exit_code(self, timeout=60):
        """Reads until the program ends; its exit code, or minus the signal that ended it."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline):
        """Adds to `output`; false at the end of it."""
        if not select.select([self._fd], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing more in time. The program's output so far: {self.output!r}")
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody holds the terminal any more
            data = b""
        self._raw += data
        self.output = self._raw.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
