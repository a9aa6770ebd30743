"""What the official clients raise, as evogit's errors. Both clients name their exceptions alike, so one table does for both.

A refused key, an unknown model and an empty account are the person's to mend and end the loop at once. What a client gave up on after
its own retries is a service that is down: the plan stays in flight. A request that is refused for another reason costs one run.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

from evogit.errors import AgentFailed, EvogitError, ServiceDown, UserError
from evogit.models import untrusted

_MENDABLE = {401, 402, 403, 404}
_ABOUT_THE_ASKER = re.compile(
    r"\b(models?|credit|billing|quota|organi[sz]ation|api key|max_tokens|max_completion_tokens|effort|parameter)\b", re.IGNORECASE
)
_BEGUN = (ValueError, RuntimeError, LookupError, AttributeError, TypeError, AssertionError)  # what clients raise at half an answer
LONGEST = 300  # characters of the service's own words


def broke_off() -> tuple[type[BaseException], ...]:
    """What is raised where an answer began and did not end, or is no answer: the clients retry none of these."""
    http = [module for name in ("httpx2", "httpx") if (module := sys.modules.get(name)) is not None]
    return (OSError, *_BEGUN, *(module.HTTPError for module in http), *(module.StreamError for module in http))


def in_words(error: BaseException) -> str:
    """The service's own message where there is one, one line."""
    body: Any = getattr(error, "body", None)
    said = body.get("error", body) if isinstance(body, dict) else None
    text = said.get("message", "") if isinstance(said, dict) else ""
    return untrusted.one_line(str(text or error) or type(error).__name__, LONGEST)


def status_of(error: BaseException) -> int:
    """HTTP status of a failed request; 529 for an overload that was told in the middle of an answer; 0 if none came."""
    status = int(getattr(error, "status_code", 0) or 0)
    kind = str(getattr(error, "type", "") or "")
    return {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}.get(kind, 500) if status == 200 else status


def translate(sdk: ModuleType, error: BaseException, service: str, base_url: str = "") -> EvogitError:
    """The error to raise for one of the client's own."""
    status, words = status_of(error), in_words(error)
    if isinstance(error, sdk.APITimeoutError):
        return ServiceDown(f"{service} did not answer in time", hint="try again later; --agent-option timeout_s=900 waits longer")
    if isinstance(error, sdk.APIConnectionError):
        where = f" at {base_url}" if base_url else ""
        return ServiceDown(f"{service}{where} is out of reach: {words}", hint="is the network up, and the address right? then go on")
    if status in _MENDABLE or (status == 400 and _ABOUT_THE_ASKER.search(words)):
        hint = "check the key and what it may use" if status in {401, 402, 403} else "check the model's name: --agent-option model=NAME"
        return UserError(f"{service} refuses: {words}", hint=hint)
    if 400 <= status < 500 and status not in {408, 409, 429}:
        return AgentFailed(f"{service} refuses the request: {words}")
    return ServiceDown(f"{service} is overloaded or down ({status or 'no status'}): {words}", hint="go on later with the same command")
