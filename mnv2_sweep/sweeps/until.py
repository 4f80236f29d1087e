"""A SweepRequest and a question -> a sweep that decides itself: rounds of trainings, a look after each
(`analysis.until`), what was decided kept in its folder; the same events as `run_sweep` has.

Every look is a function of results on record and of the looks before it, so a run that was killed comes to where it
was by looking again at what is there. What a look decided stands, also where a later version, or results that came
since, would decide otherwise: that is said. A question is another one with other wishes, probabilities, margins, seeds
or networks; results serve all of them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

import pandas as pd

from mnv2_sweep.analysis.answers import Answers, find_answers
from mnv2_sweep.analysis.deciding import Until
from mnv2_sweep.analysis.odds import costs_of, find_odds, missing_images
from mnv2_sweep.analysis.stops import end_lines, look_lines, stop_reasons
from mnv2_sweep.analysis.until import OPEN, Look, decide, dump_look, load_look
from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import DATABASE, read_each, read_looks, write_look
from mnv2_sweep.spaces.wishes import wish_text
from mnv2_sweep.sweeps.request import SweepRequest, open_session, schedule_request
from mnv2_sweep.sweeps.run import Event, Finished, Noted, run_sweep
from mnv2_sweep.sweeps.schedule import missing_trials
from mnv2_sweep.trials.tasks import Score
from mnv2_sweep.trials.trial import trial_id


def run_until(until: Until, request: SweepRequest, stop: StopRequest | None = None) -> Iterator[Event]:
    """Train, look and decide, round after round, until the question is answered or no seeds are left. `request` has the
    networks that fit, and the seeds they may have at most. Raises SweepError."""
    stop, keys = stop or StopRequest(), find_keys(request)
    counts, stopped, before = dict.fromkeys(keys.values(), 1), {}, len(read_decided(request, until))
    for number in count(1):
        asked = replace(
            request,
            counts={arch: counts[key] for arch, key in keys.items()},
            announced=number == 1,
            retry_failed=request.retry_failed and number <= before + 1,
        )
        finished = yield from _train_round(asked, stop)
        if left := len(missing_trials(schedule_request(asked), request.folder)):
            if not finished.left:  # ended otherwise than by a wish to stop
                yield replace(finished, left=left)
            return
        found = find_results(asked, until.score)
        if found is None:
            yield Noted(("until     nothing is decided: no trial has a result",))
            return
        look, lines = _look(asked, until, number, *found, counts, stopped)
        yield Noted(tuple(lines))
        if look.verdict != OPEN:
            return
        if stop.asked:  # when all of the round had ended
            yield replace(finished, left=sum(look.wanted.values()) - sum(look.counts.values()))
            return
        counts, stopped = {**counts, **look.wanted}, {**stopped, **look.stopped}


def _look(
    request: SweepRequest, until: Until, number: int, answers: Answers, frame: pd.DataFrame, counts: Mapping[str, int],
    stopped: Mapping[str, float],
) -> tuple[Look, list[str]]:  # fmt: skip
    """Look at the results of a round and put on record what is decided, unless that is there; returns what stands on
    record, and lines for a person."""
    odds = find_odds(answers, costs_of(answers, frame))
    look = decide(answers, odds, counts, stopped, until.question)
    labels = dict(zip(frame["arch_key"], frame["network"], strict=True))
    text = dump_look(look, labels, stop_reasons(look, labels, until.score))
    write_look(request.folder, name_question(request, until), number, text)
    stands = read_decided(request, until)[number - 1]
    lines = look_lines(stands, number, labels, until.score)
    if not stands.agrees(look):
        lines.append("note      the results on record today would decide otherwise here; what was decided stands")
    return stands, lines


def _train_round(request: SweepRequest, stop: StopRequest) -> Iterator[Event]:
    """Run what is missing of a round; returns how it ended."""
    if not request.announced:
        session = open_session(request)
        if not session.missing and not session.reused:
            return Finished(request.folder, 0, 0, 0)
    return (yield from run_sweep(request, stop))


def find_keys(request: SweepRequest) -> dict[ArchSpec, str]:
    """Return the `arch_key` that each network's trials have, which pad as the weights do with which they begin."""
    (starts,) = request.starts
    return {
        arch: arch_key(replace(arch, padding=starts[arch].padding) if arch in starts else arch)
        for arch in request.archs
    }


def name_question(request: SweepRequest, until: Until) -> str:
    """Return the question as it stands beside what was decided, as JSON: the same text for the same question."""
    networks = hashlib.sha256("".join(sorted({*find_keys(request).values()})).encode()).hexdigest()[:12]
    return json.dumps(
        {
            "until": until.question.until,
            "within": until.question.within,
            "where": sorted(map(wish_text, until.wishes)),
            "seeds": [*request.seeds],
            "networks": networks,
        }
    )


def read_decided(request: SweepRequest, until: Until) -> list[Look]:
    """Read what was decided at each look so far. Raises StoreError."""
    texts = read_looks(request.folder).get(name_question(request, until), [])
    try:
        return [load_look(text) for text in texts]
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{request.folder / DATABASE}: what was decided can't be read ({error}); it was made by another version: "
            "give this sweep another --name"
        ) from error


def find_results(request: SweepRequest, score: Score) -> tuple[Answers, pd.DataFrame] | None:
    """Return what the networks of a request made of each image, by its seeds, and the table of these trials; None where
    none has a result. Raises SweepError where a result does not say that."""
    names = {trial_id(trial) for trial in schedule_request(request)}
    frame = load_frame(request.folder)
    frame = frame[frame["trial_id"].isin(names) & (frame["status"] == "done")]
    if frame.empty:
        return None
    answers = find_answers(frame, read_each(request.folder, [*frame["trial_id"]]))
    if answers is None:
        raise SweepError(f"--until: {missing_images(score)}; give this sweep another --name")
    return answers, frame


# ---------------------------------------------------------------- said of it


def describe_end(request: SweepRequest, until: Until) -> list[str]:
    """Return lines for a person, of a sweep that has run: what was decided, and what it saved."""
    looks = read_decided(request, until)
    if not looks:
        return []
    keys = find_keys(request)
    last, costs = looks[-1], {key: count_cost(arch).madds for arch, key in keys.items()}
    counts = {**dict.fromkeys(keys.values(), 1), **{k: n for look in looks for k, n in look.counts.items()}}
    trained = sum(counts[key] * costs[key] for key in counts)
    frame = load_frame(request.folder)
    labels = dict(zip(frame["arch_key"], frame["network"], strict=True))
    most = len(request.seeds)
    saved = until.networks * most - sum(counts.values())
    lines = end_lines(last, labels, until.score, until.question)
    left_out, share = most * (until.networks - len(counts)), trained / (until.madds * most)
    return [
        *lines,
        f"saved     {saved} of the {until.networks * most} trainings of the full sweep, {left_out} of networks that do "
        f"not fit; those that were made have {100 * share:.0f} % of its MAdds",
    ]
