"""The doors to Google Cloud: its own clients, made when they are asked for, and its errors in our words.

The clients speak REST, so that what tests meet on loopback is what speaks to the service. It keeps no state of jobs.
"""

from __future__ import annotations

import concurrent.futures
import random
import re
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from evogit.errors import BackendDown, EvogitError, UserError

T = TypeVar("T")
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EXTRA = "pip install 'evogit[gcp]'"
CALL_S = 60.0  # for one request without a body worth speaking of
TRANSFER_S = 600.0  # for one that carries a parcel
TRIES = 5
NOT_FOUND, CONFLICT, EXISTS = 404, 409, 412
LIMITS = re.compile(r"(?i)(limit|quota)\w*[ _]?exceeded|exceed\w* [^.]*\b(quota|rate limit)")  # a 403 of some services, a 429 of others
SAID = 300  # letters of a service's own words


class Clients:
    """Clients of one project. `endpoint`: a server to ask in place of Google's, without credentials; for tests.

    May be used from threads. Making one costs up to a second, the libraries' import.
    """

    def __init__(self, project: str, endpoint: str = "", pause_s: float = 1.0) -> None:
        self.project, self.endpoint, self.pause_s = project, endpoint.rstrip("/"), pause_s

    @cached_property
    def credentials(self) -> Any:
        """Raises UserError where there are none."""
        auth = _library("google.auth")
        if self.endpoint:
            return _library("google.auth.credentials").AnonymousCredentials()
        try:
            return auth.default(scopes=[SCOPE])[0]
        except auth.exceptions.DefaultCredentialsError as error:
            raise UserError("there are no credentials for Google Cloud", hint="gcloud auth application-default login") from error

    @cached_property
    def storage(self) -> Any:
        """google.cloud.storage.Client."""
        made = _library("google.cloud.storage").Client
        return made(project=self.project, credentials=self.credentials, client_options=self._options())

    @cached_property
    def jobs(self) -> Any:
        """google.cloud.run_v2.JobsClient."""
        return self._rest(_library("google.cloud.run_v2").JobsClient)

    @cached_property
    def executions(self) -> Any:
        """google.cloud.run_v2.ExecutionsClient."""
        return self._rest(_library("google.cloud.run_v2").ExecutionsClient)

    def builds(self) -> Any:
        """google.cloud.devtools.cloudbuild_v1.CloudBuildClient."""
        return self._rest(_library("google.cloud.devtools.cloudbuild_v1").CloudBuildClient)

    @cached_property
    def session(self) -> Any:
        """A `requests` session with credentials, for APIs that have no client here."""
        return _library("google.auth.transport.requests").AuthorizedSession(self.credentials)

    def json(self, what: str, service: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any] | None:
        """The answer of `https://SERVICE/PATH` to a GET, or to a POST of `body`; None where it is not found. Raises as `ask`."""
        url = f"{self.endpoint or f'https://{service}'}{path}"

        def call() -> dict[str, Any]:
            reply = self.session.request("GET" if body is None else "POST", url, json=body, timeout=CALL_S)
            if reply.status_code >= 400:
                raise _library("google.api_core.exceptions").from_http_response(reply)
            return reply.json()

        return self.ask(what, call, {NOT_FOUND: None})

    def ask(self, what: str, call: Callable[[], T], answers: Mapping[int, Any] | None = None) -> T:
        """What `call` gives; `answers` are what HTTP statuses mean here. Tried again with growing pauses where that may help.

        Raises BackendDown where Google Cloud is out of reach or over a quota, UserError for what a person can mend.
        """
        api, auth, requests = _library("google.api_core.exceptions"), _library("google.auth.exceptions"), _library("requests")
        garbled = _library("google.resumable_media.common").DataCorruption
        passing = (api.TooManyRequests, api.ServerError, auth.TransportError, requests.ConnectionError, requests.Timeout)
        passing += (requests.exceptions.ChunkedEncodingError, garbled, concurrent.futures.TimeoutError)
        for attempt in range(TRIES):
            try:
                return call()
            except (api.GoogleAPICallError, auth.GoogleAuthError, requests.RequestException, *passing) as error:
                if answers and getattr(error, "code", None) in answers:
                    return answers[error.code]
                if not (isinstance(error, passing) or _is_over_limit(error)) or attempt == TRIES - 1:
                    raise in_words(what, error) from error
            threading.Event().wait(self.pause_s * 2**attempt * random.uniform(0.5, 1.0))
        raise AssertionError("the last try has returned or raised")

    def _options(self) -> dict[str, str] | None:
        return {"api_endpoint": self.endpoint} if self.endpoint else None

    def _rest(self, made: Callable[..., Any]) -> Any:
        return made(transport="rest", credentials=self.credentials, client_options=self._options())


def in_words(what: str, error: Exception) -> EvogitError:
    """A client's error as ours: one line, and what to do."""
    code = int(getattr(error, "code", None) or 0)
    said = _reason(error)
    if _is_over_limit(error):
        return BackendDown(f"{what}: over a quota: {said}", hint="start fewer at a time (slots), or ask for a larger quota; then go on")
    if code == 403:
        return UserError(f"{what}: permission denied: {said}", hint="`evogit cloud doctor` names the roles that are missing")
    if code == 401 or type(error).__module__.startswith("google.auth") and type(error).__name__ != "TransportError":
        return UserError(f"{what}: the credentials are refused: {said}", hint="gcloud auth application-default login")
    if code == 404:
        return UserError(f"{what}: not found: {said}", hint="`evogit cloud doctor` says what is missing")
    if 400 <= code < 500 and code != CONFLICT:
        return UserError(f"{what}: refused: {said}", hint=_remedy(said))
    return BackendDown(f"{what}: Google Cloud is out of reach: {said}", hint="once it answers again, the same command goes on")


def _is_over_limit(error: Exception) -> bool:
    """True for a quota or a rate, which more time or fewer trials mend, and permissions do not."""
    code = int(getattr(error, "code", None) or 0)
    told = [str(one.get("reason", "")) for one in getattr(error, "errors", None) or () if isinstance(one, Mapping)]
    words = " ".join([str(getattr(error, "reason", None) or ""), *told, str(getattr(error, "message", ""))])
    return code == 429 or (code == 403 and LIMITS.search(words) is not None)


def _reason(error: Exception) -> str:
    """A service's own words, or the innermost reason why nobody answered, with the host: one line."""
    text = re.sub(r"^(GET|POST|PUT|PATCH|DELETE) \S+: (?=\S)", "", str(getattr(error, "message", "")))
    if not text:
        inner: BaseException = error
        while deeper := inner.__cause__ or inner.__context__:
            inner = deeper
        host = re.search(r"host='([^']+)'", str(error))
        text = (f"{host[1]}: " if host else "") + str(getattr(inner, "strerror", None) or inner or type(inner).__name__)
    line = " ".join(text.split())
    return line if len(line) <= SAID else (line[:SAID].rpartition(" ")[0] or line[:SAID]) + " ..."


def _remedy(said: str) -> str:
    """What to do about a request that was refused, as far as its answer tells."""
    text = said.lower()
    if "gpu" in text or "accelerator" in text:
        return "not every region has every GPU: see `region` and cloud_run.gpu_type in cloud_runner.yaml"
    if "image" in text:
        return "evogit cloud deploy-image"
    return "see cloud_runner.yaml; `evogit cloud doctor` looks at what it names"


def _library(name: str) -> Any:
    """A module of Google's. Raises UserError where its package is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"Google Cloud's clients are not installed: {error}", hint=EXTRA) from error
