"""What to remove from a cache: expired, empty and dangling entries, and files without an entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

import msgspec

from narration_cleanup.core.model import (
    DAY,
    HOUR,
    NO_MTIME,
    CacheEntry,
    CacheSurvey,
    EntryBatch,
    Problem,
    Severity,
    StoredFile,
    Target,
    Unmatched,
    is_most,
)
from narration_cleanup.plan.actions import FILE_GONE, Action, Kind, Reason
from narration_cleanup.plan.rules import DAYS, CachePolicy, Rules, age_past
from narration_cleanup.plan.types import CachePlan, CacheTotals, removal_of

_UNKNOWN_AFTER = {Reason.EVICTED, Reason.DANGLING}
"""The entries that these remove are counted among those that neither age nor emptiness removes."""


def plan_cache(
    survey: CacheSurvey, policy: CachePolicy, now: float, *, explain: bool = False
) -> CachePlan:
    """Decide what to remove from the cache as of ``now``.

    Expired is ``now - created_at > ttl``, strictly: an entry of exactly its TTL is kept, as the
    service itself has it. ``explain`` collects what a rule held (for ``dry-run -v``).
    """
    rules = Rules(policy, now)
    plan = _plan_entries(survey, rules, explain=explain)
    if survey.times_changed():
        plan = _plan_entries(survey, rules, explain=explain)
    unmatched = survey.unmatched()
    if policy.remove_empty:
        rules.empty_files = survey.empty_files
    rules.fresh = unmatched.fresh
    fresh_goes = rules.fresh and any(action.file in rules.fresh for action in plan.actions)
    if unmatched.shared or rules.empty_files or fresh_goes:
        if unmatched.shared:
            staying = _needed_by_who_stays(survey, rules, unmatched.shared)
            rules.needed = staying | unmatched.needed
        plan = _plan_entries(survey, rules, explain=explain)
    plan.problems.extend(survey.problems)
    _count_what_files_have(plan, survey, unmatched)
    dangling, missing = _plan_dangling(plan, unmatched, rules)
    if missing or unmatched.shared:
        _count_each_file_once(plan, missing, unmatched.shared)
    _report_times(plan, unmatched, rules)
    sidecar_bytes = _plan_sidecars(plan, unmatched.sidecars, rules)
    useless = [
        *_plan_orphans(plan, unmatched.files, rules),
        *_plan_partials(plan, unmatched.partials, rules),
    ]
    useless.sort(key=itemgetter(0))
    plan.stored_bytes = _stored_bytes(plan, unmatched, rules) + sidecar_bytes
    if policy.evict_above is not None or policy.min_free is not None:
        from narration_cleanup.plan.eviction import plan_evictions

        plan_evictions(plan, survey, rules, dangling, [action for _, action in useless])
    if explain:
        plan.problems.extend(map(_matches_nothing, rules.unused_patterns()))
    return plan


def _count_what_files_have(plan: CachePlan, survey: CacheSurvey, unmatched: Unmatched) -> None:
    """The size of the entries is that of their files, whatever the index states.

    Where both have the same sum, no file is asked: in a bucket that lists all objects once more.
    """
    stored = survey.stored_bytes()
    if stored is None or plan.staying is None:
        return
    stored -= unmatched.unjudged_bytes + sum(file.size_bytes for file in unmatched.files)
    if stored == plan.totals.total_size_bytes:
        return
    plan.totals.total_size_bytes = stored
    plan.staying.total_size_bytes = stored - sum(
        survey.size_of(action.file, action.size_bytes)
        for action in _once_for_each_file(plan.actions, unmatched.shared)
    )


def _once_for_each_file(actions: Iterable[Action], shared: frozenset[str]) -> Iterator[Action]:
    """The actions without those of a file that another before them has."""
    met: set[str] = set()
    for action in actions:
        if action.file in met:
            continue
        if action.file in shared:
            met.add(action.file)
        yield action


def _plan_entries(survey: CacheSurvey, rules: Rules, *, explain: bool) -> CachePlan:
    totals, staying = CacheTotals(ttl=rules.policy.ttl), CacheTotals(ttl=rules.policy.ttl)
    plan = CachePlan(totals, explain=explain, staying=staying)
    for batch in survey.batches():
        staying.entry_count += batch.unjudged
        staying.total_size_bytes += batch.more_bytes
        going = _plan_batch(plan, batch, rules)
        if going:
            totals.count_entries(list(going.values()), rules.now)
            staying.total_size_bytes -= sum(
                entry.size_bytes - batch.entries[at].size_bytes for at, entry in going.items()
            )
            kept = [entry for at, entry in enumerate(batch.entries) if at not in going]
            staying.count_entries(kept, rules.now)
        else:
            staying.count_entries(batch.entries, rules.now)
    totals.add(staying)
    return plan


def _plan_batch(plan: CachePlan, batch: EntryBatch, rules: Rules) -> dict[int, CacheEntry]:
    """Plan the removals in a batch; the entries that go, with their sidecars, by position."""
    entries = batch.entries
    going = {}
    for position in rules.in_question(entries):
        entry = entries[position]
        if (entry.created_at or 0.0) > rules.latest:
            plan.problems.add(_future(entry.key, "created_at"))
        verdict = rules.verdict(entry)
        if verdict is None:
            continue
        if rule := rules.held_by(entry):
            plan.hold(entry.key, rule)
            continue
        going[position], ref = batch.whole(position)
        plan.remove(going[position], verdict, ref)
    if plan.explain:
        for key, why in _living_longer(entries, rules):
            plan.hold(key, why)
        for entry in entries:
            rules.note_matches(entry.key, entry.variant_id, entry.voice_style)
    return going


def _living_longer(entries: Iterable[CacheEntry], rules: Rules) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if rules.verdict(entry) is None and (rule := rules.longer_life(entry)):
            yield entry.key, rule


def _needed_by_who_stays(
    survey: CacheSurvey, rules: Rules, shared: frozenset[str]
) -> frozenset[str]:
    return frozenset(
        entry.file
        for batch in survey.batches()
        for entry in batch.entries
        if entry.file in shared and (rules.verdict(entry) is None or rules.held_by(entry))
    )


def _plan_dangling(
    plan: CachePlan, unmatched: Unmatched, rules: Rules
) -> tuple[frozenset[str], set[str]]:
    """The keys of entries without a file, and the missing files of those that go as expired.

    A missing file does not condemn its entry: a restore may be under way, and the service drops
    such an entry itself when it is asked for it. So it is counted, and removed when it expires.
    Expired ones are no sign of a restore: a service writes removed entries back from its memory.
    """
    dangling = list(unmatched.dangling)
    totals = plan.totals
    totals.dangling_count = len(dangling)
    missing = set()
    kept = []
    for entry, ref in dangling:
        rule = rules.held_by(entry)
        if rules.verdict(entry) is None or rule is not None:
            kept.append((entry, ref, rule))
        else:  # planned already, and counted as leaving
            totals.missing_count += 1
            totals.missing_size_bytes += entry.size_bytes
            missing.add(entry.file)
    drops = rules.policy.remove_dangling
    live = totals.entry_count - len(plan.actions)
    most = is_most(len(kept), live) or (drops and is_most(len(dangling), totals.entry_count))
    if most and kept:
        plan.problems.add(_most_missing(len(kept), live))
    elif drops:
        for entry, ref, rule in kept:
            if rule is None:
                action = removal_of(entry, (Reason.DANGLING, FILE_GONE), ref)
                plan.add(msgspec.structs.replace(action, size_bytes=0, lacks_file=True))
            elif rules.verdict(entry) is None:
                plan.hold(entry.key, rule)
    return frozenset(entry.key for entry, _ in dangling), missing


def _count_each_file_once(plan: CachePlan, missing: set[str], shared: frozenset[str]) -> None:
    """A removal frees nothing whose file is gone already, or removed with another entry's."""
    counted: set[str] = set()
    for position, action in enumerate(plan.actions):
        if action.kind is not Kind.REMOVE_ENTRY:
            continue
        if action.file in missing:
            plan.frees_nothing(position, action, FILE_GONE, lacks_file=True)
        elif action.file in counted:
            plan.frees_nothing(position, action, "its file is removed with another entry")
        elif action.file in shared:
            counted.add(action.file)


def _stored_bytes(plan: CachePlan, unmatched: Unmatched, rules: Rules) -> int:
    """The size of the cache by its files, but for those that may not go: see ``CachePlan``."""
    stored, policy = plan.totals.total_size_bytes, rules.policy
    for file in unmatched.files:
        if policy.orphan_ttl is not None and not rules.in_flight(file):
            stored += file.size_bytes
    if (ttl := policy.partial_ttl) is not None:
        for file in unmatched.partials:
            # An old one is removed, whenever it arrived.
            if not rules.in_flight(file) or rules.now - file.modified_at > ttl:
                stored += file.size_bytes
    return stored


def _report_times(plan: CachePlan, unmatched: Unmatched, rules: Rules) -> None:
    """Files that a time in the future keeps, each; that some have no mtime, once."""
    files, partials = list(unmatched.files), [*unmatched.partials, *unmatched.sidecars]
    for found, is_audio in ((files, True), (partials, False)):
        for file in found:
            if file.modified_at > rules.latest and not file.by_ctime:
                plan.problems.add(_future(file.name, "its mtime"))
            elif file.modified_at > rules.latest or (is_audio and file.arrived_at > rules.latest):
                plan.problems.add(_future(file.name, "its ctime"))
    without = next((file.name for file in (*files, *partials) if file.by_ctime), None)
    if without is not None:
        plan.problems.add(
            Problem(Target.CACHE, "no_mtime", NO_MTIME, without, severity=Severity.WARNING)
        )


def _plan_orphans(
    plan: CachePlan, files: Iterable[StoredFile], rules: Rules
) -> Iterator[tuple[float, Action]]:
    """Audio without an entry, once older than the TTL; an empty file needs only its hour.

    Yields each other that may go where room is needed: its mtime, and the removal.
    """
    for file in files:
        plan.totals.orphan_count += 1
        plan.totals.orphan_size_bytes += file.size_bytes
        verdict = rules.verdict_on_orphan(file)
        names = file.name, file.name.rpartition(".")[0]
        rules.note_matches(*names)
        if rules.policy.orphan_ttl is None:
            continue
        rule = rules.kept(*names)
        if rule is None and rules.in_flight(file):
            rule = "it arrived less than an hour ago: a later run judges it"
            plan.judged_later += verdict is not None
        if rule is not None:
            if verdict is not None:
                plan.hold(file.name, rule)
            continue
        days_old = (rules.now - file.modified_at) / DAY
        reason, detail = verdict or (Reason.ORPHAN, f"no entry names it, {days_old:.1f} days old")
        action = _removal(file, reason, detail)
        if verdict is None:
            yield file.modified_at, action
        else:
            plan.add(action)


def _plan_partials(
    plan: CachePlan, files: Iterable[StoredFile], rules: Rules
) -> Iterator[tuple[float, Action]]:
    """Files left half-written; yields as for orphans."""
    ttl = rules.policy.partial_ttl
    if ttl is None:
        return
    for file in files:
        names = file.name, file.name.rpartition(".")[0]
        rules.note_matches(*names)
        if rule := rules.kept(*names):
            plan.hold(file.name, rule)
            continue
        age, detail = rules.now - file.modified_at, "left half-written"
        if age > ttl:
            detail += f", {age_past(age, ttl, DAYS)} old, limit {ttl / HOUR:g} h"
        action = _removal(file, Reason.PARTIAL, detail)
        if age > ttl:
            plan.add(action)
        elif not rules.in_flight(file):
            yield file.modified_at, action


def _plan_sidecars(plan: CachePlan, files: Iterable[StoredFile], rules: Rules) -> int:
    """The text of audio that is gone, once older than the TTL; the bytes that go."""
    ttl, gone = rules.policy.sidecar_ttl, 0
    if ttl is None:
        return gone
    for file in files:
        plan.totals.orphan_count += 1
        plan.totals.orphan_size_bytes += file.size_bytes
        base = file.name.rpartition(".")[0]
        names = file.name, base, base.rpartition(".")[0]
        rules.note_matches(*names)
        age = rules.now - file.modified_at
        if age <= ttl:
            continue
        if rule := rules.kept(*names):
            plan.hold(file.name, rule)
            continue
        detail = f"its audio is gone, {age_past(age, ttl, DAYS)} old, limit {ttl / DAY:g}"
        plan.add(_removal(file, Reason.ORPHAN, detail))
        gone += file.size_bytes
    return gone


def _removal(file: StoredFile, reason: Reason, detail: str) -> Action:
    what = file.name, detail, file.name, file.size_bytes, file.ref
    return Action(reason, *what, created_at=file.modified_at)


def _most_missing(count: int, total: int) -> Problem:
    return Problem(
        Target.CACHE,
        "most_files_missing",
        f"{count} of {total} entries have no audio file, and are kept until they expire: is a "
        "restore under way, or is cache.dir another folder than the one the service writes to?",
        severity=Severity.WARNING,
    )


def _matches_nothing(pattern: str) -> Problem:
    return Problem(
        Target.CACHE,
        "keep_matches_nothing",
        f"the pattern '{pattern}' of cache.keep matches nothing that was looked at",
        severity=Severity.WARNING,
    )


def _future(subject: str, what: str) -> Problem:
    return Problem(
        Target.CACHE,
        "created_in_future",
        f"{what} lies in the future, so it does not expire: is the clock or cleanup.timezone "
        "wrong?",
        subject,
    )


def plan_after(plan: CachePlan) -> CachePlan | None:
    """What a second survey would lead to, if ``plan`` was done and nothing else has changed.

    ``None`` where only the survey can show: after evictions, after dangling entries were dropped,
    or where sidecars were shared.
    """
    if plan.staying is None or plan.shares_sidecars or plan.by_reason.keys() & _UNKNOWN_AFTER:
        return None
    orphans = [
        action.size_bytes
        for action in (plan.actions if Reason.ORPHAN in plan.by_reason else ())
        if action.reason is Reason.ORPHAN
    ]
    totals = msgspec.structs.replace(
        plan.staying,
        dangling_count=plan.totals.dangling_count - plan.totals.missing_count,
        orphan_count=plan.totals.orphan_count - len(orphans),
        orphan_size_bytes=plan.totals.orphan_size_bytes - sum(orphans),
    )
    return CachePlan(totals, plan.problems, explain=plan.explain)
