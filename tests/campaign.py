"""A campaign against the build: damaged files, kills, full disks, and situations of which others' users complained.

    python tests/campaign.py            # some minutes on two cores
    python tests/campaign.py --quick    # a tenth of it
    python tests/campaign.py --only kills --seed 7

Each case ends well, or in one line and a status that is not 0; after a kill or a full disk the same command again comes
to what an undisturbed one does. Printed is a table of counts; the status is 1 when any case went wrong.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import complaints_of_inputs  # noqa: E402, F401  # each adds its situations
import complaints_of_places  # noqa: E402, F401
from situations import SITUATIONS  # noqa: E402
from small_world import World, run_cli, small_world, tree_of  # noqa: E402

INPUTS, KILLS, DISKS = 16_383, 105, 72
LONGEST = 120  # seconds of one process; of a damaged file that is read in process, 20


@dataclass(frozen=True)
class Bad:
    """What went wrong, and where."""

    part: str
    case: str
    why: str


def damaged_files(world: World, times: float, seed: int) -> Iterator[Bad | None]:
    """Every kind of file, damaged again and again, read in a process that starts anew when it dies."""
    kinds = json.loads(_child("count", world.room / "kinds", 0, 0, "").stdout.splitlines()[-1])
    each = -(-round(INPUTS * times) // len(kinds))
    for name in kinds:
        first = seed
        while first < seed + each:  # a signal ends a child: what it had not come to is given to the next
            done = _child("read", world.room / "kinds", first, seed + each, name)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
            for number, why in lines:
                yield None if why is None else Bad("inputs", f"{name}, seed {number}", why)
            first = lines[-1][0] + 1 if lines else first
            if done.returncode:
                yield Bad("inputs", f"{name}, seed {first}", f"the process ended with {done.returncode}")
                first += 1


def _child(what: str, room: Path, first: int, last: int, name: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(HERE / "campaign.py"), "--child", what, str(room), str(first), str(last), name]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def as_child(what: str, room: str, first: str, last: str, name: str) -> None:
    """What `_child` runs: print the kinds' names, or a line for each seed."""
    from damage import wrong_with
    from kinds_of_files import kinds_of_files

    with tempfile.TemporaryDirectory(dir=Path(room).parent) as folder:
        kinds = kinds_of_files(Path(folder))
        if what == "count":
            print(json.dumps([kind.name for kind in kinds]))
            return
        (kind,) = [kind for kind in kinds if kind.name == name]
        for number in range(int(first), int(last)):
            print(json.dumps([number, wrong_with(kind, number)]), flush=True)


def _in_turn(world: World, what: str, count: int) -> Iterator[tuple[int, str, Path]]:
    """The commands one after the other, so many in all: a number, which command, and where it is to write."""
    for number in range(count):
        out = world.room / what / f"{number}" / "out"
        out.parent.mkdir(parents=True)
        yield number, list(world.commands)[number % len(world.commands)], out


def kills(world: World, times: float, seed: int) -> Iterator[Bad | None]:
    """SIGKILL at a random moment of a command; the same again comes to what an undisturbed one does."""
    chance, done_before = random.Random(seed), 0
    for number, name, out in _in_turn(world, "killed", round(KILLS * times)):
        process = subprocess.Popen(
            world.words(name, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=out.parent
        )
        # earlier most would die while they import, which says little
        after = chance.uniform(0.5, 1.05) * world.seconds[name]
        try:
            process.wait(after)
            done_before += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        yield _again(world, "kills", f"{name} {number}, after {after:.1f} s", name, out)
    print(f"kills: {done_before} commands were done before they were killed", flush=True)


def full_disks(world: World, times: float, seed: int) -> Iterator[Bad | None]:
    """No file may grow beyond so many bytes: one line, nothing half written, and the same again does it."""
    chance, full = random.Random(seed), 0
    for number, name, out in _in_turn(world, "full", round(DISKS * times)):
        size = int(world.largest[name] ** chance.uniform(0, 1))
        done = _limited(world.words(name, out), size, out.parent)
        case = f"{name} {number}, {size} bytes"
        full += done.returncode != 0
        if done.returncode and (why := no_line(done)):
            yield Bad("full disks", case, why)
            continue
        yield _again(world, "full disks", case, name, out)
    print(f"full disks: {full} commands failed by it", flush=True)


def _limited(words: list[str], size: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=cwd, timeout=LONGEST, preexec_fn=limit
    )


def no_line(done: subprocess.CompletedProcess[str]) -> str | None:
    """What is wrong with how a command that failed said so."""
    error_lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    if "Traceback" in done.stderr or "bug in usae" in done.stderr or len(error_lines) != 1:
        return f"status {done.returncode}, no single line: {done.stderr[-300:]!r}"
    return None


def _again(world: World, part: str, case: str, name: str, out: Path) -> Bad | None:
    """Give the same command again, to go on; compare with the undisturbed one's files."""
    done = run_cli(world.words(name, out, again=True), out.parent)
    if done.returncode and "finished store" not in done.stderr and "exists already" not in done.stderr:
        return Bad(part, case, f"again: status {done.returncode}: {done.stderr[-300:]!r}")
    now, expected = tree_of(out), world.wanted[name]
    if left := sorted(file.name for file in out.parent.iterdir() if file.name not in ("out", "outputs")):
        return Bad(part, case, f"left beside it: {', '.join(left)}")
    if now != expected:
        other = sorted(key for key in now.keys() | expected.keys() if now.get(key) != expected.get(key))
        return Bad(part, case, f"other files than undisturbed: {', '.join(other[:5])}")
    shutil.rmtree(out.parent)
    return None


def situations(world: World, times: float, seed: int) -> Iterator[Bad | None]:  # noqa: ARG001
    """What users of such programs have complained of in public."""
    for situation in SITUATIONS[:: max(1, round(1 / times))]:
        name = situation.__name__.replace("_", " ")
        room = world.room / "situations" / situation.__name__
        room.mkdir(parents=True)
        try:
            situation(world, room)
        except Exception as error:
            yield Bad("situations", name, f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
        else:
            yield None


PARTS: dict[str, Callable[[World, float, int], Iterator[Bad | None]]] = {
    "inputs": damaged_files,
    "kills": kills,
    "disks": full_disks,
    "situations": situations,
}


def main() -> None:
    """Run the parts that were asked for; the table, and status 1 when any case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be given more than once")
    parser.add_argument("--seed", type=int, default=1000, help="decides the damage and the moments; the suite has 0")
    args = parser.parse_args()
    counts: dict[str, tuple[int, list[Bad], float]] = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as room:
        world = small_world(Path(room))
        for part in args.only or PARTS:
            begun, complaints, cases = time.monotonic(), list[Bad](), 0
            for bad in PARTS[part](world, 0.1 if args.quick else 1.0, args.seed):
                cases += 1
                if bad is not None:
                    complaints.append(bad)
                    print(f"BAD {bad.part}: {bad.case}: {bad.why}", flush=True)
            counts[part] = cases, complaints, time.monotonic() - begun
            print(f"{part}: {cases} cases, {len(complaints)} bad", flush=True)
    print(f"\n{'part':12}{'cases':>8}{'bad':>6}{'seconds':>9}")
    for part, (cases, complaints, seconds) in counts.items():
        print(f"{part:12}{cases:8}{len(complaints):6}{seconds:9.0f}")
    sys.exit(any(complaints for _, complaints, _ in counts.values()))


if __name__ == "__main__":
    if "--child" in sys.argv:
        partial(as_child, *sys.argv[2:])()
    else:
        main()
