"""Modal's own package, and its faults in our words. Nothing is asked of the service here."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

from evogit.errors import BackendDown, EvogitError, UserError

KINDS = "T4, L4, A10, L40S, A100-40GB, A100-80GB, H100, H200, B200"


THROTTLE_S = 20  # that its client waits where Modal says "later": less than we wait for an answer, so that we hear why


def library() -> ModuleType:
    """The package `modal`, which waits for no quota for ever and says nothing on a person's terminal.

    Who set MODAL_MAX_THROTTLE_WAIT or MODAL_LOGLEVEL has what they asked for. Raises UserError where it is not installed. Its first import
    costs about a second.
    """
    try:
        import modal
    except ImportError as error:
        raise UserError(f"the backend modal needs the package modal: {error}", hint="pip install 'evogit[modal]'") from error
    if modal.config.config.get("max_throttle_wait") is None:
        modal.config.config.override_locally("max_throttle_wait", str(THROTTLE_S))
    for name in ("modal-client", "modal-utils") if "MODAL_LOGLEVEL" not in os.environ else ():
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=modal.exception.ServerWarning)
    return modal


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """Whatever Modal's client raises becomes one line and a hint: UserError where the person can mend it, BackendDown elsewhere."""
    modal = library()
    import aiohttp

    try:
        yield
    except modal.exception.Error as error:
        raise _translated(error, modal) from error
    except UnicodeEncodeError as error:
        raise UserError(f"a path that is no UTF-8 cannot be told to Modal: {error.object[:200]!r}", hint="rename it") from error
    except OSError as error:
        if error.filename:
            raise BackendDown(f"cannot read or write {error.filename}: {error.strerror}", hint="see `df -h`, then run it again") from error
        raise BackendDown(f"Modal is out of reach: {_line(error)}", hint=_LATER) from error
    except aiohttp.ClientError as error:  # while files travel
        raise BackendDown(f"Modal is out of reach: {_line(error)}", hint=_LATER) from error


_LATER = "when it answers again, run the same command"
_PIN = "pip install -U 'evogit[modal]'"


def _translated(error: Exception, modal: ModuleType) -> EvogitError:
    said, kinds = _line(error), modal.exception
    if isinstance(error, kinds.AuthError):
        return UserError(f"Modal does not know you: {said}", hint="run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
    if isinstance(error, kinds.PermissionDeniedError):
        return UserError(
            f"Modal does not allow it: {said}", hint="ask who owns the workspace, or choose another: `modal profile activate NAME`"
        )
    if isinstance(error, kinds.ResourceExhaustedError):
        return BackendDown(f"Modal has no room: {said}", hint="wait, or raise the workspace's limits, then run the same command")
    if isinstance(error, kinds.ImageBuildError):
        return UserError(
            f"the image of the problem could not be built: {said}", hint="does its lock file install on Debian? see `modal image logs`"
        )
    if isinstance(error, kinds.VersionError):
        return UserError(f"Modal no longer takes this version of its package: {said}", hint=_PIN)
    if isinstance(error, kinds.InvalidError):
        what = f"; Modal's GPUs are {KINDS}" if "gpu" in said.lower() else ""
        return UserError(f"Modal refuses: {said}", hint=f"see [budget] and [backend.modal] in evogit.toml{what}")
    return BackendDown(f"Modal is out of reach: {said}", hint=_LATER)


def _line(error: BaseException) -> str:
    """The first line of what it says, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
