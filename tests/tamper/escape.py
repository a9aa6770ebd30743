"""Tricks that get out: network, other processes, mounts, other users, past the clock."""

from __future__ import annotations

from tamper.harness import Trick, Tried


def _nobody_called(tried: Tried) -> None:
    assert tried.heard == "", tried.heard


def _neighbour_lives(tried: Tried) -> None:
    assert tried.has_neighbour


def _nothing_on_the_host(tried: Tried) -> None:
    from pathlib import Path

    assert not Path("/tmp/evogit-escaped").exists()
    assert not Path("/dev/shm/evogit-escaped").exists()
    assert not (tried.home / "escaped").exists()


C = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
TRICKS = [
    Trick(
        "a call to a server on the host",
        "escape",
        holds="landlock",
        check=_nobody_called,
        in_train="import socket\ntry:\n    s = socket.create_connection(('127.0.0.1', int('@PORT@')), 2)\n    s.sendall(b'tcp')\n    s.close()\nexcept OSError: pass",
    ),
    Trick(
        "a datagram to the host",
        "escape",
        holds="landlock",
        check=_nobody_called,
        in_train="import socket\ntry: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'udp', ('127.0.0.1', int('@PORT@')))\nexcept OSError: pass",
    ),
    Trick(
        "an abstract socket of the host",
        "escape",
        holds="landlock",
        check=_nobody_called,
        in_train="import socket\ntry:\n    s = socket.socket(socket.AF_UNIX)\n    s.connect('\\0@SOCKET@')\n    s.sendall(b'abstract')\nexcept OSError: pass",
    ),
    Trick(
        "a socket file of the host",
        "escape",
        holds="bubblewrap",
        check=_nobody_called,
        in_train="import socket\ntry:\n    s = socket.socket(socket.AF_UNIX)\n    s.connect('@SOCKFILE@')\n    s.sendall(b'unix')\nexcept OSError: pass",
    ),
    Trick(
        "a debugger on another process",
        "escape",
        holds="landlock",
        check=_neighbour_lives,
        in_train=C + "if libc.ptrace(16, int('@NEIGHBOUR@'), 0, 0) == 0: loot('@CANARY@')",
    ),
    Trick(
        "signals to other processes",
        "escape",
        holds="landlock",
        check=_neighbour_lives,
        in_train="import signal\nfor pid in (int('@NEIGHBOUR@'), os.getppid()):\n    try: os.kill(pid, signal.SIGKILL)\n    except OSError: pass",
        must="earned|dies|refused",
    ),
    Trick(
        "SIGKILL to everybody",
        "escape",
        check=_neighbour_lives,
        in_train="import signal\ntry: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass",
        must="earned|dies|refused",
    ),
    Trick(
        "namespaces and mounts of its own",
        "escape",
        holds="landlock",
        in_train=C
        + "for flag in (0x10000000, 0x10020000, 0x00020000):\n    if os.fork() == 0:\n        done = libc.unshare(flag) == 0 and libc.mount(b'none', b'/', None, 0x44000, None) == 0\n        if done: loot('@CANARY@')\n        os._exit(0)\n    os.wait()",
    ),
    Trick(
        "root again",
        "escape",
        in_train="for change in (os.setuid, os.setgid):\n    try: change(0)\n    except OSError: pass\ntry:\n    Path('/etc/evogit-escaped').write_text('x')\n    loot('@CANARY@')\nexcept OSError: pass",
    ),
    Trick(
        "programs that are root",
        "escape",
        in_train="import subprocess, shutil\nfor words in (['sudo', '-n', 'id', '-u'], ['su', '-c', 'id -u'], ['pkexec', 'id', '-u']):\n    if shutil.which(words[0]):\n        said = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout\n        try:\n            Path('/etc/evogit-escaped').write_text(said)\n            loot('@CANARY@')\n        except OSError: pass",
    ),
    Trick(
        "switches of the kernel",
        "escape",
        holds="landlock",
        in_train="for name in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/sys/kernel/uevent_helper', '/proc/sys/vm/drop_caches'):\n    try:\n        open(name, 'w').close()\n        loot('@CANARY@')\n    except OSError: pass",
    ),
    Trick(
        "devices of the host",
        "escape",
        in_train="for name in ('/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda', '/dev/kvm', '/dev/fuse', '/dev/net/tun'):\n    try:\n        open(name, 'rb').close()\n        loot('@CANARY@')\n    except OSError: pass\ntry:\n    os.mknod('disk', 0o60666, os.makedev(254, 0))\n    open('disk', 'rb').read(1)\n    loot('@CANARY@')\nexcept OSError: pass",
    ),
    Trick(
        "files on the host",
        "escape",
        holds="landlock",
        check=_nothing_on_the_host,
        in_train="for place in ('/tmp/evogit-escaped', '/dev/shm/evogit-escaped', '@HOME@/escaped', '/etc/evogit-escaped', '/usr/evogit-escaped'):\n    try: Path(place).write_text('x')\n    except OSError: pass",
    ),
    Trick(
        "daemons that outlive the clock",
        "escape",
        holds="none",
        must="dies|refused",
        toml=(("timeout_s = 20", "timeout_s = 2"),),
        in_train="import signal, time\nfor n in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        if os.fork() == 0:\n            while True: time.sleep(0.05)\n        while True: time.sleep(0.05)\ntime.sleep(60)",
    ),
    Trick(
        "a trial that stops itself",
        "escape",
        holds="none",
        must="dies|refused",
        toml=(("timeout_s = 20", "timeout_s = 2"),),
        in_train="import signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    ),
    Trick(
        "another root folder", "escape", holds="landlock", in_train="try:\n    os.chroot('/')\n    loot('@CANARY@')\nexcept OSError: pass"
    ),
    Trick(
        "keys of the kernel and a view into other memory",
        "escape",
        in_train=C + "if libc.syscall(250, 0, 0, 0) > 0 or libc.syscall(321, 0, 0, 0) >= 0 or libc.syscall(323, 0) >= 0: loot('@CANARY@')",
    ),
]
