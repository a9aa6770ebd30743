"""What waits outside of a trial to be reached: servers that note who called, a neighbour to be killed, secrets to be read."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

CANARY = "canary-7f3a9c51e2"  # stands for everything that a candidate has no business to know


class Host:
    """Used with `with`: `places` names what is there."""

    def __enter__(self):
        home = Path(os.environ["HOME"])
        self._folder = tempfile.TemporaryDirectory()
        self.heard: list[str] = []
        self._sockets = [self._listen(socket.AF_INET, ("127.0.0.1", 0))]
        port = self._sockets[0].getsockname()[1]
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", port))
        abstract = f"evogit-host-{os.getpid()}-{port}"
        file = Path(self._folder.name, "host.sock")
        self._sockets += [datagram, self._listen(socket.AF_UNIX, "\0" + abstract), self._listen(socket.AF_UNIX, str(file))]
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._neighbour = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        for secret in (
            home / "secret.txt",
            home / "host" / "metrics.json",
            home / ".ssh" / "id_ed25519",
            home / ".local/state/evogit/holdout/x/t.jsonl",
        ):
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_text(CANARY)
        self.places = {"PORT": str(port), "SOCKET": abstract, "SOCKFILE": str(file), "NEIGHBOUR": str(self._neighbour.pid)}
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join()
        for one in self._sockets:
            one.close()
        os.close(self._wake)
        self._neighbour.communicate()
        self._folder.cleanup()

    @property
    def has_neighbour(self) -> bool:
        """True while nobody has killed it."""
        return self._neighbour.poll() is None

    def _listen(self, family: int, address: object) -> socket.socket:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind(address)
        server.listen()
        return server

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._sockets, self._wake], [], [])
            if self._wake in ready:
                return
            for one in ready:
                if one.type == socket.SOCK_DGRAM:
                    self.heard.append(one.recv(100).decode(errors="replace"))
                else:
                    caller, _ = one.accept()
                    self.heard.append(f"a caller on {one.family.name}")
                    caller.close()
