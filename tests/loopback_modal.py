"""A loopback service that speaks Modal's protocol: the messages and the service are those of Modal's own package, so it cannot drift.

Its sandboxes are processes in folders of this machine, which see of the client's files only what was uploaded. It answers the few calls
that `evogit.backends.modal` makes, each as the real service is documented to; nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpclib
from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.server import Server
from modal_proto import api_pb2 as api
from modal_proto import task_command_router_pb2 as router
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

BLOCK = 8 << 20
KINDS = {"ANY", "T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB", "H100", "H100!", "H200", "B200"}
DONE = api.GenericResult.GENERIC_STATUS_SUCCESS
FAILED = api.GenericResult.GENERIC_STATUS_FAILURE
TERMINATED = api.GenericResult.GENERIC_STATUS_TERMINATED
TIMED_OUT = api.GenericResult.GENERIC_STATUS_TIMEOUT


@dataclass
class Volume:
    """A named folder."""

    identity: str
    name: str
    version: int
    root: Path
    uploads: list[str] = field(default_factory=list)


@dataclass
class Container:
    """A sandbox and what became of it."""

    identity: str
    definition: api.Sandbox
    folder: Path
    process: asyncio.subprocess.Process | None = None
    result: api.GenericResult = field(default_factory=api.GenericResult)
    logs: dict[int, list[str]] = field(default_factory=lambda: {1: [], 2: []})
    over: asyncio.Event = field(default_factory=asyncio.Event)
    end: int = 0  # why it was killed, 0 if it was not

    @property
    def root(self) -> Path:
        return self.folder / "root"


class Service(ModalClientBase):
    """The service's side of the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = self.files_url = ""
        self.volumes: dict[str, Volume] = {}  # by id
        self.blobs: dict[str, bytes] = {}  # sha256 -> bytes, of mounts, images and volumes
        self.mounts: dict[str, list[api.MountFile]] = {}
        self.images: dict[str, api.Image] = {}
        self.containers: dict[str, Container] = {}
        self.calls: list[str] = []
        self.faults: dict[str, grpclib.GRPCError] = {}  # call, or "*" for all -> what it fails with
        self.silent: set[str] = set()  # calls, or "*" for all, that get no answer while they are here
        self.environment: dict[str, str] = {}  # of every container
        self.publishes_late = 0.0  # seconds between a container's end and its volume's
        self._tasks: set[asyncio.Task] = set()

    async def _told(self, stream, call: str):
        request = await stream.recv_message()
        self.calls.append(call)
        while {call, "*"} & self.silent:
            await asyncio.sleep(0.02)
        if fault := self.faults.get(call) or self.faults.get("*"):
            raise fault
        return request

    # who, where

    async def AppGetOrCreate(self, stream):
        request = await self._told(stream, "AppGetOrCreate")
        token = stream.metadata.get("x-modal-token-id")
        if token == "ak-revoked":
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or revoked")
        await stream.send_message(api.AppGetOrCreateResponse(app_id=f"ap-{request.app_name}"))

    async def EnvironmentGetOrCreate(self, stream):
        await self._told(stream, "EnvironmentGetOrCreate")
        settings = api.EnvironmentSettings(image_builder_version="2025.06")
        metadata = api.EnvironmentMetadata(name="main", settings=settings)
        await stream.send_message(api.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata))

    async def AuthTokenGet(self, stream):
        await self._told(stream, "AuthTokenGet")
        await stream.send_message(api.AuthTokenGetResponse(token=_token()))

    # images

    async def ImageGetOrCreate(self, stream):
        request = await self._told(stream, "ImageGetOrCreate")
        identity = f"im-{hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()[:22]}"
        self.images[identity] = request.image
        said = "\n".join(request.image.dockerfile_commands)
        result = api.GenericResult(status=DONE)
        if "no-such-package" in said:
            result = api.GenericResult(status=FAILED, exception="E: Unable to locate package no-such-package")
        await stream.send_message(api.ImageGetOrCreateResponse(image_id=identity, result=result, metadata=api.ImageMetadata()))

    def layers(self, identity: str) -> list[str]:
        """Everything that is run to build an image, its bases' part first."""
        image = self.images[identity]
        below = [line for base in image.base_images for line in self.layers(base.image_id)]
        return [*below, *image.dockerfile_commands]

    async def MountBatchedCheckExistence(self, stream):
        request = await self._told(stream, "MountBatchedCheckExistence")
        missing = [sha for sha in request.sha256_hex_hashes if sha not in self.blobs]
        await stream.send_message(api.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing))

    async def MountPutFile(self, stream):
        request = await self._told(stream, "MountPutFile")
        if hashlib.sha256(request.data).hexdigest() == request.sha256_hex:
            self.blobs[request.sha256_hex] = request.data
        await stream.send_message(api.MountPutFileResponse(exists=request.sha256_hex in self.blobs))

    async def MountGetOrCreate(self, stream):
        request = await self._told(stream, "MountGetOrCreate")
        identity = f"mo-{len(self.mounts)}"
        self.mounts[identity] = list(request.files)
        await stream.send_message(api.MountGetOrCreateResponse(mount_id=identity, handle_metadata=api.MountHandleMetadata()))

    # volumes

    async def VolumeGetOrCreate(self, stream):
        request = await self._told(stream, "VolumeGetOrCreate")
        found = next((v for v in self.volumes.values() if v.name == request.deployment_name), None)
        if found is None:
            version = request.version or api.VolumeFsVersion.VOLUME_FS_VERSION_V1
            root = self.folder / "volumes" / request.deployment_name
            root.mkdir(parents=True)
            found = Volume(f"vo-{len(self.volumes)}", request.deployment_name, version, root)
            self.volumes[found.identity] = found
        metadata = api.VolumeMetadata(version=found.version, name=found.name)
        await stream.send_message(api.VolumeGetOrCreateResponse(volume_id=found.identity, version=found.version, metadata=metadata))

    async def VolumePutFiles2(self, stream):
        request = await self._told(stream, "VolumePutFiles2")
        volume = self.volumes[request.volume_id]
        missing = [
            api.VolumePutFiles2Response.MissingBlock(
                file_index=f, block_index=b, put_url=f"{self.files_url}/block/{block.contents_sha256.hex()}"
            )
            for f, file in enumerate(request.files)
            for b, block in enumerate(file.blocks)
            if block.contents_sha256.hex() not in self.blobs
        ]
        if not missing:
            for file in request.files:
                data = b"".join(self.blobs[block.contents_sha256.hex()].ljust(BLOCK, b"\0") for block in file.blocks)
                _put(volume, file.path, data[: file.size])
        await stream.send_message(api.VolumePutFiles2Response(missing_blocks=missing))

    async def VolumePutFiles(self, stream):
        request = await self._told(stream, "VolumePutFiles")
        for file in request.files:
            _put(self.volumes[request.volume_id], file.filename, self.blobs[file.sha256_hex])
        await stream.send_message(Empty())

    async def VolumeGetFile2(self, stream):
        request = await self._told(stream, "VolumeGetFile2")
        path = self._inside(request.volume_id, request.path)
        if not path.is_file():
            raise grpclib.GRPCError(Status.NOT_FOUND, f"File not found: {request.path}")
        size = path.stat().st_size
        volume = self.volumes[request.volume_id].name
        urls = [f"{self.files_url}/file/{volume}/{request.path.lstrip('/')}?block={n}" for n in range(-(-size // BLOCK))]
        await stream.send_message(api.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size))

    async def VolumeListFiles(self, stream):
        request = await self._told(stream, "VolumeListFiles")
        await stream.send_message(api.VolumeListFilesResponse(entries=self._entries(request)))

    async def VolumeListFiles2(self, stream):
        request = await self._told(stream, "VolumeListFiles2")
        await stream.send_message(api.VolumeListFiles2Response(entries=self._entries(request)))

    def _entries(self, request) -> list[api.FileEntry]:
        path = self._inside(request.volume_id, request.path)
        if not path.exists():
            raise grpclib.GRPCError(Status.NOT_FOUND, f"No such file or directory: {request.path}")
        return [api.FileEntry(path=entry.name) for entry in sorted(path.iterdir())]

    async def VolumeRemoveFile(self, stream):
        await self._remove(stream, await self._told(stream, "VolumeRemoveFile"))

    async def VolumeRemoveFile2(self, stream):
        await self._remove(stream, await self._told(stream, "VolumeRemoveFile2"))

    async def _remove(self, stream, request):
        path = self._inside(request.volume_id, request.path)
        if not path.exists():
            raise grpclib.GRPCError(Status.NOT_FOUND, f"No such file or directory: {request.path}")
        shutil.rmtree(path)
        await stream.send_message(Empty())

    def _inside(self, volume: str, path: str) -> Path:
        return self.volumes[volume].root / path.strip("/")

    # sandboxes

    async def SandboxCreate(self, stream):
        request = await self._told(stream, "SandboxCreate")
        container = await self._create(request.definition, f"sb-{len(self.containers):022d}")
        await stream.send_message(api.SandboxCreateResponse(sandbox_id=container.identity, metadata=api.SandboxHandleMetadata()))

    async def SandboxCreateV2(self, stream):
        request = await self._told(stream, "SandboxCreateV2")
        if request.definition.resources.gpu_config.gpu_type:
            raise grpclib.GRPCError(Status.INVALID_ARGUMENT, "GPUs are not supported")
        container = await self._create(request.definition, f"sb-new-{len(self.containers)}")
        told = api.SandboxCreateV2Response(sandbox_id=container.identity, task_id=f"ta-{container.identity}")
        await stream.send_message(told)

    async def _create(self, definition: api.Sandbox, identity: str) -> Container:
        if self._running(definition.name) is not None:
            raise grpclib.GRPCError(Status.ALREADY_EXISTS, f"Sandbox with name {definition.name} already exists")
        kind = definition.resources.gpu_config.gpu_type
        if kind and kind not in KINDS:
            raise grpclib.GRPCError(Status.INVALID_ARGUMENT, f"Invalid GPU type: {kind}")
        container = Container(identity, definition, self.folder / "containers" / identity)
        self.containers[identity] = container
        await self._begin(container)
        return container

    def _running(self, name: str, prefix: str = "sb-") -> Container | None:
        found = (c for c in self.containers.values() if c.definition.name == name and not c.over.is_set())
        return next((c for c in found if c.identity.startswith(prefix)), None)

    async def SandboxGetTaskId(self, stream):
        request = await self._told(stream, "SandboxGetTaskId")
        await stream.send_message(api.SandboxGetTaskIdResponse(task_id=f"ta-{request.sandbox_id}"))

    SandboxGetTaskIdV2 = SandboxGetTaskId

    async def SandboxGetFromName(self, stream):
        await self._find(stream, await self._told(stream, "SandboxGetFromName"), "sb-0")

    async def SandboxGetFromNameV2(self, stream):
        await self._find(stream, await self._told(stream, "SandboxGetFromNameV2"), "sb-new-")

    async def _find(self, stream, request, prefix: str):
        found = self._running(request.sandbox_name, prefix)
        if found is None:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"Sandbox with name {request.sandbox_name} not found")
        await stream.send_message(api.SandboxGetFromNameResponse(sandbox_id=found.identity, metadata=api.SandboxHandleMetadata()))

    async def SandboxWait(self, stream):
        request = await self._told(stream, "SandboxWait")
        container = self._known(request.sandbox_id)
        try:
            await asyncio.wait_for(container.over.wait(), request.timeout or 0.001)
        except asyncio.TimeoutError:
            pass
        result = container.result if container.over.is_set() else api.GenericResult()
        await stream.send_message(api.SandboxWaitResponse(result=result, metadata=api.SandboxHandleMetadata()))

    SandboxWaitV2 = SandboxWait

    async def SandboxGetLogs(self, stream):
        request = await self._told(stream, "SandboxGetLogs")
        container, at = self._known(request.sandbox_id), int(request.last_entry_id or 0)
        lines = container.logs[request.file_descriptor]
        while True:
            is_over = container.over.is_set()
            if new := lines[at:]:
                at += len(new)
                await stream.send_message(api.TaskLogsBatch(items=[api.TaskLogs(data=line) for line in new], entry_id=str(at)))
            if is_over:
                break
            await asyncio.sleep(0.01)
        await stream.send_message(api.TaskLogsBatch(entry_id=str(at), eof=True))

    async def SandboxTerminate(self, stream):
        request = await self._told(stream, "SandboxTerminate")
        self._kill(self._known(request.sandbox_id), TERMINATED)
        await stream.send_message(api.SandboxTerminateResponse())

    SandboxTerminateV2 = SandboxTerminate

    async def SandboxGetCommandRouterAccess(self, stream):
        await self._told(stream, "SandboxGetCommandRouterAccess")
        await stream.send_message(api.SandboxGetCommandRouterAccessResponse(url=self.url, jwt=_token()))

    def _known(self, identity: str) -> Container:
        if identity not in self.containers:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"Sandbox {identity} not found")
        return self.containers[identity]

    def _kill(self, container: Container, why: int) -> None:
        if container.process is not None and container.process.returncode is None:
            container.end = why
            with suppress(ProcessLookupError):
                os.killpg(container.process.pid, signal.SIGKILL)

    async def _begin(self, container: Container) -> None:
        """What the worker does: files of the image and of volumes in their places, then the command, with nothing of our environment."""
        for name in ("root/tmp", "home"):
            (container.folder / name).mkdir(parents=True)
        places = ["/tmp"]
        for mount in container.definition.mount_ids:
            for file in self.mounts[mount]:
                path = container.root / file.filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.blobs[file.sha256_hex])
            places.append(os.path.commonpath([file.filename for file in self.mounts[mount]]).rpartition("/")[0])
        for mount in container.definition.volume_mounts:
            place = container.root / mount.mount_path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            source = self._inside(mount.volume_id, mount.sub_path)
            source.mkdir(parents=True, exist_ok=True)
            if mount.read_only:
                place.symlink_to(source)
            else:
                shutil.copytree(source, place)  # what others write meanwhile is not seen
            places.append(mount.mount_path)
        container.process = await asyncio.create_subprocess_exec(
            *self._translated(container, places), cwd=container.root / "tmp", start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "HOME": str(container.folder / "home"), "TMPDIR": str(container.root / "tmp"), **self.environment},
        )  # fmt: skip
        task = asyncio.create_task(self._live(container))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _translated(self, container: Container, places: list[str]) -> Iterator[str]:
        """There is no file tree of its own here: paths of the container are those below its folder, and its Python is ours."""
        for word in container.definition.entrypoint_args:
            if word.startswith("/") and word.endswith("/bin/python"):
                yield sys.executable
            elif any(word == place or word.startswith(place + "/") for place in places):
                yield str(container.root / word.lstrip("/"))
            else:
                yield word

    async def _live(self, container: Container) -> None:
        process, limit = container.process, container.definition.timeout_secs
        clock = asyncio.get_running_loop().call_later(limit, self._kill, container, TIMED_OUT)
        readers = (_read(process.stdout, container.logs[1]), _read(process.stderr, container.logs[2]))
        code, *_ = await asyncio.gather(process.wait(), *readers)
        clock.cancel()
        status = container.end or (DONE if code == 0 else FAILED)
        container.result = api.GenericResult(status=status, exitcode=code if code >= 0 else 128 - code)
        if self.publishes_late:
            container.over.set()
            await asyncio.sleep(self.publishes_late)
        for mount in container.definition.volume_mounts:
            if not mount.read_only:
                shutil.copytree(
                    container.root / mount.mount_path.lstrip("/"), self._inside(mount.volume_id, mount.sub_path), dirs_exist_ok=True
                )
        container.over.set()

    # bytes of volumes, which travel by HTTP

    async def put_block(self, request: web.Request) -> web.Response:
        data = await request.read()
        sha = request.match_info["sha"]
        self.blobs[sha] = data
        return web.Response(body=sha.encode())

    async def get_file(self, request: web.Request) -> web.Response:
        volume = next(v for v in self.volumes.values() if v.name == request.match_info["volume"])
        start = int(request.query["block"]) * BLOCK
        data = (volume.root / request.match_info["path"]).read_bytes()
        return web.Response(body=data[start : start + BLOCK])

    def end_all(self) -> None:
        """No container runs on."""
        for container in list(self.containers.values()):
            self._kill(container, TERMINATED)

    async def close(self) -> None:
        self.end_all()
        await asyncio.gather(*self._tasks)


class Router(TaskCommandRouterBase):
    """The worker's side: output of newer sandboxes, of which it keeps the last part only."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.keeps = 1 << 30  # bytes of a stream

    async def SandboxStdioReadV2(self, stream):
        request = await stream.recv_message()
        container = self._service._known(request.task_id.removeprefix("ta-"))
        is_stdout = request.file_descriptor == router.SANDBOX_STDIO_FILE_DESCRIPTOR_STDOUT
        lines, at = container.logs[1 if is_stdout else 2], request.offset
        while True:
            is_over, said = container.over.is_set(), "".join(lines).encode()
            at = max(at, len(said) - self.keeps)
            if data := said[at:]:
                await stream.send_message(router.SandboxStdioReadV2Response(data=data, starting_offset=at))
                at += len(data)
            elif is_over:
                return
            else:
                await asyncio.sleep(0.01)


for kind in (Service, Router):
    kind.__abstractmethods__ = frozenset()  # the rest of Modal's service answers nothing


def _token() -> str:
    return f"x.{base64.urlsafe_b64encode(json.dumps({'exp': time.time() + 3600}).encode()).decode().rstrip('=')}.x"


def _put(volume: Volume, path: str, data: bytes) -> None:
    target = volume.root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    volume.uploads.append(path)


async def _read(pipe: asyncio.StreamReader, lines: list[str]) -> None:
    while piece := await pipe.read(1 << 16):
        lines.append(piece.decode("utf-8", "replace"))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service that runs until the block is left, and the variables that lead Modal's client to it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    service, stop = asyncio.run_coroutine_threadsafe(_serve(folder), loop).result(30)
    try:
        yield service, {"MODAL_SERVER_URL": service.url, "MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(folder: Path):
    service = Service(folder)
    service.router = Router(service)
    server = Server([service, service.router])
    await server.start("127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server._server.sockets[0].getsockname()[1]}"
    app = web.Application(client_max_size=1 << 30)
    app.add_routes([web.put("/block/{sha}", service.put_block), web.get("/file/{volume}/{path:.*}", service.get_file)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.files_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def stop() -> None:
        await service.close()
        server.close()
        await server.wait_closed()
        await runner.cleanup()

    return service, stop
