"""Which of the planned actions a dry run shows: the plan itself remains whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from narration_cleanup.apply.result import Outcomes, Result
from narration_cleanup.plan.actions import Action, Actions

SORT = ("size", "age")


@dataclass(frozen=True, slots=True)
class Selection:
    """Actions of one voice style, or for one reason; the largest or oldest first; at most ``limit``
    of them. ``None`` leaves a thing as it is."""

    voice_style: str | None = None
    reason: str | None = None
    sort: str | None = None
    limit: int | None = None

    def of(self, result: Result) -> Result:
        """A dry run's result with these actions alone, its plans and their figures as they are."""
        if self == EVERYTHING:
            return result
        cache, requests = result.cache, result.requests
        cache_actions, request_actions = Actions(), Actions()
        for action in self._chosen(result):
            (cache_actions if action.kind.is_of_cache else request_actions).append(action)
        if cache is not None:
            cache = replace(cache, outcomes=Outcomes(cache_actions))
        if requests is not None:
            requests = replace(requests, outcomes=Outcomes(request_actions))
        return replace(result, cache=cache, requests=requests)

    def _chosen(self, result: Result) -> list[Action]:
        actions = (action for target in result.targets for action in target.outcomes.actions)
        found = filter(self._matches, actions)
        key: Callable[[Action], float] = _size if self.sort == "size" else _age
        if self.sort is None:
            return list(islice(found, self.limit))
        return sorted(found, key=key, reverse=True)[: self.limit]

    def _matches(self, action: Action) -> bool:
        voice = action.voice_style if action.kind.is_of_entry else None
        return self.voice_style in (None, voice) and self.reason in (None, action.reason.value)


EVERYTHING = Selection()


def _size(action: Action) -> float:
    return action.size_bytes if action.kind.frees_bytes else -1


def _age(action: Action) -> float:
    return float("-inf") if action.created_at is None else -action.created_at
