"""Why one item is kept or removed, by which rule, and from when on: asked after a plan is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from narration_cleanup.core.model import (
    ACTIVE,
    DAY,
    HOUR,
    NO_MTIME,
    CacheEntry,
    FileRole,
    Found,
    FoundRequest,
    GenerationRequest,
    ReadTime,
    RequestStatus,
    Sighting,
    StoredFile,
    Target,
    Unmatched,
)
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.plan.actions import Action, Kind, Reason
from narration_cleanup.plan.requests import age_of, words_of_end
from narration_cleanup.plan.rules import (
    DAYS,
    EMPTY_AUDIO_AGE,
    HOURS,
    IN_FLIGHT,
    MINUTES,
    CachePolicy,
    RequestPolicy,
    Rules,
    Unit,
)
from narration_cleanup.plan.types import CachePlan, RequestPlan

_FUTURE = "its time lies in the future, so it does not expire: is the clock or the zone wrong?"
_NOT_OF_AUDIO = (
    "its name is not made up by a program as those of the audio here are, or it holds more than "
    "the text of one audio file"
)
_RULES = {
    Reason.EMPTY: "cache.remove_empty_audio",
    Reason.PARTIAL: "cache.partial_hours",
    Reason.DANGLING: "cache.remove_dangling",
}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why one entry, file or request is kept or removed.

    ``kind`` is what a run would do now, ``None`` where it keeps the item. ``reason`` is why it
    does, or later will, remove or change it; ``detail`` is the figures behind the decision.
    ``due_at`` is the instant after which a run does it (``None``: it never does, or that is not
    known), ``rule`` the setting that decides.
    """

    target: Target
    id: str | int | None
    file: str | None = None
    is_entry: bool = False
    status: str = ""
    voice_style: str = ""
    variant_id: str = ""
    size_bytes: int | None = None
    kind: Kind | None = None
    reason: Reason | None = None
    detail: str = ""
    due_at: float | None = None
    rule: str | None = None
    notes: tuple[str, ...] = ()
    times: tuple[ReadTime, ...] = ()


def explain_cache(
    found: Found,
    plan: CachePlan,
    seen: Unmatched,
    empty_files: Mapping[str, float],
    policy: CachePolicy,
    now: float,
) -> list[Explanation]:
    """Why each of what was found is kept or removed; the plan was made with ``explain``.

    ``seen`` and ``empty_files`` are what the survey of that plan had.
    """
    ids = {each.file if each.key is None else each.key for each in found.sightings}
    judge = _Judge(plan, seen, empty_files, policy, now, ids)
    explained = [judge.explain(each) for each in found.sightings]
    return [_with_its_file(each, explained, seen.shared) for each in explained]


def _with_its_file(
    one: Explanation, explained: Sequence[Explanation], shared: frozenset[str]
) -> Explanation:
    """A file that entries share is removed with the last of them."""
    if one.file not in shared or one.kind is not None:
        return one
    due = [each.due_at for each in explained if each.file == one.file and each.is_entry]
    known = [each for each in due if each is not None]
    note = "its file is shared with another entry, and both are removed once both may be"
    due_at = max(known) if known and len(known) == len(due) else None
    return msgspec.structs.replace(one, due_at=due_at, notes=(*one.notes, note))


class _Judge:
    """Asks a plan, and the rules that it was made by, about one item at a time."""

    def __init__(
        self,
        plan: CachePlan,
        seen: Unmatched,
        empty_files: Mapping[str, float],
        policy: CachePolicy,
        now: float,
        ids: Collection[str | int | None],
    ) -> None:
        """``ids``: the items that will be asked about, of perhaps a million in the plan."""
        self._rules = Rules(policy, now)
        self._rules.empty_files = empty_files if policy.remove_empty else {}
        self._policy = policy
        self._now = now
        self._seen = seen
        self._held = {key: rule for key, rule in plan.held if key in ids}
        self._actions = {
            (each.kind.is_of_entry, each.id): each for each in plan.actions if each.id in ids
        }
        self._dangling = {entry.key for entry, _ in seen.dangling if entry.key in ids}

    def explain(self, sighting: Sighting) -> Explanation:
        """One item."""
        is_entry = sighting.key is not None
        of_file = Explanation(
            target=Target.CACHE,
            id=sighting.key if is_entry else sighting.file,
            file=sighting.file,
            is_entry=is_entry,
            size_bytes=None if sighting.stored is None else sighting.stored.size_bytes,
            times=sighting.times,
            notes=tuple(self._notes(sighting)),
        )
        entry = sighting.entry
        if entry is not None:
            size = entry.size_bytes if of_file.size_bytes is None else of_file.size_bytes
            of_file = msgspec.structs.replace(
                of_file,
                size_bytes=size,
                voice_style=entry.voice_style,
                variant_id=entry.variant_id,
            )
        action = self._actions.get((is_entry, of_file.id or ""))
        why: _Why
        if action is not None:
            why = self._planned(action, sighting)
        elif sighting.unjudged is not None:
            why = _Why(sighting.unjudged)
        elif entry is not None:
            why = self._entry(entry, sighting.later)
        elif sighting.goes_with is not None:
            why = _Why(f"a sidecar: it is removed with its audio, {sighting.goes_with}")
        elif sighting.stored is not None:
            why = self._file(sighting.stored, sighting.role)
        else:
            why = _Why("no rule is about it")
        return msgspec.structs.replace(
            of_file,
            kind=None if action is None else action.kind,
            reason=why.reason,
            detail=why.detail,
            due_at=why.due_at,
            rule=why.rule,
        )

    def _planned(self, action: Action, sighting: Sighting) -> _Why:
        """What is planned already: since when it may be, and by which rule."""
        if sighting.entry is not None:
            due = self._rules.due(sighting.entry)
            is_due = due is not None and due[1] is action.reason
            rule = self._rule_of(action.reason, sighting.entry.voice_style, action.detail)
            return _Why(action.detail, action.reason, due[0] if due and is_due else None, rule)
        why = _Why("")
        if sighting.stored is not None:
            why = self._file(sighting.stored, sighting.role)
        return why._replace(detail=action.detail, reason=action.reason)

    def _entry(self, entry: CacheEntry, later: float | None) -> _Why:
        """``later``: the reading of an open time that counts once it is not in the future."""
        rules, held = self._rules, self._held.get(entry.key)
        verdict, due = rules.verdict(entry), rules.due(entry)
        kept = rules.kept(entry.key, entry.variant_id, entry.voice_style)
        if kept is not None:
            why = kept if verdict is None else f"{kept}, though {verdict[1]}"
            return _Why(why, verdict[0] if verdict else None, None, "cache.keep")
        if verdict is not None:
            rule = self._rule_of(verdict[0], entry.voice_style)
            since = None if due is None else due[0]
            return _Why(f"{held or 'held'}, though {verdict[1]}", verdict[0], since, rule)
        if due is None:
            return _Why("its time cannot be read, so it does not expire")
        created_at = entry.created_at or 0.0
        if later is not None and due[1] is Reason.EXPIRED and due[0] + FUTURE_TOLERANCE >= later:
            due = later + rules.ttl_of(entry), Reason.EXPIRED
        if created_at > rules.latest:
            return _Why(_FUTURE, due[1], due[0], self._rule_of(due[1], entry.voice_style))
        if due[1] is Reason.EMPTY:
            empty = _aged(self._now - rules.empty_files[entry.file], HOURS)
            limit = f"limit {EMPTY_AUDIO_AGE / HOUR:g} h"
            return _Why(f"no audio in it for {empty}, {limit}", *due[::-1], _RULES[due[1]])
        ttl = rules.ttl_of(entry)
        detail = f"{_aged(self._now - created_at, DAYS)} old, limit {ttl / DAY:g}"
        if longer := rules.longer_life(entry):
            detail += f": {longer}"
        return _Why(detail, due[1], due[0], self._rule_of(due[1], entry.voice_style))

    def _file(self, file: StoredFile, role: FileRole | None) -> _Why:
        policy, base = self._policy, file.name.rpartition(".")[0]
        names = [file.name, base]
        if role is FileRole.SIDECAR:
            names.append(base.rpartition(".")[0])
            reason, ttl, rule = Reason.ORPHAN, policy.sidecar_ttl, "cache.remove_sidecars"
            if ttl is not None and all(each.name != file.name for each in self._seen.sidecars):
                return _Why(_NOT_OF_AUDIO)
        elif role is FileRole.PARTIAL:
            reason, ttl, rule = Reason.PARTIAL, policy.partial_ttl, "cache.partial_hours"
        else:
            reason, ttl, rule = Reason.ORPHAN, policy.orphan_ttl, "cache.remove_orphans"
        what = _WHAT[role or FileRole.AUDIO]
        if ttl is None:
            return _Why(f"{what}, and {rule} is off", None, None, rule)
        if kept := self._rules.kept(*names):
            return _Why(kept, None, None, "cache.keep")
        due = file.modified_at + ttl
        if role is FileRole.AUDIO:
            if policy.remove_empty and not file.size_bytes:
                due = min(due, file.modified_at + EMPTY_AUDIO_AGE)
            due = max(due, file.modified_at + IN_FLIGHT, file.arrived_at + IN_FLIGHT)
        if file.modified_at > self._rules.latest:
            return _Why(_FUTURE, reason, due, rule)
        unit = HOURS if ttl < DAY or role is FileRole.PARTIAL else DAYS
        age = f"{_aged(self._now - file.modified_at, unit)} old, limit {ttl / unit.seconds:g}"
        detail = f"{what}, {age} {unit.plural}" if unit is HOURS else f"{what}, {age}"
        if role is FileRole.AUDIO and self._rules.in_flight(file):
            detail += ": it arrived less than an hour ago, its entry may be yet to come"
        return _Why(detail, reason, due, rule)

    def _rule_of(self, reason: Reason, voice_style: str, detail: str = "") -> str:
        if reason is Reason.EXPIRED:
            own = voice_style in self._policy.ttl_by_voice_style
            return "cache.ttl_days_by_voice_style" if own else "cache.ttl_days"
        if reason is Reason.EVICTED:
            return "cache.min_free_mb" if detail.endswith("on the disk") else "cache.max_size_mb"
        return _RULES[reason]

    def _notes(self, sighting: Sighting) -> Iterator[str]:
        entry, stored, policy = sighting.entry, sighting.stored, self._policy
        going = (True, sighting.key) in self._actions
        if sighting.key in self._dangling and not (policy.remove_dangling or going):
            yield "its file is missing: the entry is kept until it expires"
        if stored is not None and stored.by_ctime:
            yield NO_MTIME
        if entry is not None and entry.sidecars:
            when = "with the last audio of that name" if entry.shares_sidecars else "with it"
            yield f"its sidecars are removed {when}: {', '.join(entry.sidecars)}"
        limits = [
            setting
            for setting, limit in (
                ("cache.max_size_mb", policy.evict_above),
                ("cache.min_free_mb", policy.min_free),
            )
            if limit is not None
        ]
        if limits and sighting.unjudged is None and self._may_be_evicted(sighting):
            yield f"it may be evicted earlier, for {' or '.join(limits)}"

    def _may_be_evicted(self, sighting: Sighting) -> bool:
        if sighting.entry is not None:
            return sighting.entry.key not in self._held
        name = sighting.file or ""
        ttls = {
            FileRole.AUDIO: self._policy.orphan_ttl,
            FileRole.PARTIAL: self._policy.partial_ttl,
        }
        of_role = None if sighting.role is None else ttls.get(sighting.role)
        return of_role is not None and not self._rules.kept(name, name.rpartition(".")[0])


_WHAT = {
    FileRole.AUDIO: "no entry names it",
    FileRole.PARTIAL: "half-written",
    FileRole.SIDECAR: "a sidecar, and its audio is gone",
    FileRole.OTHER: "no rule is about it",
}


class _Why(msgspec.Struct, frozen=True):
    """The decision on one item: see ``Explanation``."""

    detail: str
    reason: Reason | None = None
    due_at: float | None = None
    rule: str | None = None

    def _replace(self, *, detail: str, reason: Reason) -> _Why:
        return msgspec.structs.replace(self, detail=detail, reason=reason)


def explain_requests(
    found: Sequence[FoundRequest], plan: RequestPlan, policy: RequestPolicy, now: float
) -> list[Explanation]:
    """Why each row is left alone, cancelled or deleted, and from when on."""
    ids = {each.id for each in found}
    actions = {each.id: each for each in plan.actions if each.id in ids}
    many = Counter(each.id for each in found)
    explained = []
    for row in found:
        why = _request(row, policy, now)
        action = None if row.request is None else actions.get(row.id)
        notes = () if many[row.id] == 1 else ("the table has several rows of this id",)
        explained.append(
            Explanation(
                target=Target.REQUESTS,
                id=row.id,
                status=row.status,
                kind=None if action is None else action.kind,
                reason=why.reason,
                detail=why.detail if action is None else action.detail,
                due_at=why.due_at,
                rule=why.rule,
                times=row.times,
                notes=notes,
            )
        )
    return explained


def _request(row: FoundRequest, policy: RequestPolicy, now: float) -> _Why:
    if row.request is None:
        return _Why(row.unjudged or "left alone")
    why, _ = _row(row.request, policy, now)
    if row.later is None or why.due_at is None:
        return why
    later, since = _row(row.later, policy, now)
    is_read_so = since <= why.due_at + FUTURE_TOLERANCE
    return msgspec.structs.replace(why, due_at=later.due_at) if is_read_so else why


def _row(request: GenerationRequest, policy: RequestPolicy, now: float) -> tuple[_Why, float]:
    """Why, and the instant that it counts from."""
    if request.status in ACTIVE:
        return _active(request, policy, now), now - age_of(request, policy, now)[0]
    return _finished(request, policy, now), request.finished_at or now


def _finished(request: GenerationRequest, policy: RequestPolicy, now: float) -> _Why:
    rule, limit = "requests.delete_finished_after_days", policy.delete_finished_after
    if limit is None or request.finished_at is None:
        return _Why(f"{request.status}, and {rule} is 0: finished rows are kept", rule=rule)
    lasted = words_of_end(request).format(_aged(now - request.finished_at, DAYS))
    detail = f"{lasted}, limit {limit / DAY:g}"
    return _Why(detail, Reason.FINISHED, request.finished_at + limit, rule)


def _active(request: GenerationRequest, policy: RequestPolicy, now: float) -> _Why:
    age, limit, words = age_of(request, policy, now)
    due = now - age + limit
    rule = "requests.queued_timeout_hours"
    if request.status is RequestStatus.GENERATING:
        silent = request.heartbeat_at is not None and limit == policy.heartbeat_timeout
        part = "heartbeat_timeout_minutes" if silent else "generating_timeout_hours"
        rule = f"requests.{part}"
        if policy.from_start:
            since = max(request.created_at, request.scheduled_at or 0.0)
            due = min(due, since + policy.queued_timeout + policy.generating_timeout)
    if age < 0:
        return _Why(f"{request.status}, and {_ahead(request, now)}", Reason.ABANDONED, due, rule)
    unit = HOURS if limit >= HOUR else MINUTES
    lasted = words.format(request.status, _aged(age, unit))
    detail = f"{lasted}, limit {limit / unit.seconds:g} {unit.plural}"
    return _Why(detail, Reason.ABANDONED, due, rule)


def _ahead(request: GenerationRequest, now: float) -> str:
    if request.created_at > now:
        return "was created in the future"
    if request.scheduled_at is not None and request.scheduled_at > now:
        return "is scheduled for later"
    return "its heartbeat or start lies in the future"


def _aged(seconds: float, unit: Unit) -> str:
    return f"{max(seconds, 0.0) / unit.seconds:.1f} {unit.plural}"
