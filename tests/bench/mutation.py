"""Whether the tests notice: mutmut changes a room a little, thousands of times; each time the room's tests must fail.

`make mutants` runs every room, ROOM=hearing one. What was judged is kept in .mutants, so that a run goes on where one
was stopped, and takes up what survived and what has changed since. Where a room would take too long, a share of its
mutants is drawn at random and judged to the end (ARGS="--sample 0.2"); the score then has an interval. Exits with 1
where a survivor has no reason in equivalents.toml. `--report` writes reports/mutants.md from what is there.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from scipy.stats import binomtest

from tests.support.sounds import ROOT

WORKSPACES = ROOT / ".mutants"
REASONS = Path(__file__).with_name("equivalents.toml")
REPORT = Path(__file__).parent / "reports" / "mutants.md"


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is changed (patterns of files), and the tests that must notice: those that take seconds are left out."""

    changed: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()


ROOMS = {
    "hearing": Room(
        changed=("edge/hearing/*",),
        tests=("tests/hearing",),
        without=(
            "tests/hearing/test_pipeline.py::test_any_chunking_gives_bit_equal_features_and_equal_observations",
            "tests/hearing/test_pipeline.py::test_two_runs_are_equal_to_the_last_bit",
            "tests/hearing/test_pipeline.py::test_the_demo_recording_is_heard_as_speech_and_pauses",
            "tests/hearing/test_pipeline.py::test_real_clips_end_in_quiet_when_silence_follows",
            "tests/hearing/test_gate.py::test_the_bundled_gate_hears_the_bundled_recording_as_another_detector_does",
            "tests/hearing/test_decision.py::test_whatever_is_heard_changes_are_real_and_silence_ends_in_quiet",
            "tests/hearing/test_affect.py::test_it_is_the_average_of_the_papers_figures_weighted_by_the_scores",
            "tests/hearing/test_affect.py::test_classify_tells_it_per_answer_and_for_the_whole",
        ),
    ),
    "voice": Room(
        changed=("edge/voice/*",),
        tests=("tests/voice",),
        without=(
            "tests/voice/test_running.py::test_every_message_of_a_running_sensor_keeps_the_contract",
            "tests/voice/test_homeassistant.py::test_it_is_retained_and_sent_again_when_home_assistant_starts",
            "tests/voice/test_homeassistant.py::test_remove_clears_the_description",
        ),
    ),
    "lessons": Room(
        changed=("edge/lessons/*",),
        tests=("tests/lessons",),
        without=("tests/lessons/test_book.py::test_every_lesson_that_was_acknowledged_survives_a_kill",),
    ),
    "model": Room(
        changed=("edge/model/*.py",),
        tests=("tests/model",),
        without=(
            "tests/model/test_artifact.py::test_it_loads_and_replays_in_both_runtimes",
            "tests/model/test_artifact.py::test_the_bare_runtime_loads_the_file_with_its_zip",
            "tests/model/test_artifact.py::test_500_mutants_are_refused_or_identical",
            "tests/model/test_golden.py::test_its_features_in_a_manifest_are_librosa_s",
            "tests/model/test_graph.py::test_any_chunking_gives_the_same_answer",
            "tests/model/test_signatures.py::test_every_altered_byte_of_a_signed_model_is_noticed",
            "tests/model/test_signatures.py::test_without_a_signature_to_look_at_cryptography_is_not_imported",
            *(
                f"tests/model/test_store.py::{test}"
                for test in (
                    "test_a_good_model_is_installed_and_runs_after_its_trial",
                    "test_a_model_that_is_not_in_order_is_refused_and_the_old_one_runs_on",
                    "test_a_truncated_model_is_refused",
                    "test_a_model_that_does_not_stay_up_is_given_up_after_two_starts",
                    "test_rollback_and_back_again",
                    "test_where_a_model_is_named_nothing_is_installed",
                    "test_a_power_cut_in_the_trial_counts_as_a_start_and_the_model_before_stays_the_one_before",
                    "test_what_is_on_trial_never_becomes_the_model_before",
                    "test_only_what_is_needed_is_kept",
                    "test_an_installation_killed_at_every_call_that_matters",
                    "test_the_first_installation_of_all_killed_at_every_call_that_matters",
                    "test_a_rollback_killed_at_every_call_that_matters",
                    "test_a_verdict_killed_at_every_call_that_matters",
                    "test_kill_9_at_20_random_moments",
                )
            ),
        ),
    ),
    "delivery": Room(
        changed=tuple(f"edge/delivery/{name}.py" for name in ("outbox", "past", "flights", "refusals", "reasons")),
        tests=("tests/delivery/test_outbox.py", "tests/delivery/test_waiting.py", "tests/delivery/test_retained.py"),
        without=(
            "tests/delivery/test_outbox.py::TestOutboxMachine::runTest",
            "tests/delivery/test_outbox.py::test_every_commit_is_on_the_disk_itself",
            "tests/delivery/test_outbox.py::test_a_full_disk_loses_nothing_and_is_used_again_when_there_is_room",
            "tests/delivery/test_outbox.py::test_a_read_only_folder_is_said_and_used_again_when_it_is_not",
            "tests/delivery/test_outbox.py::test_a_kill_while_a_damaged_file_is_moved_aside_leaves_none_of_it_in_the_new_one",
        ),
    ),
    "sound": Room(changed=("edge/sound/signal_check.py",), tests=("tests/sound/test_signal_check.py",)),
    "calibration": Room(
        changed=("convert/verification/calibrate.py",), tests=("tests/convert/verification/test_calibrate.py",)
    ),
    "metrics": Room(changed=("train/fitting/metrics.py",), tests=("tests/train/fitting/test_metrics.py",)),
    "splits": Room(
        changed=("train/data/split.py", *(f"train/study/{name}.py" for name in ("protocols", "sides", "folds"))),
        tests=("tests/train/study/test_sides.py", "tests/train/study/test_protocols.py"),
        without=("tests/train/study/test_protocols.py::test_random_is_the_study_s",),
    ),
}
# What the tests import is imported once, not for every mutant; and a busy machine is no endless loop.
MUTMUT = "import gc; gc.disable(); from mutmut.__main__ import cli; cli()"  # no mutant lives for long
GENERATE = (
    "import os; from mutmut.__main__ import *; set_mutant_under_test('mutant_generation'); os.makedirs('mutants', "
    "exist_ok=True); copy_src_dir(); copy_also_copy_files(); setup_source_paths(); create_mutants(os.cpu_count())"
)
SPEED = "process_isolation=forkserver\ntimeout_constant=4\ntimeout_multiplier=6\n"
NOTICED = {"killed", "timeout", "segfault"}
SURVIVED = {"survived", "no tests"}
NOT_DRAWN = "not drawn"
_DRAWN = "drawn.json"  # in a room's copy: the names of those that were drawn, where not all are judged


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change, as `function: before => after`, and what mutmut calls what became of it."""

    name: str
    file: str
    change: str
    status: str


def prepare(name: str) -> Path:
    """Bring the room's copy of the tree up to date, and return it."""
    room, workspace = ROOMS[name], WORKSPACES / name
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for path in filter(None, listed.split("\0")):
        source, copy = ROOT / path, workspace / path
        if source.is_file() and (not copy.exists() or copy.read_bytes() != source.read_bytes()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            if source.suffix != ".py" and (mutated := workspace / "mutants" / path).exists():
                shutil.copyfile(source, mutated)  # mutmut copies what it does not change only once
    lines = {
        "source_paths": ("edge", "train", "convert"),
        "only_mutate": room.changed,
        "also_copy": ("config.yaml", "README.md", "Makefile", "deploy"),
        "pytest_add_cli_args": (
            "-p", "no:cacheprovider", "-p", "no:rerunfailures", *(f"--deselect={test}" for test in room.without)
        ),
        "pytest_add_cli_args_test_selection": room.tests,
    }
    told = "".join(f"{key}=\n" + "".join(f"    {value}\n" for value in values) for key, values in lines.items())
    (workspace / "setup.cfg").write_text("[mutmut]\n" + SPEED + told)
    # What mutmut keeps beside its mutants is copied once: without it a test that was mended would stay as it was.
    for folder in ("tests", "deploy"):
        shutil.rmtree(workspace / "mutants" / folder, ignore_errors=True)
    return workspace


def draw(workspace: Path, share: float, seed: int) -> None:
    """Have only a share of the room's mutants judged from now on: the same ones for the same code and seed."""
    (workspace / _DRAWN).unlink(missing_ok=True)
    if share < 1:
        subprocess.run([sys.executable, "-c", GENERATE], cwd=workspace, check=True, stdout=subprocess.DEVNULL)
        names = sorted(mutant.name for mutant in results(workspace))
        random.Random(seed).shuffle(names)  # a larger share holds the smaller one: what was judged of it counts
        (workspace / _DRAWN).write_text(json.dumps(names[: round(share * len(names))]))


def judge(workspace: Path, children: int) -> None:
    """Let mutmut judge what it has not judged yet of what is to be judged, and once more what survived."""
    mutmut = [sys.executable, "-c", MUTMUT, "run", "--max-children", str(children)]
    before = results(workspace)
    again = [mutant.name for mutant in before if mutant.status in SURVIVED]
    if (workspace / _DRAWN).exists():
        again += [mutant.name for mutant in before if mutant.status == "not checked"]
    else:
        subprocess.run(mutmut, cwd=workspace, check=True)
    if again:
        subprocess.run([*mutmut, *again], cwd=workspace, check=True)


def results(workspace: Path) -> list[Mutant]:
    """Return every mutant of a room's copy that there is so far."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code

    found = []
    drawn = set(json.loads((workspace / _DRAWN).read_text())) if (workspace / _DRAWN).exists() else None
    with contextlib.chdir(workspace):
        for meta in sorted(Path("mutants").rglob("*.py.meta")):
            file = str(meta.relative_to("mutants")).removesuffix(".meta")
            for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
                status = status_by_exit_code[code] if drawn is None or name in drawn else NOT_DRAWN
                change = "" if status not in SURVIVED else _change(name, get_diff_for_mutant(name, path=file))
                found.append(Mutant(name=name, file=file, change=change, status=status))
    return found


def _change(name: str, diff: str) -> str:
    """Return a mutant's diff on one line, with its function in front."""
    function = re.sub(r"__mutmut_\d+$", "", name.rpartition(".")[2])
    function = function.removeprefix("xǁ").removeprefix("x_").replace("ǁ", ".")
    sides = {"-": [], "+": []}
    for line in diff.splitlines():
        if line[:1] in sides and line[:3] not in ("---", "+++"):
            sides[line[0]].append(line[1:].strip())
    before, after = (" ".join(sides[side]) for side in "-+")
    return f"{function}: {before} => {after}"


def reasons() -> dict[tuple[str, str], str]:
    """Return why a survivor is none, by file and change."""
    told = tomllib.loads(REASONS.read_text())
    return {(file, change): reason for file, changes in told.items() for change, reason in changes.items()}


def unexplained(mutants: list[Mutant]) -> Iterator[Mutant]:
    """Yield the survivors that no reason excuses."""
    known = reasons()
    yield from (m for m in mutants if m.status in SURVIVED and (m.file, m.change) not in known)


def report(judged: dict[str, list[Mutant]], before: str) -> str:
    """Return the table of rooms and the survivors with their reasons, as Markdown. Of rooms that were not judged here,
    the rows stay that the report had before."""
    known = reasons()
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in before.splitlines() if row.startswith("| ")}
    lines = [
        "# What the tests notice",
        "",
        "Written by `python -m tests.bench.mutation --report` from what `make mutants` found: small changes that",
        "mutmut made to the code, and whether the tests of the room failed. *Equivalent* are those that change nothing",
        "that anybody can observe; the score is of the others that were judged. mutmut leaves alone what is outside",
        "functions, and functions with a decorator. A row is of the code of its day: what survived then, and is not",
        "listed below, has been looked at since, and is noticed now. Where mutants were drawn at random, the score has",
        "Wilson's interval of 95 %.",
        "",
        "| room | mutants | not judged | noticed | equivalent | survived | score | judged on |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    excused = []
    for room, mutants in judged.items():
        noticed = sum(m.status in NOTICED for m in mutants)
        rest = [m for m in mutants if m.status in SURVIVED]
        equivalent = [m for m in rest if (m.file, m.change) in known]
        excused += equivalent
        survived = len(rest) - len(equivalent)
        counts = (len(mutants), len(mutants) - noticed - len(rest), noticed, len(equivalent), survived)
        # Of a draw that was not judged to its end, the quick ones were: that is no sample.
        drawn = any(m.status == NOT_DRAWN for m in mutants) and all(m.status != "not checked" for m in mutants)
        rows[room] = f"| {room} | {' | '.join(map(str, counts))} | {_score(noticed, survived, drawn)} | {_day(room)} |"
    lines += [rows[room] for room in ROOMS if room in rows]
    here = {m.file for mutants in judged.values() for m in mutants}
    told = [(m.file, m.change) for m in excused] + [(file, change) for file, change in known if file not in here]
    lines += ["", "## Equivalent, and why"]
    for file in sorted({file for file, _ in told}):
        lines += ["", f"### {file}", ""]
        lines += [f"- `{change}`: {known[file, change]}" for other, change in told if other == file]
    left = [m for mutants in judged.values() for m in unexplained(mutants)]
    lines += ["", "## Survived", ""] + [f"- {m.file}: `{m.change}`" for m in left] if left else []
    return "\n".join(lines) + "\n"


def _score(noticed: int, survived: int, drawn: bool) -> str:
    """Return the share that was noticed; with its interval where it is of mutants drawn at random."""
    if not noticed + survived:
        return "-"
    score = f"{noticed / (noticed + survived):.1%}"
    if not drawn:
        return score
    interval = binomtest(noticed, noticed + survived).proportion_ci(method="wilson")
    return f"{score} ({interval.low:.1%} to {interval.high:.1%})"


def _day(room: str) -> date:
    """Return when a room was last judged."""
    return date.fromtimestamp(max(meta.stat().st_mtime for meta in (WORKSPACES / room / "mutants").rglob("*.meta")))


def main() -> int:
    parser = argparse.ArgumentParser(description="Change the code a little, and see whether the tests notice.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; default: all")
    parser.add_argument("--children", type=int, default=os.cpu_count(), help="mutants at a time")
    parser.add_argument("--sample", type=float, default=1.0, help="the share to draw and judge; default: 1")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default: 0")
    parser.add_argument("--report", action="store_true", help="judge nothing; write the table of what was")
    options = parser.parse_args()
    if strangers := set(options.rooms) - ROOMS.keys():
        parser.error(f"no such room: {', '.join(sorted(strangers))}")
    if not 0 < options.sample <= 1:
        parser.error(f"--sample {options.sample:g}: expected a share above 0, up to 1")
    if options.report:
        judged = {name: results(WORKSPACES / name) for name in ROOMS if (WORKSPACES / name / "mutants").exists()}
        REPORT.write_text(report(judged, REPORT.read_text()))
        return 0
    left = []
    for name in options.rooms or ROOMS:
        workspace = prepare(name)
        draw(workspace, options.sample, options.seed)
        judge(workspace, options.children)
        left += unexplained(results(workspace))
    for mutant in left:
        print(f"{mutant.status}: {mutant.file}: {mutant.change}  [{mutant.name}]")
    print(f"{len(left)} changes that no test noticed and no reason excuses")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
